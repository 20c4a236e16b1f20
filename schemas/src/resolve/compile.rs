//! The walk over both schemas.

use std::collections::HashMap;
use std::rc::Rc;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, Name, NamesRef, RecordField, RecordSchema, UnionSchema};

use super::types::{describe, fixed, primitive, promotes, same_meaning};
use super::{Field, MAX_DEPTH, MAX_NODES, Node, Part, Plan, Problem, Record, default};

pub(super) struct Compiler<'s> {
    writer_names: Rc<NamesRef<'s>>,
    reader_names: Rc<NamesRef<'s>>,
    any_name: bool,
    nodes: Vec<Node>,
    /// Records under way or done, by both names; also true for writer's records that are only skipped.
    records: HashMap<(String, String, bool), usize>,
    skipping: bool,
    identity: bool,
    /// How many unions, arrays and maps of the writer the walk is in.
    in_branches: usize,
    depth: usize,
    path: String,
    problems: Vec<Problem>,
}

impl<'s> Compiler<'s> {
    pub(super) fn new(writer_names: NamesRef<'s>, reader_names: NamesRef<'s>, any_name: bool) -> Self {
        Self {
            writer_names: Rc::new(writer_names),
            reader_names: Rc::new(reader_names),
            any_name,
            nodes: Vec::new(),
            records: HashMap::new(),
            skipping: false,
            identity: true,
            in_branches: 0,
            depth: 0,
            path: String::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn plan(mut self, writer: &'s Schema, reader: &'s Schema) -> Plan {
        let root = self.node(writer, reader);
        let identity = self.identity && self.problems.is_empty();
        Plan { nodes: self.nodes, root, identity, problems: self.problems }
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn problem(&mut self, reason: String) -> Problem {
        let problem = Problem { field: self.path.clone(), reason, always: self.in_branches == 0 };
        if !self.problems.contains(&problem) {
            self.problems.push(problem.clone());
        }
        problem
    }

    fn fail(&mut self, reason: String) -> usize {
        let problem = self.problem(reason);
        self.push(Node::Fail(problem))
    }

    fn mismatch(&mut self, writer: &Schema, reader: &Schema) -> usize {
        self.fail(format!("reader type {} cannot read {}", describe(reader), describe(writer)))
    }

    /// Runs `walk` with `suffix` added to the path.
    fn under<T>(&mut self, suffix: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path.push_str(suffix);
        let result = walk(self);
        self.path.truncate(before);
        result
    }

    fn node(&mut self, writer: &'s Schema, reader: &'s Schema) -> usize {
        if self.depth >= MAX_DEPTH || self.nodes.len() >= MAX_NODES {
            return self.fail(format!("schema has more than {MAX_DEPTH} levels or {MAX_NODES} types"));
        }
        self.depth += 1;
        let node = self.by_name(writer, reader);
        self.depth -= 1;
        node
    }

    fn by_name(&mut self, writer: &'s Schema, reader: &'s Schema) -> usize {
        match (deref(&self.writer_names, writer), deref(&self.reader_names, reader)) {
            (Some(writer), Some(reader)) => self.by_type(writer, reader),
            (None, _) | (_, None) => self.undefined(),
        }
    }

    fn undefined(&mut self) -> usize {
        self.fail("a type is named that the schema does not define".to_owned())
    }

    fn by_type(&mut self, writer: &'s Schema, reader: &'s Schema) -> usize {
        match (writer, reader) {
            (Schema::Union(w), _) => self.writer_union(w, reader),
            (_, Schema::Union(r)) => {
                self.identity = false;
                self.reader_union(writer, reader, r)
            }
            (Schema::Record(w), Schema::Record(r)) => self.record(w, r),
            (Schema::Enum(w), Schema::Enum(r)) if self.named_alike(&w.name, &r.name, aliases(reader)) => {
                self.symbols(w, r)
            }
            (Schema::Array(w), Schema::Array(r)) => {
                let items = self.under("[]", |c| c.part_of(&w.items, &r.items));
                self.push(Node::Array(items))
            }
            (Schema::Map(w), Schema::Map(r)) => {
                let values = self.under("{}", |c| c.part_of(&w.types, &r.types));
                self.push(Node::Map(values))
            }
            _ => self.leaf(writer, reader),
        }
    }

    /// Items of arrays and values of maps: what cannot be read of them keeps only those data from being read that have any.
    fn part_of(&mut self, writer: &'s Schema, reader: &'s Schema) -> usize {
        self.in_branches += 1;
        let node = self.node(writer, reader);
        self.in_branches -= 1;
        node
    }

    fn leaf(&mut self, writer: &Schema, reader: &Schema) -> usize {
        if !same_meaning(writer, reader) {
            return self.mismatch(writer, reader);
        }
        if let (Some(w), Some(r)) = (primitive(writer), primitive(reader)) {
            if w == r || promotes(w, r) {
                self.identity &= w == r || same_bytes(w, r);
                return self.push(Node::Primitive(w, r));
            }
        } else if let (Some(w), Some(r)) = (fixed(writer), fixed(reader))
            && w.size == r.size
            && self.named_alike(&w.name, &r.name, r.aliases.as_deref().unwrap_or_default())
        {
            return self.push(Node::Fixed(w.size));
        }
        self.mismatch(writer, reader)
    }

    /// Named types match by their name without namespace, or by an alias of the reader's.
    fn named_alike(&self, writer: &Name, reader: &Name, aliases: &[apache_avro::schema::Alias]) -> bool {
        writer.name() == reader.name()
            || aliases.iter().any(|a| a.fullname(None) == writer.fullname(None) || a.name() == writer.name())
    }

    fn symbols(&mut self, writer: &EnumSchema, reader: &EnumSchema) -> usize {
        let position = |symbol: &String| reader.symbols.iter().position(|s| s == symbol).map(|i| i as i64);
        let default = reader.default.as_ref().and_then(position);
        self.in_branches += 1;
        let symbols: Vec<Result<i64, Problem>> = writer
            .symbols
            .iter()
            .map(|s| {
                position(s)
                    .or(default)
                    .ok_or_else(|| self.problem(format!("reader's enum has no symbol {s} and no default")))
            })
            .collect();
        self.in_branches -= 1;
        self.identity &= symbols.iter().enumerate().all(|(i, s)| *s == Ok(i as i64));
        self.push(Node::Enum(symbols))
    }

    fn writer_union(&mut self, writer: &'s UnionSchema, reader: &'s Schema) -> usize {
        let before = self.problems.len();
        self.in_branches += 1;
        let mut branches = Vec::with_capacity(writer.variants().len());
        for branch in writer.variants() {
            let node = match reader {
                Schema::Union(r) => self.reader_union(branch, reader, r),
                _ => self.node(branch, reader),
            };
            branches.push(node);
        }
        self.in_branches -= 1;
        self.identity &= branches
            .iter()
            .enumerate()
            .all(|(i, n)| matches!(self.nodes.get(*n), Some(Node::ReaderUnion(to, _)) if *to == i as i64));
        if self.in_branches == 0 && branches.iter().all(|n| matches!(self.nodes.get(*n), Some(Node::Fail(_)))) {
            self.problems.iter_mut().skip(before).for_each(|p| p.always = true);
        }
        self.push(Node::WriterUnion(branches))
    }

    /// Takes the reader's branch of the same type and full name, else the first that matches by name or promotion.
    fn reader_union(&mut self, writer: &'s Schema, reader: &'s Schema, union: &'s UnionSchema) -> usize {
        let Some(writer) = deref(&self.writer_names, writer) else {
            return self.undefined();
        };
        let names = Rc::clone(&self.reader_names);
        let branches = || union.variants().iter().enumerate().filter_map(|(i, b)| Some((i, deref(&names, b)?)));
        let find = |fits: fn(&Schema, &Schema) -> bool| branches().find(|(_, b)| fits(writer, b));
        match find(same_type_and_name).or_else(|| find(same_type)).or_else(|| find(promotable)) {
            Some((i, branch)) => {
                let value = self.node(writer, branch);
                self.push(Node::ReaderUnion(i as i64, value))
            }
            None => self.mismatch(writer, reader),
        }
    }

    fn record(&mut self, writer: &'s RecordSchema, reader: &'s RecordSchema) -> usize {
        let root = self.any_name && self.nodes.is_empty();
        if !root && !self.named_alike(&writer.name, &reader.name, reader.aliases.as_deref().unwrap_or_default()) {
            return self.fail(format!("reader's record {} is not the writer's record {}", reader.name, writer.name));
        }
        let key = (writer.name.fullname(None), reader.name.fullname(None), self.skipping);
        if let Some(known) = self.records.get(&key) {
            return *known;
        }
        let index = self.push(Node::Record(Record { fields: vec![], order: None }));
        self.records.insert(key, index);
        let node = self.fields(writer, reader).map_or_else(Node::Fail, |record| {
            self.identity &= record.order.is_none() && record.fields.iter().all(|f| !f.skip);
            Node::Record(record)
        });
        if let Some(slot) = self.nodes.get_mut(index) {
            *slot = node;
        }
        index
    }

    /// Fails when a field of the reader's can come from nowhere; every such field is among the problems.
    fn fields(&mut self, writer: &'s RecordSchema, reader: &'s RecordSchema) -> Result<Record, Problem> {
        let sources: Vec<Option<usize>> = reader.fields.iter().map(|f| source(f, writer)).collect();
        let mut fields = Vec::with_capacity(writer.fields.len());
        for (i, field) in writer.fields.iter().enumerate() {
            let target = sources.iter().position(|s| *s == Some(i)).and_then(|t| reader.fields.get(t));
            let node = match target {
                Some(target) => {
                    let name = if self.path.is_empty() { target.name.clone() } else { format!(".{}", target.name) };
                    self.under(&name, |c| c.node(&field.schema, &target.schema))
                }
                None => self.skip(&field.schema),
            };
            fields.push(Field { node, skip: target.is_none() });
        }
        let parts: Vec<_> = reader.fields.iter().zip(&sources).map(|(f, s)| self.part(f, *s)).collect();
        let parts: Result<Vec<Part>, Problem> = parts.into_iter().collect();
        Ok(Record { fields, order: reorder(parts?) })
    }

    fn part(&mut self, field: &RecordField, source: Option<usize>) -> Result<Part, Problem> {
        if let Some(i) = source {
            return Ok(Part::Written(i));
        }
        let name = if self.path.is_empty() { field.name.clone() } else { format!(".{}", field.name) };
        let encoded = match &field.default {
            None => Err("new field has no default, and the writer does not have it".to_owned()),
            Some(json) => default::encode(json, &field.schema, &self.reader_names),
        };
        encoded.map(Part::Default).map_err(|reason| self.under(&name, |c| c.problem(reason)))
    }

    /// A node that reads the writer's own type and changes nothing.
    fn skip(&mut self, writer: &'s Schema) -> usize {
        let reader_names = std::mem::replace(&mut self.reader_names, Rc::clone(&self.writer_names));
        let outer = std::mem::replace(&mut self.skipping, true);
        let node = self.node(writer, writer);
        self.skipping = outer;
        self.reader_names = reader_names;
        node
    }
}

fn aliases(schema: &Schema) -> &[apache_avro::schema::Alias] {
    schema.aliases().map(Vec::as_slice).unwrap_or_default()
}

/// What a reference names; `None` when the schema does not define it.
fn deref<'s>(names: &NamesRef<'s>, schema: &'s Schema) -> Option<&'s Schema> {
    match schema {
        Schema::Ref { name } => names.get(name).copied(),
        other => Some(other),
    }
}

/// The writer's field that a reader's field takes: of its name, else of its first alias that the writer has.
fn source(field: &RecordField, writer: &RecordSchema) -> Option<usize> {
    let position = |name: &String| writer.fields.iter().position(|w| w.name == *name);
    position(&field.name).or_else(|| field.aliases.iter().find_map(position))
}

/// `None` when the parts are the writer's fields in the writer's order.
fn reorder(parts: Vec<Part>) -> Option<Vec<Part>> {
    let mut last = None;
    let ascending = parts.iter().all(|part| match part {
        Part::Written(i) => last.replace(*i).is_none_or(|before| before < *i),
        Part::Default(_) => false,
    });
    (!ascending).then_some(parts)
}

fn same_bytes(writer: super::Primitive, reader: super::Primitive) -> bool {
    use super::Primitive::{Bytes, Int, Long, String};
    matches!((writer, reader), (Int, Long) | (String, Bytes))
}

fn same_type(writer: &Schema, reader: &Schema) -> bool {
    match (writer, reader) {
        (Schema::Record(w), Schema::Record(r)) => w.name.name() == r.name.name(),
        (Schema::Enum(w), Schema::Enum(r)) => w.name.name() == r.name.name(),
        (Schema::Array(_), Schema::Array(_)) | (Schema::Map(_), Schema::Map(_)) => true,
        _ => match (fixed(writer), fixed(reader)) {
            (Some(w), Some(r)) => w.name.name() == r.name.name(),
            _ => primitive(writer).is_some() && primitive(writer) == primitive(reader),
        },
    }
}

fn same_type_and_name(writer: &Schema, reader: &Schema) -> bool {
    same_type(writer, reader) && writer.name() == reader.name() && same_meaning(writer, reader)
}

fn promotable(writer: &Schema, reader: &Schema) -> bool {
    matches!((primitive(writer), primitive(reader)), (Some(w), Some(r)) if promotes(w, r))
        && same_meaning(writer, reader)
}
