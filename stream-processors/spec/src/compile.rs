//! From a file and the schemas of its sources to a job.

mod aggregates;
mod fold;
mod joins;
mod sources;
mod views;

use crate::cel::check::{self, Checked, Place, Scope};
use crate::cel::parse::{Parsed, parse};
use crate::file::{self, File, Named, Placed};
use crate::job::rows::{self, Rows};
use crate::job::{Added, Part, SpecJob};
use crate::near;
use crate::problem::{Problem, Problems};
use crate::row::Columns;
use crate::view::{Asked, View};
use crate::yaml;
pub(crate) use fold::InRust;
use sources::{Compiled, all, find, schema_of, sources};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use tidemark_core::aggregate::Output;
use tidemark_core::join::KeyedTable;
use tidemark_core::value::Type;
use tidemark_core::{Dedupe, JobSpec};
use tidemark_views::Unfit;

/// Said of the use of a name whose own expression is wrong: that is told already.
const FOLLOWS: &str = "its own expression is wrong";
/// The field that says whose a record is.
const TENANT_FIELD: &str = "tenant";

/// Where the schemas of source topics are found.
pub trait Topics {
    /// The schema of a topic's records, Avro JSON; none when there is no such topic or it has no schema.
    ///
    /// # Errors
    /// Whoever knows does not answer.
    fn schema(&self, topic: &str) -> Result<Option<String>, String>;

    /// Names of topics that there are, for "did you mean".
    fn names(&self) -> Vec<String>;

    /// The view that a file asks for; none when there is no such view.
    ///
    /// # Errors
    /// Whoever knows does not answer; or the view has no such version: which it has.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let _ = asked;
        Ok(None)
    }

    /// Names of views that there are, for "did you mean".
    fn view_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Checks a file and makes a job of it.
///
/// # Errors
/// All that is wrong with it.
pub fn compile(name: &str, text: &str, topics: &dyn Topics) -> Result<SpecJob, Problems> {
    let told = |problems| Problems::new(name, text, problems);
    let root = yaml::parse(text).map_err(|problem| told(vec![problem]))?;
    compile_tree(&root, text, topics, None).map_err(told)
}

/// [`compile`] of a file's tree; with a fold in Rust its aggregates are columns that the fold fills.
pub(crate) fn compile_tree(
    root: &yaml::Node,
    text: &str,
    topics: &dyn Topics,
    fold: Option<&InRust>,
) -> Result<SpecJob, Vec<Problem>> {
    let mut file = file::read(root)?;
    let sources = sources(&file, topics)?;
    let tables = all(file.joins.iter().map(|join| find(&join.table, topics)))?;
    let unsettled = views::settle(&mut file, &sources).err();
    let mut compiler = Compiler::new(&file, &sources, &tables);
    compiler.problems.extend(unsettled);
    compiler.compile(text, fold)
}

/// How many of the `let`s `where` needs: those up to the last that it names, which name none after themselves.
fn needed_lets(lets: &[Named], filter: &Parsed<'_>) -> usize {
    let names = check::names(&filter.root);
    lets.iter().rposition(|named| names.contains(&named.name)).map_or(0, |last| last + 1)
}

/// What gives a value of this type for null.
fn coalesced(text: &str, kind: Type) -> String {
    match kind {
        Type::Text => format!("coalesce({text}, \"none\")"),
        Type::Long => format!("coalesce({text}, 0)"),
        Type::Boolean => format!("coalesce({text}, false)"),
        Type::Time => format!("coalesce({text}, timestamp(0))"),
        Type::Double | Type::Integer | Type::Bytes => format!("{text} == null ? \"none\" : string({text})"),
    }
}

/// What no store of views takes, where the file says it.
fn unfit_view(file: &File, unfit: Unfit) -> Problem {
    let first = file.aggregates.first().map_or(file.job.at, |named| named.at);
    match unfit {
        Unfit::Name(rule) => Problem::new(file.job.at, format!("the name and the version make the view's: {rule}")),
        Unfit::Retention(rule) => {
            let fix = "change `view.retention`, or what it has to be as long as: the window, `late` and the waits of `source`";
            Problem::new(file.retention.at, rule).fix(fix)
        }
        Unfit::Columns(rule) => {
            let what = format!("{rule}, of `key`, `aggregate` and `emit` and those that every view has");
            Problem::new(first, what).fix("split it into two jobs")
        }
    }
}

struct Compiler<'c> {
    file: &'c File,
    sources: &'c [Compiled],
    /// Of each join.
    tables: &'c [Compiled],
    scope: Scope,
    fields: Vec<String>,
    used: BTreeSet<usize>,
    /// The fields of the tables, as they are named; their numbers come before those of the `let`s.
    joined: Vec<String>,
    used_joined: BTreeSet<usize>,
    problems: Vec<Problem>,
}

impl<'c> Compiler<'c> {
    fn new(file: &'c File, sources: &'c [Compiled], tables: &'c [Compiled]) -> Self {
        let mut compiler = Self {
            file,
            sources,
            tables,
            scope: Self::scope_of(sources, &file.joins),
            fields: Vec::new(),
            used: BTreeSet::new(),
            joined: Vec::new(),
            used_joined: BTreeSet::new(),
            problems: Vec::new(),
        };
        compiler.add_fields();
        compiler
    }

    fn fail<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn parse<'s>(&mut self, scalar: &'s yaml::Scalar) -> Option<Parsed<'s>> {
        parse(scalar).map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn check(&mut self, scalar: &yaml::Scalar) -> Option<Checked> {
        let parsed = self.parse(scalar)?;
        let checked = check::check(&parsed, &self.scope);
        let checked = self.fail(checked)?;
        self.note(&checked);
        Some(checked)
    }

    fn note(&mut self, checked: &Checked) {
        let of = |names: &[String], name: &String| names.iter().position(|known| known == name);
        self.used.extend(checked.names.iter().filter_map(|name| of(&self.fields, name)));
        self.used_joined.extend(checked.names.iter().filter_map(|name| of(&self.joined, name)));
    }

    /// A field by its bare name, of one of these types.
    fn field(&mut self, placed: &Placed<String>, what: &str, kinds: &[Type]) -> Option<usize> {
        let name = &placed.value;
        let Some(position) = self.fields.iter().position(|field| field == name) else {
            let fix = near::advice(name, self.fields.iter().map(String::as_str));
            self.problems.push(Problem::new(placed.at, format!("`{what}` names `{name}`, which is no field")).fix(fix));
            return None;
        };
        let found = self.scope.kind(name).and_then(|kind| kind.kind);
        if !found.is_some_and(|kind| kinds.contains(&kind)) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let found = found.map_or("of a type that cannot be used", Type::name);
            let problem =
                Problem::new(placed.at, format!("`{what}` takes {}; `{name}` is {found}", wanted.join(" or ")));
            let fix = "give the field \"logicalType\": \"timestamp-millis\" in the schema";
            self.problems.push(if kinds == [Type::Time] { problem.fix(fix) } else { problem });
            return None;
        }
        self.used.insert(position);
        Some(position)
    }

    /// The source's field that says whose a record is.
    fn tenant(&self) -> Option<usize> {
        let tenant = self.fields.iter().position(|field| field == TENANT_FIELD)?;
        self.scope.kind(TENANT_FIELD).is_some_and(|kind| kind.kind == Some(Type::Text)).then_some(tenant)
    }

    fn condition(&mut self, scalar: &yaml::Scalar, parsed: &Parsed<'_>, what: &str) -> Option<Checked> {
        let checked = check::check(parsed, &self.scope);
        let checked = self.fail(checked)?;
        self.note(&checked);
        if checked.kind.kind == Some(Type::Boolean) && !checked.kind.nullable {
            return Some(checked);
        }
        let problem = format!("`{what}` must be true or false, and this is {}", checked.kind.name());
        self.problems.push(Problem::new(scalar.place(0), problem));
        None
    }

    fn compile(mut self, text: &str, fold: Option<&InRust>) -> Result<SpecJob, Vec<Problem>> {
        let file = self.file;
        let time = self.field(&file.time, "source.time", &[Type::Time]);
        let ids = [Type::Text, Type::Bytes, Type::Long];
        let dedupe = file.dedupe.as_ref().and_then(|(by, _)| self.field(by, "source.dedupe.by", &ids));
        let tenant = self.tenant();
        self.used.extend(tenant);
        let begun = self.joins();
        let filter = file.filter.as_ref().and_then(|scalar| self.parse(scalar).map(|parsed| (scalar, parsed)));
        let needed = filter.as_ref().map_or(0, |(_, parsed)| needed_lets(&file.lets, parsed));
        let mut lets = self.lets(0..needed, 0);
        let filter = filter.and_then(|(scalar, parsed)| {
            let filter = self.condition(scalar, &parsed, "where");
            // What follows is computed for records alone that it let through.
            self.scope.assume(&parsed);
            filter
        });
        lets.extend(self.lets(needed..file.lets.len(), lets.len()));
        let key = self.key(tenant);
        let added: Vec<Added> = match fold {
            None => file.aggregates.iter().filter_map(|named| self.added(named)).collect(),
            Some(fold) => self.read_by(fold),
        };
        let emit = self.emit(&key, &added);
        let rows = self.rows(&lets, filter.as_ref(), &key);
        if !self.problems.is_empty() {
            self.problems.retain(|problem| !problem.what.ends_with(FOLLOWS));
            return Err(self.problems);
        }
        let columns = match fold {
            None => Columns::new(file, &key, &added, &emit),
            Some(fold) => fold.columns(Columns::of(file, &key, fold.cells.clone())).map_err(|problem| vec![problem])?,
        };
        columns.view.check().map_err(|unfit| vec![unfit_view(file, unfit)])?;
        let mut spec = self.spec(&lets, filter.as_ref(), &key, &added, &emit, &columns);
        if let Some(fold) = fold {
            spec.aggregates = fold.aggregates(&added);
        }
        spec.validate().map_err(|invalid| vec![Problem::new(file.job.at, invalid.to_string())])?;
        let slots: Vec<usize> = self.used.iter().copied().collect();
        let wanted: Vec<String> = slots.iter().filter_map(|field| self.fields.get(*field).cloned()).collect();
        let slot = |field: usize| slots.iter().position(|used| *used == field).unwrap_or(usize::MAX);
        let (joins, numbers) = self.joined(begun);
        let number = |old: usize| {
            let of_let = || old.checked_sub(numbers.len()).map(|number| number + self.used_joined.len());
            numbers.get(old).copied().or_else(of_let).unwrap_or(usize::MAX)
        };
        let rows = rows.map(|rows| Rows { joined: self.used_joined.len(), ..rows });
        let others = rows.iter().flat_map(|_| rows::others());
        let topics = self.sources.iter().map(|compiled| (compiled.topic.clone(), compiled.avsc.clone()));
        let mut job = SpecJob {
            topics: topics.collect(),
            schemas: self.distinct().map(schema_of).chain(others).collect(),
            walks: Vec::new(),
            fields: wanted,
            names: Vec::new(),
            time: time.map_or(usize::MAX, slot),
            dedupe: dedupe.map(slot),
            tables: joins.iter().map(|join| Arc::clone(&join.table) as Arc<dyn KeyedTable>).collect(),
            joins,
            before_filter: 0,
            filter,
            lets,
            key,
            functions: added.iter().map(|added| added.function.clone()).collect(),
            added,
            emit,
            columns,
            rows,
            spec,
            file: file.clone(),
            text: text.to_owned(),
        };
        job.renumber(&slot, &number);
        job.order_lets();
        let values = job.values();
        job.names = (0..slots.len()).filter(|slot| !values.contains(slot)).collect();
        job.walks = self.distinct().map(|compiled| compiled.source.walk(&job.fields, &job.names)).collect();
        if let Some(key) = job.key_slots() {
            job.walks.iter_mut().for_each(|walk| walk.set_key(&key));
        }
        Ok(job)
    }

    /// Some of the `let`s, behind so many.
    fn lets(&mut self, range: Range<usize>, before: usize) -> Vec<(String, Checked)> {
        let mut lets = Vec::new();
        for named in self.file.lets.get(range).unwrap_or_default() {
            if self.fields.contains(&named.name) {
                let what = format!("`{}` is a field of the source already", named.name);
                self.problems.push(Problem::new(named.at, what).fix("take another name"));
            }
            if self.file.joins.iter().any(|join| join.name == named.name) {
                let what = format!("`{}` is the name of a join already", named.name);
                self.problems.push(Problem::new(named.at, what).fix("take another name"));
            }
            let checked = self.check(&named.expression);
            // A name whose expression is wrong is known all the same: one problem, not one for each use.
            let (kind, nullable) = match &checked {
                Some(Checked { kind: check::Kind { kind: Some(kind), nullable }, .. }) => (Ok(*kind), *nullable),
                Some(_) => (Err("it is always null".to_owned()), true),
                None => (Err(FOLLOWS.to_owned()), false),
            };
            self.scope.add(&named.name, kind, nullable, Place::Let(self.joined.len() + before + lets.len()));
            lets.extend(checked.map(|checked| (named.name.clone(), checked)));
        }
        lets
    }

    fn key(&mut self, tenant: Option<usize>) -> Vec<Part> {
        let tenant = Part {
            name: "tenant".to_owned(),
            kind: Type::Text,
            checked: tenant.map(|field| Checked::of_field(TENANT_FIELD, field, Type::Text)),
        };
        let mut parts = vec![tenant];
        for Named { at, name, expression } in &self.file.key {
            let Some(checked) = self.check(expression) else { continue };
            match checked.kind {
                check::Kind {
                    kind: Some(kind @ (Type::Text | Type::Long | Type::Boolean | Type::Time)),
                    nullable: false,
                } => {
                    parts.push(Part { name: name.clone(), kind, checked: Some(checked) });
                }
                check::Kind { kind: Some(kind), nullable: true } => {
                    let what = format!("the key `{name}` may be null");
                    let text = &checked.text;
                    let mut fix = format!("name what stands for it: `{name}: {}`", coalesced(text, kind));
                    if checked.names.contains(text) {
                        fix += &format!(", or leave such records out: `where: {text} != null`");
                    }
                    self.problems.push(Problem::new(*at, what).fix(fix));
                }
                other => {
                    let what = format!(
                        "the key `{name}` is {}; a key is a string, an int, a bool or a timestamp",
                        other.name()
                    );
                    self.problems.push(Problem::new(*at, what).fix("string(x) makes a string of it"));
                }
            }
        }
        parts
    }

    fn emit(&mut self, key: &[Part], added: &[Added]) -> Vec<(String, Checked)> {
        let mut scope = Scope::new("aggregate or key");
        let names = key.iter().map(|part| (part.name.as_str(), Ok(part.kind), false));
        let records = [("records", Ok(Type::Long), false)];
        let aggregates = added.iter().map(|added| {
            let kind = match added.output {
                Output::Json => Err("a list cannot be used in expressions".to_owned()),
                Output::Long => Ok(Type::Long),
                Output::Double => Ok(Type::Double),
                Output::Integer => Ok(Type::Integer),
                Output::Text => Ok(Type::Text),
                Output::Boolean => Ok(Type::Boolean),
                Output::Time => Ok(Type::Time),
                Output::Bytes => Ok(Type::Bytes),
            };
            (added.name.as_str(), kind, added.nullable)
        });
        for (place, (name, kind, nullable)) in names.chain(records).chain(aggregates).enumerate() {
            scope.add(name, kind, nullable, Place::Field(place));
        }
        let named = self.file.key.iter().chain(&self.file.aggregates);
        for Named { name, .. } in
            named.filter(|named| scope.names().all(|known| known != named.name)).collect::<Vec<_>>()
        {
            scope.add(name, Err(FOLLOWS.to_owned()), false, Place::Field(usize::MAX));
        }
        let mut emitted = Vec::new();
        for Named { name, expression, .. } in &self.file.emit {
            let Some(parsed) = self.parse(expression) else { continue };
            let checked = check::check(&parsed, &scope);
            let Some(checked) = self.fail(checked) else { continue };
            match checked.kind.kind {
                None | Some(Type::Bytes) => {
                    let what = format!("`{name}` is {}, which is no column of a view", checked.kind.name());
                    self.problems.push(Problem::new(expression.place(0), what));
                }
                Some(_) => emitted.push((name.clone(), checked)),
            }
        }
        emitted
    }

    fn spec(
        &self,
        lets: &[(String, Checked)],
        filter: Option<&Checked>,
        key: &[Part],
        added: &[Added],
        emit: &[(String, Checked)],
        columns: &Columns,
    ) -> JobSpec {
        let file = self.file;
        let mut expressions: Vec<String> = self.view_texts().chain(self.join_texts()).collect();
        expressions.extend(filter.iter().map(|checked| format!("where {}", checked.text)));
        expressions.extend(lets.iter().map(|(name, checked)| format!("let {name} = {}", checked.text)));
        expressions.extend(key.iter().filter_map(|part| {
            let text = &part.checked.as_ref()?.text;
            (*text != part.name).then(|| format!("key {} = {text}", part.name))
        }));
        expressions.extend(emit.iter().map(|(name, checked)| format!("emit {name} = {}", checked.text)));
        if columns.view.clustering != columns.key() {
            let order: Vec<&str> = columns.view.clustering.iter().map(|column| column.name.as_str()).collect();
            expressions.push(format!("clustering {}", order.join(", ")));
        }
        let aggregate = |added: &Added| {
            let input = added.value.as_ref().map_or("records".to_owned(), |checked| checked.kind.name());
            format!("{} = {}: {} of {input}", added.name, added.text, added.function)
        };
        JobSpec {
            name: file.job.value.clone(),
            version: file.version.value,
            sources: self.sources.iter().map(|compiled| compiled.topic.clone()).collect(),
            time: file.time.value.clone(),
            dedupe: file.dedupe.as_ref().map(|(by, for_ms)| Dedupe { by: by.value.clone(), for_ms: *for_ms }),
            key: key.iter().map(|part| part.name.clone()).collect(),
            aggregates: added.iter().map(aggregate).collect(),
            expressions,
            window: file.window,
            grace_ms: file.grace.value,
            late: file.late,
            amend_for_ms: file.amend_for.value,
            idle_after_ms: file.idle_after_ms,
            max_future_ms: file.max_future_ms,
            merge_partitions: file.partitions,
            retention_ms: file.retention.value,
        }
    }
}
