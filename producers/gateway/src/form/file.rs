//! Events of an Avro file, by its writer's schema, as events of a topic's.
//!
//! A datum is turned by Avro's schema resolution. Of its outermost fields `tenant` and `event_id` may be left out of the writer's
//! schema, or be null: the gateway fills them, as in JSON.

use serde_json::Value;
use tidemark_schemas::avro::{Error, Reader};
use tidemark_schemas::resolve::{self, Plan};
use uuid::Uuid;

use super::{Field, Fill, Form, Node, Uuids};
use crate::flow::TENANT;
use crate::rule::{Finding, Rule, shown};
use crate::values::{Values, block_count, long, take};
use crate::writer_schema::Schema;

/// Turns the records of one file.
pub(crate) struct Files<'f, 's> {
    form: &'f Form,
    plan: Plan,
    /// Fields that the writer has not and the gateway fills.
    lacking: Vec<&'f str>,
    values: Values<'s>,
    /// A datum in the topic's form, those fields left out.
    turned: Vec<u8>,
}

impl<'f, 's> Files<'f, 's> {
    /// For a file whose header has the schema `text`, read by hand as `writer`.
    ///
    /// # Errors
    /// No record of it can be an event of the topic; the text says why.
    pub(crate) fn new(form: &'f Form, text: &[u8], writer: &'s Schema) -> Result<Self, String> {
        let has = |name: &str| writer.fields(writer.root).iter().any(|(field, _)| field == name);
        let lacking = form.fields().iter().filter(|field| field.fill.is_some() && !has(&field.name));
        let lacking: Vec<&str> = lacking.map(|field| field.name.as_str()).collect();
        let text = std::str::from_utf8(text).map_err(|_| "the writer's schema is not UTF-8".to_owned())?;
        let told = |why: String| format!("the writer's schema: {why}");
        let plan = Plan::new(&resolve::parse(text).map_err(told)?, &reduced(&form.text, &lacking)?, true);
        if let Some(why) = plan.refusal() {
            return Err(format!("it cannot be read as {}: {why}", form.name));
        }
        Ok(Self { form, plan, lacking, values: Values::new(writer), turned: Vec::new() })
    }

    /// Appends the next event, with `id` if it has none of its own, and gives its id. The outer error ends the file: what follows
    /// cannot be found.
    pub(crate) fn event<'a>(
        &mut self,
        bytes: &mut Reader<'a>,
        id: Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(Uuid, Vec<Finding>), String>
    where
        's: 'a,
    {
        let before = bytes.left();
        self.values.skip(bytes)?;
        let datum = before.get(..before.len() - bytes.left().len()).unwrap_or_default();
        self.turned.clear();
        if let Err(why) = self.plan.run(datum, &mut self.turned) {
            let fix = format!("send what the schema of {} can hold", self.form.topic);
            return Ok((id, vec![Finding::whole(Rule::Type, why.to_string(), fix)]));
        }
        self.put(id, out)
    }

    fn put(&self, mut id: Uuid, out: &mut Vec<u8>) -> Result<(Uuid, Vec<Finding>), String> {
        let mut reader = Reader::new(&self.turned);
        let mut findings = Vec::new();
        for field in self.form.fields() {
            let is_lacking = self.lacking.iter().any(|name| *name == field.name);
            let Some(fill) = field.fill else {
                self.copy(field, &mut reader, out)?;
                continue;
            };
            let given = if is_lacking { Ok(None) } else { self.given(field, fill, &mut reader)? };
            match given.and_then(|given| accepted(fill, given)) {
                Ok(given) => id = given.unwrap_or(id),
                Err(finding) => findings.push(finding),
            }
            self.form.put_filled(field.node, fill, id, out);
        }
        Ok((id, findings))
    }

    fn copy(&self, field: &Field, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let before = reader.left();
        self.form.skip(field.node, reader)?;
        out.extend_from_slice(before.get(..before.len() - reader.left().len()).unwrap_or_default());
        Ok(())
    }

    /// What the datum has in a field that the gateway fills: none if it is null.
    fn given<'d>(
        &self,
        field: &Field,
        fill: Fill,
        reader: &mut Reader<'d>,
    ) -> Result<Result<Option<Given<'d>>, Finding>, String> {
        let Some((wanted, uuids)) = self.form.filled_branch(field.node, fill) else {
            return Ok(Ok(None));
        };
        if let Node::Union(branches) = self.form.node(field.node) {
            let branch = usize::try_from(long(reader)?).unwrap_or(usize::MAX);
            let found = branches.get(branch).copied();
            if Some(branch) != wanted {
                let is_null = found.is_some_and(|found| matches!(self.form.node(found), Node::Null));
                found.map_or(Ok(()), |found| self.form.skip(found, reader))?;
                let message = format!("{} is of another branch of its union", field.name);
                let other = Finding::of(&field.name, Rule::Type, message, "send text, or leave it out");
                return Ok(if is_null { Ok(None) } else { Err(other) });
            }
        }
        let told = |error: Error| error.to_string();
        Ok(Ok(Some(match uuids {
            Uuids::Text => Given::Text(reader.string().map_err(told)?),
            Uuids::Bytes => Given::Bytes(reader.bytes().map_err(told)?),
            Uuids::Fixed => Given::Bytes(reader.take(16).map_err(told)?),
        })))
    }
}

enum Given<'d> {
    Text(&'d str),
    Bytes(&'d [u8]),
}

/// The event's id, if the field is that and there is one.
fn accepted(fill: Fill, given: Option<Given<'_>>) -> Result<Option<Uuid>, Finding> {
    let fix = "send a UUID of 36 characters, or leave the field out and the gateway makes one";
    match (fill, given) {
        (_, None) | (Fill::Tenant, Some(Given::Text(TENANT) | Given::Bytes(_))) => Ok(None),
        (Fill::Tenant, Some(Given::Text(text))) => {
            let message = format!("tenant is {:?}, which is not yours", shown(text));
            Err(Finding::of("tenant", Rule::Tenant, message, "send \"default\" or leave the field out"))
        }
        (Fill::EventId, Some(Given::Text(text))) => match Uuid::parse_str(text) {
            Ok(id) if text.len() == 36 => Ok(Some(id)),
            _ => {
                let message = format!("event_id is {:?}, which is not a UUID", shown(text));
                Err(Finding::of("event_id", Rule::Uuid, message, fix))
            }
        },
        (Fill::EventId, Some(Given::Bytes(bytes))) => Uuid::from_slice(bytes).map(Some).map_err(|_| {
            let message = format!("event_id has {} bytes; a UUID has 16", bytes.len());
            Finding::of("event_id", Rule::Uuid, message, fix)
        }),
    }
}

/// The topic's schema without some of its outermost fields.
fn reduced(text: &str, lacking: &[&str]) -> Result<apache_avro::Schema, String> {
    if lacking.is_empty() {
        return resolve::parse(text);
    }
    let mut json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(fields) = json.get_mut("fields").and_then(Value::as_array_mut) {
        fields.retain(|field| {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            !lacking.contains(&name)
        });
    }
    resolve::parse(&json.to_string())
}

impl Form {
    /// Passes over a value of a type.
    fn skip(&self, node: usize, reader: &mut Reader<'_>) -> Result<(), String> {
        let sized = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        match self.node(node) {
            Node::Null => {}
            Node::Boolean => drop(take(reader, 1)?),
            Node::Float => drop(take(reader, 4)?),
            Node::Double => drop(take(reader, 8)?),
            Node::Uuid(Uuids::Fixed) => drop(take(reader, 16)?),
            Node::Int | Node::Long | Node::Enum(_) | Node::Time(_) => drop(long(reader)?),
            Node::Fixed(size) | Node::Opaque(_, Some(size)) => drop(take(reader, sized(*size))?),
            Node::Decimal(decimal) => match decimal.fixed {
                Some(size) => drop(take(reader, sized(size))?),
                None => drop(reader.bytes().map_err(|error| error.to_string())?),
            },
            Node::Text | Node::Bytes | Node::Uuid(_) | Node::Opaque(_, None) => {
                reader.bytes().map_err(|error| error.to_string())?;
            }
            Node::Record(record) => record.fields.iter().try_for_each(|field| self.skip(field.node, reader))?,
            Node::Union(branches) => {
                let branch = usize::try_from(long(reader)?).ok().and_then(|at| branches.get(at));
                self.skip(*branch.ok_or("no such branch")?, reader)?;
            }
            Node::Array(items) => self.skip_blocks(false, *items, reader)?,
            Node::Map(values) => self.skip_blocks(true, *values, reader)?,
        }
        Ok(())
    }

    fn skip_blocks(&self, keyed: bool, items: usize, reader: &mut Reader<'_>) -> Result<(), String> {
        loop {
            let count = block_count(reader)?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if keyed {
                    reader.bytes().map_err(|error| error.to_string())?;
                }
                self.skip(items, reader)?;
            }
        }
    }
}
