//! The rows of a job's view: their Avro schema, their table, how they are written and read.
//!
//! A row is: tenant, the key's parts, for sessions `session_start`; `window_start`, `merge_partition`, `opened_at`, for sessions
//! `session_end` (the time of the last event), `records`; the aggregates, then what is emitted; `epoch`, `revision`.

use crate::cel::check::Checked;
use crate::cel::eval::{Frame, Val};
use crate::file::File;
use crate::job::{Added, Part, SpecJob};
use serde_json::json;
use smallvec::SmallVec;
use std::sync::Arc;
use tidemark_core::aggregate::{Accumulators, Answer, Output};
use tidemark_core::value::{Type, Value};
use tidemark_core::{ViewRow, Windowing};
use tidemark_schemas::avro::{self, Avro, Reader, put_bytes, put_long};
use tidemark_schemas::catalog::Schema;
use tidemark_views::{Column, Kind, Revision, Row, RowPartition, ViewSpec};

/// A column of the rows and whether it may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) column: Column,
    pub(crate) nullable: bool,
}

/// A row from its datum.
pub type ReadRow = dyn Fn(&[u8]) -> Result<Row, avro::Error> + Send + Sync;

/// What the rows of a view look like.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Of a row on the view topic.
    pub schema: Schema,
    /// The table.
    pub view: ViewSpec,
    /// Of the key, tenant left out; a session's start included.
    key: Vec<Column>,
    /// For each clustering column its place in `key`.
    order: Vec<usize>,
    /// Aggregates and what is emitted.
    values: Vec<Cell>,
    sessions: bool,
    /// For each value of the table its place in the datum, where that is another.
    stored: Option<Vec<usize>>,
}

fn kind_of(kind: Type) -> Kind {
    match kind {
        Type::Boolean => Kind::Boolean,
        Type::Long => Kind::Long,
        Type::Double => Kind::Double,
        Type::Integer => Kind::Integer,
        Type::Time => Kind::Time,
        Type::Text | Type::Bytes => Kind::Text,
    }
}

fn kind_of_output(output: Output) -> Kind {
    match output {
        Output::Long => Kind::Long,
        Output::Double => Kind::Double,
        Output::Integer => Kind::Integer,
        Output::Boolean => Kind::Boolean,
        Output::Time => Kind::Time,
        Output::Json => Kind::Json,
        Output::Text | Output::Bytes => Kind::Text,
    }
}

fn avro_type(kind: Kind) -> serde_json::Value {
    match kind {
        Kind::Text => json!("string"),
        Kind::Json => json!({"type": "string", "doc": "JSON"}),
        Kind::Long => json!("long"),
        Kind::Double => json!("double"),
        Kind::Boolean => json!("boolean"),
        Kind::Time => json!({"type": "long", "logicalType": "timestamp-millis"}),
        Kind::Integer => json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}),
    }
}

/// `access.hourly` gives the record `Hourly` of the namespace `tidemark.view.access`.
fn record_name(job: &str) -> (String, String) {
    let sound = |word: &str| {
        let letters: String = word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if letters.starts_with(|c: char| c.is_ascii_alphabetic()) { letters } else { format!("n{letters}") }
    };
    let words: Vec<&str> = job.split('.').filter(|word| !word.is_empty()).collect();
    let (last, before) = words.split_last().unwrap_or((&"row", &[]));
    let pascal: String = last
        .split(['_', '-'])
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect();
    let namespace = std::iter::once("tidemark.view".to_owned()).chain(before.iter().map(|word| sound(word)));
    (namespace.collect::<Vec<_>>().join("."), sound(&pascal))
}

impl Columns {
    pub(crate) fn new(file: &File, key: &[Part], added: &[Added], emit: &[(String, Checked)]) -> Self {
        let aggregate = |added: &Added| Cell {
            column: Column { name: added.name.clone(), kind: kind_of_output(added.output) },
            nullable: added.nullable,
        };
        let emitted = |(name, checked): &(String, Checked)| Cell {
            column: Column { name: name.clone(), kind: kind_of(checked.kind.kind.unwrap_or(Type::Text)) },
            nullable: true,
        };
        Self::of(file, key, added.iter().map(aggregate).chain(emit.iter().map(emitted)).collect())
    }

    /// With these columns besides the key and those that every view has.
    pub(crate) fn of(file: &File, key: &[Part], values: Vec<Cell>) -> Self {
        let sessions = matches!(file.window, Windowing::Session { .. });
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let mut own: Vec<Column> = key.iter().skip(1).map(|part| column(&part.name, kind_of(part.kind))).collect();
        if sessions {
            own.push(column("session_start", Kind::Time));
        }
        let mut order: Vec<usize> = file
            .clustering
            .iter()
            .filter_map(|placed| own.iter().position(|column| column.name == placed.value))
            .collect();
        order.extend((0..own.len()).filter(|at| !order.contains(at)).collect::<Vec<_>>());
        let mut table = vec![column("records", Kind::Long)];
        if sessions {
            table.insert(0, column("session_end", Kind::Time));
        }
        table.extend(values.iter().map(|cell| cell.column.clone()));
        let spec = tidemark_views::ViewSpec {
            name: table_name(&file.job.value, file.version.value),
            clustering: order.iter().filter_map(|at| own.get(*at).cloned()).collect(),
            values: table,
            retention_ms: file.retention.value,
        };
        let schema = schema(file, &own, &values, sessions);
        Self { schema, view: spec, key: own, order, values, sessions, stored: None }
    }

    pub(crate) fn put(&self, job: &SpecJob, row: &ViewRow<'_, Accumulators>, last: Option<i64>, out: &mut Vec<u8>) {
        self.put_around(row, last, out, |out| {
            let answers: Vec<Answer<'_>> = row.accumulator.results(&job.functions).collect();
            for (answer, cell) in answers.iter().zip(&self.values) {
                put_cell(cell, answer, out);
            }
            if !job.emit.is_empty() {
                self.put_emitted(job, row, &answers, out);
            }
        });
    }

    /// The same columns under a schema that they were registered with before; `order` is that of the values in the table.
    pub(crate) fn registered(mut self, schema: &Schema, order: &[String]) -> Result<Self, (String, String)> {
        let (made, given) = (fields_of(&self.schema.avsc), fields_of(&schema.avsc));
        if made != given {
            let what = format!("{} has the fields {given:?}, and the rows of the view {made:?}", schema.name);
            return Err((what, "declare the columns in its order and with its types".to_owned()));
        }
        let place = |name: &String| self.view.values.iter().position(|column| column.name == *name);
        let places: Option<Vec<usize>> = order.iter().map(place).collect();
        let all: Vec<&str> = self.view.values.iter().map(|column| column.name.as_str()).collect();
        let Some(places) =
            places.filter(|places| order.len() == all.len() && (0..all.len()).all(|at| places.contains(&at)))
        else {
            return Err((
                format!("the values of the table are {}", all.join(", ")),
                "name each of them once".to_owned(),
            ));
        };
        self.view.values = places.iter().filter_map(|at| self.view.values.get(*at).cloned()).collect();
        self.schema = schema.clone();
        self.stored = Some(places);
        Ok(self)
    }

    /// The columns that every row has, around those of the job.
    #[inline]
    pub(crate) fn put_around<A>(
        &self,
        row: &ViewRow<'_, A>,
        last: Option<i64>,
        out: &mut Vec<u8>,
        values: impl FnOnce(&mut Vec<u8>),
    ) {
        out.extend_from_slice(row.key);
        put_long(out, row.window_start);
        put_long(out, i64::from(row.merge_partition));
        put_long(out, row.opened_at);
        if self.sessions {
            put_long(out, last.unwrap_or_default());
        }
        put_long(out, row.records);
        values(out);
        put_long(out, i64::from(row.epoch));
        put_long(out, row.revision);
    }

    /// What fails on a row, as a division by zero, is null: the row must be written all the same.
    fn put_emitted(&self, job: &SpecJob, row: &ViewRow<'_, Accumulators>, answers: &[Answer<'_>], out: &mut Vec<u8>) {
        let mut reader = Reader::new(row.key);
        let mut fields: SmallVec<[Value<'_>; 16]> = SmallVec::new();
        for part in &job.key {
            fields.push(get_part(part.kind, &mut reader).unwrap_or(Value::Null));
        }
        fields.push(Value::Long(row.records));
        fields.extend(answers.iter().map(|answer| match answer {
            Answer::Value(value) => *value,
            Answer::Json(_) => Value::Null,
        }));
        let cells = self.values.iter().skip(answers.len());
        for ((_, checked), cell) in job.emit.iter().zip(cells) {
            let value = checked.node.eval(Frame { fields: &fields, lets: &[] }).unwrap_or(Val::NULL);
            put_cell(cell, &Answer::Value(value.value()), out);
        }
    }

    /// A row of the view from its datum on the view topic.
    ///
    /// # Errors
    /// The datum is not of the schema.
    pub fn row(&self, datum: &[u8]) -> Result<Row, avro::Error> {
        let mut reader = Reader::new(datum);
        let tenant = reader.string()?.to_owned();
        let mut key: Vec<tidemark_views::Value> =
            self.key.iter().map(|column| get(column.kind, &mut reader)).collect::<Result<_, _>>()?;
        let window_start = reader.long()?;
        let merge_partition = i32::get(&mut reader)?;
        let written_at = reader.long()?;
        let mut values = Vec::with_capacity(self.view.values.len());
        if self.sessions {
            values.push(get(Kind::Time, &mut reader)?);
        }
        values.push(get(Kind::Long, &mut reader)?);
        for cell in &self.values {
            let there = !cell.nullable || bool_of(reader.long()?)?;
            values.push(if there { get(cell.column.kind, &mut reader)? } else { tidemark_views::Value::Null });
        }
        if let Some(stored) = &self.stored {
            values = taken(&mut values, stored);
        }
        let epoch = i32::get(&mut reader)?;
        let offset = reader.long()?;
        reader.finish()?;
        Ok(Row {
            partition: RowPartition { tenant, window_start, merge_partition },
            clustering: taken(&mut key, &self.order),
            values,
            revision: Revision { epoch, offset },
            written_at,
        })
    }

    /// The key, tenant left out, in the order of its fields; a session's start included.
    pub fn key(&self) -> &[Column] {
        &self.key
    }

    /// [`Columns::row`], for the view writer.
    pub fn reader(&self) -> Arc<ReadRow> {
        let columns = self.clone();
        Arc::new(move |datum| columns.row(datum))
    }
}

/// The values in another order; each place is named once.
fn taken(values: &mut [tidemark_views::Value], order: &[usize]) -> Vec<tidemark_views::Value> {
    let take = |value: &mut tidemark_views::Value| std::mem::replace(value, tidemark_views::Value::Null);
    order.iter().filter_map(|at| values.get_mut(*at).map(take)).collect()
}

/// Names and types of a record's fields, without what is there for people.
fn fields_of(avsc: &str) -> Vec<(String, String)> {
    let record: serde_json::Value = serde_json::from_str(avsc).unwrap_or_default();
    let field = |field: &serde_json::Value| {
        let mut kind = field.get("type").cloned().unwrap_or_default();
        if let Some(said) = kind.as_object_mut() {
            said.remove("doc");
        }
        (field.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned(), kind.to_string())
    };
    let fields = record.get("fields").and_then(|fields| fields.as_array());
    fields.map(|fields| fields.iter().map(field).collect()).unwrap_or_default()
}

fn table_name(job: &str, version: u32) -> String {
    let name: String =
        job.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    format!("{name}_v{version}")
}

fn schema(file: &File, key: &[Column], values: &[Cell], sessions: bool) -> Schema {
    let field = |name: &str, kind| json!({"name": name, "type": avro_type(kind)});
    let mut fields = vec![field("tenant", Kind::Text)];
    fields.extend(key.iter().map(|column| field(&column.name, column.kind)));
    fields.push(field("window_start", Kind::Time));
    fields.push(json!({"name": "merge_partition", "type": "int"}));
    fields.push(field("opened_at", Kind::Time));
    if sessions {
        fields.push(field("session_end", Kind::Time));
    }
    fields.push(field("records", Kind::Long));
    fields.extend(values.iter().map(|cell| match cell.nullable {
        true => json!({"name": cell.column.name, "type": ["null", avro_type(cell.column.kind)], "default": null}),
        false => field(&cell.column.name, cell.column.kind),
    }));
    fields.push(json!({"name": "epoch", "type": "int"}));
    fields.push(field("revision", Kind::Long));
    let (namespace, name) = record_name(&file.job.value);
    let doc =
        if file.description.is_empty() { format!("Rows of {}.", file.job.value) } else { file.description.clone() };
    let avsc = json!({"type": "record", "name": name, "namespace": namespace, "doc": doc, "fields": fields});
    Schema { name: format!("{namespace}.{name}").into(), avsc: avsc.to_string().into() }
}

fn put_cell(cell: &Cell, answer: &Answer<'_>, out: &mut Vec<u8>) {
    let before = out.len();
    if cell.nullable {
        put_long(out, 1);
    }
    let done = match (answer, cell.column.kind) {
        (Answer::Json(text), Kind::Json) => {
            put_bytes(out, text.as_bytes());
            Some(())
        }
        (Answer::Value(value), kind) => put_value(kind, value, out),
        _ => None,
    };
    if done.is_none() {
        out.truncate(before);
        match cell.nullable {
            true => put_long(out, 0),
            // Cannot be, by the checker; the row is readable all the same.
            false => put_nothing(cell.column.kind, out),
        }
    }
}

fn put_value(kind: Kind, value: &Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (kind, value) {
        (Kind::Text, Value::Text(text)) => put_bytes(out, text.as_bytes()),
        (Kind::Long, Value::Long(n)) | (Kind::Time, Value::Time(n)) => put_long(out, *n),
        (Kind::Integer, Value::Integer(n)) => n.put(out),
        (Kind::Integer, Value::Long(n)) => i128::from(*n).put(out),
        (Kind::Double, Value::Double(n)) => out.extend_from_slice(&n.to_le_bytes()),
        (Kind::Boolean, Value::Boolean(value)) => out.push(u8::from(*value)),
        _ => return None,
    }
    Some(())
}

fn put_nothing(kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Text => put_bytes(out, b""),
        Kind::Json => put_bytes(out, b"[]"),
        Kind::Long | Kind::Time => put_long(out, 0),
        Kind::Integer => 0_i128.put(out),
        Kind::Double => out.extend_from_slice(&0.0_f64.to_le_bytes()),
        Kind::Boolean => out.push(0),
    }
}

fn get_part<'a>(kind: Type, reader: &mut Reader<'a>) -> Result<Value<'a>, avro::Error> {
    Ok(match kind {
        Type::Text => Value::Text(reader.string()?),
        Type::Long => Value::Long(reader.long()?),
        Type::Time => Value::Time(reader.long()?),
        Type::Boolean => Value::Boolean(bool::get(reader)?),
        Type::Double | Type::Integer | Type::Bytes => Value::Null,
    })
}

fn get(kind: Kind, reader: &mut Reader<'_>) -> Result<tidemark_views::Value, avro::Error> {
    use tidemark_views::Value;
    Ok(match kind {
        Kind::Text => Value::Text(reader.string()?.to_owned()),
        Kind::Json => Value::Json(reader.string()?.to_owned()),
        Kind::Long => Value::Long(reader.long()?),
        Kind::Time => Value::Time(reader.long()?),
        Kind::Integer => Value::Integer(i128::get(reader)?),
        Kind::Boolean => Value::Boolean(bool::get(reader)?),
        Kind::Double => {
            let bytes = reader.take(8)?.try_into().map_err(|_| avro::Error::Truncated)?;
            Value::Double(f64::from_le_bytes(bytes))
        }
    })
}

fn bool_of(branch: i64) -> Result<bool, avro::Error> {
    match branch {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(avro::Error::Branch(other)),
    }
}
