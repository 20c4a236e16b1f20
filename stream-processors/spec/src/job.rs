//! A job that was compiled from a file.

use crate::cel::check::Checked;
use crate::cel::eval::{EvalError, Frame, Node, Val, shown};
use crate::file::File;
use crate::join::{Behind, Join};
use crate::row::Columns;
use crate::source::{NO_SPAN, Walk};
use smallvec::SmallVec;
use std::sync::Arc;
use tidemark_core::aggregate::{Accumulators, Function, Items, Output};
use tidemark_core::join::{KeyedTable, TABLE_BEHIND};
use tidemark_core::value::{Place, Type, Value};
use tidemark_core::{Input, Job, JobSpec, Reject, Sample, ViewRow, dedupe};
use tidemark_schemas::avro::{put_bytes, put_long};
use tidemark_schemas::catalog::Schema;

/// Longest key of a row, bytes: what a view's clustering key may hold, with room to spare.
const KEY_BYTES_MAX: usize = 4_096;

/// Whose records they are that say nobody's.
pub(crate) const TENANT: &str = "default";

/// Longest text that an aggregate keeps as it is, bytes.
const KEPT_BYTES_MAX: usize = 4_096;

/// A field of the key.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of its column.
    pub name: String,
    /// Type.
    pub kind: Type,
    /// What it is; none for the tenant of a source that has none.
    pub checked: Option<Checked>,
}

/// An aggregate.
#[derive(Debug, Clone)]
pub struct Added {
    /// Name of its column.
    pub name: String,
    /// What is added up.
    pub function: Function,
    /// Of what; none counts records.
    pub value: Option<Checked>,
    /// Only records for which the value is true count.
    pub conditional: bool,
    /// What it gives.
    pub output: Output,
    /// A row may have none of it.
    pub nullable: bool,
    /// As it was written.
    pub text: String,
}

/// The job of a file. [`Job`] says what it does with records.
#[derive(Debug)]
pub struct SpecJob {
    pub(crate) topics: Vec<(String, String)>,
    pub(crate) schemas: Vec<Schema>,
    pub(crate) walks: Vec<Walk>,
    /// The fields that are read, by slot.
    pub(crate) fields: Vec<String>,
    pub(crate) time: usize,
    pub(crate) dedupe: Option<usize>,
    /// What their rows hold comes before the `let`s, in this order.
    pub(crate) joins: Vec<Join>,
    /// Those of the joins.
    pub(crate) tables: Vec<Arc<dyn KeyedTable>>,
    /// So many `let`s are needed by `where`.
    pub(crate) before_filter: usize,
    pub(crate) filter: Option<Checked>,
    pub(crate) lets: Vec<(String, Checked)>,
    pub(crate) key: Vec<Part>,
    /// Slots of the key's parts, when all of them are fields as they stand.
    pub(crate) raw_key: Option<Vec<usize>>,
    pub(crate) functions: Vec<Function>,
    pub(crate) added: Vec<Added>,
    pub(crate) emit: Vec<(String, Checked)>,
    pub(crate) columns: Columns,
    pub(crate) spec: JobSpec,
    pub(crate) file: File,
    pub(crate) text: String,
}

impl SpecJob {
    /// The schemas of its sources; topics may share one.
    pub fn sources(&self) -> &[Schema] {
        &self.schemas
    }

    /// Each source topic with the schema that the expressions were checked against.
    pub fn topics(&self) -> &[(String, String)] {
        &self.topics
    }

    /// Which of [`SpecJob::sources`] the records of a topic are of; none of a topic that is not read.
    pub fn schema_of(&self, topic: &str) -> Option<usize> {
        let (_, avsc) = self.topics.iter().find(|(name, _)| name == topic)?;
        self.schemas.iter().position(|schema| *schema.avsc == **avsc)
    }

    /// The tables that its records are joined with.
    pub fn joins(&self) -> &[Join] {
        &self.joins
    }

    /// Takes the tables for read, as far as they are: where there is no log that more could come from.
    pub fn settle(&self) {
        self.tables.iter().for_each(|table| table.is_read(i64::MAX));
    }

    /// The file that it was made of.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The text of that file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns of its view.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Its aggregates.
    pub fn aggregates(&self) -> &[Added] {
        &self.added
    }

    /// The fields of the sources that it reads.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    pub(crate) fn renumber(&mut self, slot: &dyn Fn(usize) -> usize, number: &dyn Fn(usize) -> usize) {
        let lets = self.lets.iter_mut().map(|(_, checked)| checked);
        let values = self.added.iter_mut().filter_map(|added| added.value.as_mut());
        let keys = self.key.iter_mut().filter_map(|part| part.checked.as_mut());
        let ons = self.joins.iter_mut().map(|join| &mut join.on);
        let renumbered = lets.chain(values).chain(keys).chain(ons).chain(&mut self.filter);
        renumbered.for_each(|checked| checked.node.renumber(slot, number));
        let field = |part: &Part| match part.checked.as_ref().map(|checked| &checked.node) {
            Some(Node::Field(slot)) if part.kind == Type::Text => Some(*slot),
            _ => None,
        };
        self.raw_key = self.key.iter().map(field).collect();
    }

    /// Finds how many `let`s `where` needs: those up to the last that it names, which name none after themselves.
    pub(crate) fn order_lets(&mut self) {
        let Some(filter) = &self.filter else { return };
        let needed = self.lets.iter().rposition(|(name, _)| filter.names.contains(name));
        self.before_filter = needed.map_or(0, |last| last + 1);
    }

    /// Says which expression failed on which values.
    fn failed(&self, what: &str, checked: &Checked, error: &EvalError, fields: &[Value<'_>]) -> Reject {
        let value = |name: &String| {
            let slot = self.fields.iter().position(|field| field == name)?;
            Some(format!("{name} = {}", shown(fields.get(slot)?)))
        };
        let values: Vec<String> = checked.names.iter().filter_map(value).collect();
        let with = if values.is_empty() { String::new() } else { format!(", with {}", values.join(", ")) };
        Reject { rule: "expression", detail: format!("{what}: `{}`: {error}{with}", checked.text) }
    }

    /// Whose record it is; none where no source says so.
    #[inline]
    fn tenant<'v>(&self, fields: &[Value<'v>]) -> Option<&'v str> {
        let Some(Node::Field(slot)) = self.key.first()?.checked.as_ref().map(|checked| &checked.node) else {
            return None;
        };
        match fields.get(*slot) {
            Some(Value::Text(tenant)) => Some(tenant),
            _ => Some(TENANT),
        }
    }

    /// Looks the record up in every table.
    fn joined<'a>(
        &'a self,
        event_time: i64,
        appended_at: i64,
        fields: &[Value<'a>],
        lets: &mut SmallVec<[Val<'a>; 4]>,
    ) -> Result<(), Reject> {
        for join in &self.joins {
            let on = join.on.node.eval(Frame { fields, lets: &[] });
            let on = on.map_err(|error| self.failed(&format!("join {}", join.name), &join.on, &error, fields))?;
            let tenant = self.tenant(fields);
            join.table.look_up(tenant, &on.value(), event_time, appended_at, lets).map_err(|Behind| {
                let table = join.table.topic();
                Reject {
                    rule: TABLE_BEHIND,
                    detail: format!("the table {table} is not read as far as a record of the stream was appended"),
                }
            })?;
        }
        Ok(())
    }

    fn lets<'a>(
        &'a self,
        range: std::ops::Range<usize>,
        fields: &[Value<'a>],
        lets: &mut SmallVec<[Val<'a>; 4]>,
    ) -> Result<(), Reject> {
        for (name, checked) in self.lets.get(range).unwrap_or_default() {
            let value = checked.node.eval(Frame { fields, lets });
            lets.push(value.map_err(|error| self.failed(&format!("let {name}"), checked, &error, fields))?);
        }
        Ok(())
    }

    /// Where the key stands in the datum, when its parts are fields that follow each other there, in their order, and are texts.
    fn span(&self, spans: &[(u32, u32)]) -> Option<(usize, usize)> {
        let mut span: Option<(u32, u32)> = None;
        for slot in self.raw_key.as_deref()? {
            let (start, end) = *spans.get(*slot).filter(|span| **span != NO_SPAN)?;
            span = match span {
                None => Some((start, end)),
                Some((first, last)) if last == start => Some((first, end)),
                Some(_) => return None,
            };
        }
        span.map(|(start, end)| (start as usize, end as usize))
    }

    /// A row keeps the value itself: a long one would make the row too large for a message.
    fn bounded(&self, added: &Added, value: &Value<'_>) -> Result<(), Reject> {
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        if bytes <= KEPT_BYTES_MAX {
            return Ok(());
        }
        let detail = format!(
            "{}: `{}`: the value has {bytes} bytes; at most {KEPT_BYTES_MAX} are kept: cut it with substring",
            added.name, added.text
        );
        Err(Reject { rule: "long_value", detail })
    }

    fn put_key<'a>(&'a self, fields: &[Value<'a>], lets: &[Val<'a>], out: &mut Vec<u8>) -> Result<(), Reject> {
        put_bytes(out, self.tenant(fields).unwrap_or(TENANT).as_bytes());
        for part in self.key.iter().skip(1) {
            let Some(checked) = &part.checked else { continue };
            let value = checked.node.eval(Frame { fields, lets });
            let value = value.map_err(|error| self.failed(&format!("key {}", part.name), checked, &error, fields))?;
            put_part(&value.value(), out).ok_or_else(|| {
                let error = EvalError(format!("a key cannot be {}", shown(&value.value())));
                self.failed(&format!("key {}", part.name), checked, &error, fields)
            })?;
        }
        Ok(())
    }
}

/// A key's part in Avro; none for what no key is.
pub(crate) fn put_part(value: &Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Text(text) => put_bytes(out, text.as_bytes()),
        Value::Long(n) | Value::Time(n) => put_long(out, *n),
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Null | Value::Double(_) | Value::Integer(_) | Value::Bytes(_) => return None,
    }
    Some(())
}

impl Job for SpecJob {
    type Accumulator = Accumulators;

    fn spec(&self) -> &JobSpec {
        &self.spec
    }

    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, Accumulators>, Reject> {
        let malformed = |error: tidemark_schemas::avro::Error| Reject { rule: "malformed", detail: error.to_string() };
        let (mut fields, mut spans) = (SmallVec::new(), SmallVec::new());
        let walk = self
            .walks
            .get(input.schema)
            .ok_or_else(|| malformed(tidemark_schemas::avro::Error::Branch(input.schema as i64)))?;
        walk.read(input.datum, &mut fields, &mut spans).map_err(malformed)?;
        let event_time = match fields.get(self.time) {
            Some(Value::Time(ms)) if *ms >= 0 => *ms,
            found => {
                let found = found.map_or("nothing".to_owned(), shown);
                let detail = format!("{} is {found}; it must be an instant from 1970 on", self.spec.time);
                return Err(Reject { rule: "event_time", detail });
            }
        };
        let tenant = self.tenant(&fields).unwrap_or(TENANT).as_bytes();
        let id = match self.dedupe.and_then(|slot| fields.get(slot)) {
            None => 0,
            Some(Value::Text(text)) => dedupe::id(tenant, text.as_bytes()),
            Some(Value::Bytes(bytes)) => dedupe::id(tenant, bytes),
            Some(Value::Long(n)) => dedupe::id(tenant, &n.to_be_bytes()),
            Some(other) => {
                let by = self.spec.dedupe.as_ref().map(|dedupe| dedupe.by.as_str()).unwrap_or_default();
                let detail = format!("{by} is {}; repeats cannot be told without it", shown(other));
                return Err(Reject { rule: "no_id", detail });
            }
        };
        let place =
            Place { time: event_time, topic: input.topic as u32, partition: input.partition, offset: input.offset };
        let mut items = Items { functions: &self.functions, values: SmallVec::new(), place };
        let mut lets = SmallVec::new();
        self.joined(event_time, input.appended_at, &fields, &mut lets)?;
        self.lets(0..self.before_filter, &fields, &mut lets)?;
        if let Some(filter) = &self.filter {
            let wanted = filter.node.truth(Frame { fields: &fields, lets: &lets });
            if !wanted.map_err(|error| self.failed("where", filter, &error, &fields))? {
                return Ok(Sample { event_time, key: &[], add: items, id, wanted: false });
            }
        }
        self.lets(self.before_filter..self.lets.len(), &fields, &mut lets)?;
        let span = self.span(&spans);
        if span.is_none() {
            self.put_key(&fields, &lets, scratch)?;
        }
        let key_end = scratch.len();
        let mut made: SmallVec<[(usize, usize, usize); 2]> = SmallVec::new();
        for added in &self.added {
            let Some(checked) = &added.value else {
                items.values.push(Value::Boolean(true));
                continue;
            };
            if let (Node::Field(slot), Function::Sum | Function::Mean | Function::Count) =
                (&checked.node, &added.function)
                && !added.conditional
            {
                items.values.push(fields.get(*slot).copied().unwrap_or(Value::Null));
                continue;
            }
            let frame = Frame { fields: &fields, lets: &lets };
            let value =
                checked.node.leaf(frame).map_or_else(|| checked.node.eval(frame), |value| Ok(Val::Plain(value)));
            let value = value.map_err(|error| self.failed(&added.name, checked, &error, &fields))?;
            if matches!(added.function, Function::Min | Function::Max | Function::First | Function::Last) {
                self.bounded(added, &value.value())?;
            }
            items.values.push(match value {
                Val::Plain(Value::Boolean(false)) if added.conditional => Value::Null,
                Val::Plain(value) => value,
                Val::Made(text) => {
                    // Kept behind the key, and named once nothing more is written there.
                    made.push((items.values.len(), scratch.len(), scratch.len() + text.len()));
                    scratch.extend_from_slice(text.as_bytes());
                    Value::Null
                }
            });
        }
        let scratch: &'a [u8] = scratch;
        for (at, start, end) in made {
            let text = scratch.get(start..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
            if let Some(value) = items.values.get_mut(at) {
                *value = Value::Text(text.unwrap_or_default());
            }
        }
        let key = match span {
            Some((start, end)) => input.datum.get(start..end).unwrap_or_default(),
            None => scratch.get(..key_end).unwrap_or_default(),
        };
        if key.len() > KEY_BYTES_MAX {
            let detail = format!("the key of the row has {} bytes; at most {KEY_BYTES_MAX} are kept", key.len());
            return Err(Reject { rule: "long_key", detail });
        }
        Ok(Sample { event_time, key, add: items, id, wanted: true })
    }

    fn tables(&self) -> &[Arc<dyn KeyedTable>] {
        &self.tables
    }

    fn put_row(&self, row: &ViewRow<'_, Accumulators>, out: &mut Vec<u8>) {
        self.columns.put(self, row, None, out);
    }

    fn put_session(&self, row: &ViewRow<'_, Accumulators>, last: i64, out: &mut Vec<u8>) {
        self.columns.put(self, row, Some(last), out);
    }
}
