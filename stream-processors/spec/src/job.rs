//! A job that was compiled from a file.

pub(crate) mod rows;

use crate::agree;
use crate::cel::check::Checked;
use crate::cel::eval::{EvalError, Frame, Node, Val, shown};
use crate::file::File;
use crate::join::{Behind, Join};
use crate::row::Columns;
use crate::source::Walk;
use crate::viewed::Viewed;
use smallvec::SmallVec;
use std::collections::BTreeSet;
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

impl Part {
    /// The slot of the field that it is.
    fn slot(&self) -> Option<usize> {
        match self.checked.as_ref().map(|checked| &checked.node) {
            Some(Node::Field(slot)) => Some(*slot),
            _ => None,
        }
    }
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

impl Added {
    /// Adds its value to `values`, if there is a quick way to it.
    #[inline(always)]
    fn push_quick<'a>(&'a self, frame: Frame<'_, 'a>, values: &mut SmallVec<[Value<'a>; 4]>) -> bool {
        let Some(checked) = &self.value else {
            values.push(Value::Boolean(true));
            return true;
        };
        match checked.kind.kind {
            Some(Type::Long) => {
                if let Some(n) = checked.node.whole(frame) {
                    values.push(Value::Long(n));
                    return true;
                }
            }
            Some(Type::Boolean) => {
                if let Some(truth) = checked.node.truth(frame) {
                    values.push(if truth || !self.conditional { Value::Boolean(truth) } else { Value::Null });
                    return true;
                }
            }
            Some(Type::Double) => {
                if let Node::Field(slot) = checked.node
                    && let Some(Value::Double(x)) = frame.fields.get(slot)
                {
                    values.push(Value::Double(*x));
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}

/// The job of a file. [`Job`] says what it does with records.
#[derive(Debug)]
pub struct SpecJob {
    pub(crate) topics: Vec<(String, String)>,
    pub(crate) schemas: Vec<Schema>,
    pub(crate) walks: Vec<Walk>,
    /// The fields that are read, by slot.
    pub(crate) fields: Vec<String>,
    /// Slots of the texts that the walks read as bytes.
    pub(crate) names: Vec<usize>,
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
    pub(crate) functions: Vec<Function>,
    pub(crate) added: Vec<Added>,
    pub(crate) emit: Vec<(String, Checked)>,
    pub(crate) columns: Columns,
    /// Of a job that reads views.
    pub(crate) rows: Option<rows::Rows>,
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
    }

    /// The slots of the key's parts, where all of them are fields as they stand.
    pub(crate) fn key_slots(&self) -> Option<Vec<usize>> {
        self.key.iter().map(Part::slot).collect()
    }

    /// The slots that an expression has a value of: of the others, if they are texts, the bytes will do.
    pub(crate) fn values(&mut self) -> BTreeSet<usize> {
        let mut slots = BTreeSet::new();
        let lets = self.lets.iter_mut().map(|(_, checked)| checked);
        let values = self.added.iter_mut().filter_map(|added| added.value.as_mut());
        let keys = self.key.iter_mut().filter(|part| part.slot().is_none()).filter_map(|part| part.checked.as_mut());
        let ons = self.joins.iter_mut().map(|join| &mut join.on);
        for checked in lets.chain(values).chain(keys).chain(ons).chain(&mut self.filter) {
            checked.node.each(&mut |node| slots.extend(if let Node::Field(slot) = node { Some(*slot) } else { None }));
        }
        slots
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
            let value = match fields.get(slot)? {
                Value::Bytes(bytes) if self.names.contains(&slot) => Value::Text(std::str::from_utf8(bytes).ok()?),
                other => *other,
            };
            Some(format!("{name} = {}", shown(&value)))
        };
        let values: Vec<String> = checked.names.iter().filter_map(value).collect();
        let with = if values.is_empty() { String::new() } else { format!(", with {}", values.join(", ")) };
        Reject { rule: "expression", detail: format!("{what}: `{}`: {error}{with}", checked.text) }
    }

    /// Whose record it is, UTF-8; none where no source says so.
    #[inline]
    fn tenant<'v>(&self, fields: &[Value<'v>]) -> Option<&'v [u8]> {
        Some(match fields.get(self.key.first()?.slot()?) {
            Some(Value::Text(tenant)) => tenant.as_bytes(),
            Some(Value::Bytes(tenant)) => tenant,
            _ => TENANT.as_bytes(),
        })
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
            let frame = Frame { fields, lets };
            let value = match checked.node.quick(checked.kind.kind, frame) {
                Some(value) => Val::Plain(value),
                None => {
                    let value = checked.node.eval(frame);
                    value.map_err(|error| self.failed(&format!("let {name}"), checked, &error, fields))?
                }
            };
            lets.push(value);
        }
        Ok(())
    }

    /// A row keeps the value itself: a long one would make the row too large for a message.
    fn bounded(&self, added: &Added, value: &Value<'_>) -> Result<(), Reject> {
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let is_kept = matches!(added.function, Function::Min | Function::Max | Function::First | Function::Last);
        if !is_kept || bytes <= KEPT_BYTES_MAX {
            return Ok(());
        }
        let detail = format!(
            "{}: `{}`: the value has {bytes} bytes; at most {KEPT_BYTES_MAX} are kept: cut it with substring",
            added.name, added.text
        );
        Err(Reject { rule: "long_value", detail })
    }

    fn put_key<'a>(&'a self, fields: &[Value<'a>], lets: &[Val<'a>], out: &mut Vec<u8>) -> Result<(), Reject> {
        put_bytes(out, self.tenant(fields).unwrap_or(TENANT.as_bytes()));
        for part in self.key.iter().skip(1) {
            let Some(checked) = &part.checked else { continue };
            if let Some(value) = part.slot().and_then(|slot| fields.get(slot))
                && put_part(value, out).is_some()
            {
                continue;
            }
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

/// A key's part in Avro, bytes being those of a text; none for what no key is.
fn put_part(value: &Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Text(text) => put_bytes(out, text.as_bytes()),
        Value::Bytes(text) => put_bytes(out, text),
        Value::Long(n) | Value::Time(n) => put_long(out, *n),
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Null | Value::Double(_) | Value::Integer(_) => return None,
    }
    Some(())
}

impl Viewed for SpecJob {
    fn head(&self) -> &SpecJob {
        self
    }

    fn agree(&self, a: &Accumulators, b: &Accumulators) -> bool {
        agree::sums(&self.functions, a, b)
    }
}

impl Job for SpecJob {
    type Accumulator = Accumulators;

    fn spec(&self) -> &JobSpec {
        &self.spec
    }

    #[inline]
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, Accumulators>, Reject> {
        match &self.rows {
            None => self.read_record(input, scratch),
            Some(rows) => self.read_view(rows, input, scratch),
        }
    }

    #[inline]
    fn with_sample<'a, R>(
        &'a self,
        input: Input<'a>,
        scratch: &'a mut Vec<u8>,
        take: impl FnOnce(Result<&Sample<'a, Accumulators>, Reject>) -> R,
    ) -> R {
        if let Some(rows) = &self.rows {
            return match self.read_view(rows, input, scratch) {
                Ok(sample) => take(Ok(&sample)),
                Err(reject) => take(Err(reject)),
            };
        }
        let mut sample = self.nothing(&input);
        let filled = self.fill(input, scratch, &mut sample);
        take(filled.map(|()| &sample))
    }

    fn is_punctuated(&self) -> bool {
        self.rows.is_some()
    }

    fn tables(&self) -> &[Arc<dyn KeyedTable>] {
        &self.tables
    }

    fn put_row(&self, row: &ViewRow<'_, Accumulators>, out: &mut Vec<u8>) {
        match &self.rows {
            None => self.columns.put(self, row, None, out),
            Some(_) => {
                let (records, sum) = Self::of_latest(row);
                self.columns.put(self, &ViewRow { records, accumulator: &sum, ..*row }, None, out);
            }
        }
    }

    fn put_session(&self, row: &ViewRow<'_, Accumulators>, last: i64, out: &mut Vec<u8>) {
        self.columns.put(self, row, Some(last), out);
    }
}

impl SpecJob {
    /// A sample that says nothing yet.
    #[inline]
    fn nothing<'a>(&'a self, input: &Input<'a>) -> Sample<'a, Accumulators> {
        let place = Place { time: 0, topic: input.topic as u32, partition: input.partition, offset: input.offset };
        let add = Items { functions: &self.functions, values: SmallVec::new(), place };
        Sample { event_time: 0, key: &[], add, id: 0, wanted: true }
    }

    /// Of topics: every record is one.
    #[inline]
    fn read_record<'a>(
        &'a self,
        input: Input<'a>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<Sample<'a, Accumulators>, Reject> {
        let mut sample = self.nothing(&input);
        self.fill(input, scratch, &mut sample).map(|()| sample)
    }

    /// Puts what a record says into a sample that says nothing yet.
    fn fill<'a>(
        &'a self,
        input: Input<'a>,
        scratch: &'a mut Vec<u8>,
        sample: &mut Sample<'a, Accumulators>,
    ) -> Result<(), Reject> {
        let malformed = |error: tidemark_schemas::avro::Error| Reject { rule: "malformed", detail: error.to_string() };
        let mut fields = SmallVec::new();
        let walk = self
            .walks
            .get(input.schema)
            .ok_or_else(|| malformed(tidemark_schemas::avro::Error::Branch(input.schema as i64)))?;
        let stands = walk.read(input.datum, &mut fields).map_err(malformed)?;
        let event_time = self.event_time(&fields)?;
        (sample.event_time, sample.add.place.time) = (event_time, event_time);
        if let Some(slot) = self.dedupe {
            sample.id = self.id(&fields, fields.get(slot).unwrap_or(&Value::Null))?;
        }
        let mut lets = SmallVec::new();
        if !self.joins.is_empty() {
            self.joined(event_time, input.appended_at, &fields, &mut lets)?;
        }
        if self.before_filter > 0 {
            self.lets(0..self.before_filter, &fields, &mut lets)?;
        }
        if let Some(filter) = &self.filter {
            let frame = Frame { fields: &fields, lets: &lets };
            let wanted = match filter.node.truth(frame) {
                Some(wanted) => wanted,
                None => filter.node.holds(frame).map_err(|error| self.failed("where", filter, &error, &fields))?,
            };
            if !wanted {
                sample.wanted = false;
                return Ok(());
            }
        }
        if self.lets.len() > self.before_filter {
            self.lets(self.before_filter..self.lets.len(), &fields, &mut lets)?;
        }
        if stands.is_none() {
            self.put_key(&fields, &lets, scratch)?;
        }
        let key_end = scratch.len();
        let mut made: SmallVec<[(usize, usize, usize); 2]> = SmallVec::new();
        let (frame, values) = (Frame { fields: &fields, lets: &lets }, &mut sample.add.values);
        for added in &self.added {
            if added.push_quick(frame, values) {
                continue;
            }
            let Some(checked) = &added.value else { continue };
            let value = match checked.node.eval(frame) {
                Ok(Val::Plain(value)) => value,
                Ok(Val::Made(text)) => {
                    self.bounded(added, &Value::Text(&text))?;
                    // Kept behind the key, and named once nothing more is written there.
                    made.push((values.len(), scratch.len(), scratch.len() + text.len()));
                    scratch.extend_from_slice(text.as_bytes());
                    Value::Null
                }
                Err(error) => return Err(self.failed(&added.name, checked, &error, &fields)),
            };
            self.bounded(added, &value)?;
            let is_counted = !(added.conditional && value == Value::Boolean(false));
            values.push(if is_counted { value } else { Value::Null });
        }
        let scratch: &'a [u8] = scratch;
        for (at, start, end) in made {
            let text = scratch.get(start..end).and_then(|bytes| std::str::from_utf8(bytes).ok());
            if let Some(value) = values.get_mut(at) {
                *value = Value::Text(text.unwrap_or_default());
            }
        }
        let key = stands.unwrap_or_else(|| scratch.get(..key_end).unwrap_or_default());
        if key.len() > KEY_BYTES_MAX {
            let detail = format!("the key of the row has {} bytes; at most {KEY_BYTES_MAX} are kept", key.len());
            return Err(Reject { rule: "long_key", detail });
        }
        sample.key = key;
        Ok(())
    }

    #[inline]
    fn event_time(&self, fields: &[Value<'_>]) -> Result<i64, Reject> {
        match fields.get(self.time) {
            Some(Value::Time(ms)) if *ms >= 0 => Ok(*ms),
            found => {
                let found = found.map_or("nothing".to_owned(), shown);
                let detail = format!("{} is {found}; it must be an instant from 1970 on", self.spec.time);
                Err(Reject { rule: "event_time", detail })
            }
        }
    }

    fn id(&self, fields: &[Value<'_>], value: &Value<'_>) -> Result<u128, Reject> {
        let tenant = self.tenant(fields).unwrap_or(TENANT.as_bytes());
        match value {
            Value::Text(text) => Ok(dedupe::id(tenant, text.as_bytes())),
            Value::Bytes(bytes) => Ok(dedupe::id(tenant, bytes)),
            Value::Long(n) => Ok(dedupe::id(tenant, &n.to_be_bytes())),
            other => {
                let by = self.spec.dedupe.as_ref().map(|dedupe| dedupe.by.as_str()).unwrap_or_default();
                let detail = format!("{by} is {}; repeats cannot be told without it", shown(other));
                Err(Reject { rule: "no_id", detail })
            }
        }
    }
}
