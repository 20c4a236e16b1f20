//! What the gateway fills: the tenant of an event, and its id.

use tidemark_schemas::avro::{put_bytes, put_long};
use uuid::Uuid;

use super::encode::{Encoder, Text};
use super::{Field, Fill, Form, Node, Uuids};
use crate::flow::TENANT;
use crate::rule::{Finding, Rule, shown};

impl Encoder<'_> {
    /// The outermost record; gives the event's id.
    pub(super) fn root(&mut self, text: &str, mut id: Uuid, out: &mut Vec<u8>) -> Uuid {
        let form = self.form;
        let Node::Record(record) = form.node(form.root) else {
            return id;
        };
        let Some(slots) = self.slots(record, text) else {
            return id;
        };
        for (field, value) in record.fields.iter().zip(&slots) {
            match (field.fill, value.filter(|value| *value != "null")) {
                (Some(Fill::Tenant), value) => self.tenant(field, value, out),
                (Some(Fill::EventId), value) => {
                    if let Some(value) = value {
                        id = self.event_id(value).unwrap_or(id);
                    }
                    form.put_filled(field.node, Fill::EventId, id, out);
                }
                (None, _) => self.field(field, *value, out, 1),
            }
        }
        id
    }

    fn tenant(&mut self, field: &Field, value: Option<&str>, out: &mut Vec<u8>) {
        let given = value.map(|value| serde_json::from_str::<Text<'_>>(value).map(|Text(text)| text));
        if given.is_some_and(|given| given.is_ok_and(|text| text == TENANT)) || value.is_none() {
            return self.form.put_filled(field.node, Fill::Tenant, Uuid::nil(), out);
        }
        let found = shown(value.unwrap_or_default());
        self.find(|| {
            let message = format!("tenant is {found}, which is not yours");
            Finding::of("tenant", Rule::Tenant, message, "send \"default\" or leave the field out")
        });
    }

    fn event_id(&mut self, value: &str) -> Option<Uuid> {
        let text = serde_json::from_str::<Text<'_>>(value).ok();
        let id = text.and_then(|Text(text)| Uuid::parse_str(&text).ok().filter(|_| text.len() == 36));
        if id.is_none() {
            let found = shown(value);
            self.find(|| {
                let fix = "send a UUID of 36 characters, or leave the field out and the gateway makes one";
                Finding::of("event_id", Rule::Uuid, format!("event_id is {found}, which is not a UUID"), fix)
            });
        }
        id
    }
}

impl Form {
    /// The branch, or the node itself, that the gateway can fill.
    pub(super) fn filled_branch(&self, node: usize, fill: Fill) -> Option<(Option<usize>, Uuids)> {
        let direct = |node: usize| match (self.node(node), fill) {
            (Node::Text, _) => Some(Uuids::Text),
            (Node::Uuid(uuids), Fill::EventId) => Some(*uuids),
            _ => None,
        };
        match self.node(node) {
            Node::Union(branches) => {
                branches.iter().enumerate().find_map(|(at, branch)| direct(*branch).map(|uuids| (Some(at), uuids)))
            }
            _ => direct(node).map(|uuids| (None, uuids)),
        }
    }

    /// Appends what the gateway puts into a field: the tenant, or the event's id.
    pub(super) fn put_filled(&self, node: usize, fill: Fill, id: Uuid, out: &mut Vec<u8>) {
        let Some((branch, uuids)) = self.filled_branch(node, fill) else {
            return;
        };
        if let Some(branch) = branch {
            put_long(out, i64::try_from(branch).unwrap_or(0));
        }
        let mut text = Uuid::encode_buffer();
        match (fill, uuids) {
            (Fill::Tenant, _) => put_bytes(out, TENANT.as_bytes()),
            (Fill::EventId, Uuids::Text) => put_bytes(out, id.hyphenated().encode_lower(&mut text).as_bytes()),
            (Fill::EventId, Uuids::Bytes) => put_bytes(out, id.as_bytes()),
            (Fill::EventId, Uuids::Fixed) => out.extend_from_slice(id.as_bytes()),
        }
    }
}
