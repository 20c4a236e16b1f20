//! Topics of users: made over HTTP, read back with apache-avro by the registry's schema.

use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use axum::http::Request;
use serde_json::{Value, json};
use tidemark_log::{At, Log, TopicPartition};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

use crate::support::*;

/// One of each kind of field.
pub(crate) const ACCESS: &str = r#"{
  "type": "record", "name": "AccessEvent", "namespace": "access", "fields": [
    {"name": "tenant", "type": "string", "default": "default"},
    {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "method", "type": {"type": "enum", "name": "Method", "symbols": ["GET", "POST", "DELETE"]}},
    {"name": "path", "type": "string"},
    {"name": "status", "type": "int", "default": 200},
    {"name": "took_us", "type": ["null", "long"], "default": null},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]},
    {"name": "ratio", "type": "double", "default": 0.5},
    {"name": "headers", "type": {"type": "map", "values": "string"}, "default": {}},
    {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [
      {"name": "name", "type": "string"}, {"name": "bytes", "type": "long", "default": 0}]}}, "default": []},
    {"name": "client", "type": ["null", {"type": "record", "name": "Client", "fields": [
      {"name": "country", "type": "string"}, {"name": "is_bot", "type": "boolean"}]}], "default": null}
  ]}"#;
pub(crate) const TOPIC: &str = "access.events";
pub(crate) const PATH: &str = "/v1/events/access.events";

pub(crate) fn event_with(field: &str, value: Value) -> Value {
    let mut event = json!({"at": "2026-01-31T12:00:00.123Z", "method": "GET", "path": "/a"});
    match value {
        Value::Null => drop(event.as_object_mut().unwrap().remove(field)),
        value => event[field] = value,
    }
    event
}

pub(crate) fn event() -> Value {
    event_with("path", "/a".into())
}

impl Bench {
    pub(crate) async fn put_topic(&self, topic: &str, body: Value) -> Answer {
        let request = Request::put(format!("/v1/topics/{topic}"));
        ask(&self.gateway, request, &[("content-type", JSON)], body.to_string()).await
    }

    pub(crate) async fn with_access() -> Self {
        let bench = Self::new();
        let made = bench.put_topic(TOPIC, json!({"schema": ACCESS})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        bench
    }

    pub(crate) async fn publish(&self, body: impl ToString) -> Answer {
        self.send(PATH, &[("content-type", JSON)], body.to_string()).await
    }

    /// All events of a topic once the gateway has published what it took, in the order of their partitions and offsets.
    pub(crate) fn events(&self, topic: &str) -> Vec<Event> {
        drained(&self.gateway);
        let values = values(&*self.log, topic);
        values
            .into_iter()
            .map(|(partition, key, headers, value)| self.decode(partition, key, headers, &value))
            .collect()
    }

    fn decode(&self, partition: u32, key: String, headers: Vec<Option<String>>, value: &[u8]) -> Event {
        let (schema_id, mut datum) = wire::split(value).unwrap();
        let schema = self.registry.schema(schema_id).unwrap().unwrap();
        let schema = Schema::parse_str(&schema).unwrap();
        let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum).unwrap();
        assert!(datum.is_empty(), "{} bytes are left", datum.len());
        Event { partition, key, headers, schema_id, value }
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) partition: u32,
    pub(crate) key: String,
    pub(crate) headers: Vec<Option<String>>,
    pub(crate) schema_id: u32,
    pub(crate) value: Avro,
}

impl Event {
    pub(crate) fn field(&self, name: &str) -> Avro {
        let Avro::Record(fields) = &self.value else { panic!("{:?}", self.value) };
        fields.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no {name}")).1.clone()
    }
}

const HEADERS: [&str; 6] = ["ce_specversion", "ce_id", "ce_source", "ce_type", "traceparent", "ce_time"];

type Raw = (u32, String, Vec<Option<String>>, Vec<u8>);

fn values(log: &dyn Log, topic: &str) -> Vec<Raw> {
    let count = log.partitions(topic).unwrap().unwrap();
    let partitions: Vec<_> = (0..count).map(|partition| TopicPartition::new(topic, partition)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<_> = partitions.iter().map(|partition| (partition.clone(), 0)).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut values = Vec::new();
    until("all read", || {
        reader
            .poll(Duration::from_millis(10), &mut |batch| {
                values.extend(batch.records.iter().map(|record| {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let headers = HEADERS.iter().map(|name| record.headers.get(name).map(text)).collect();
                    (batch.partition, text(record.key.unwrap()), headers, record.value.unwrap().to_vec())
                }));
            })
            .unwrap();
        partitions.iter().zip(&ends).all(|(partition, end)| reader.position(partition).unwrap() >= *end)
    });
    values.sort_by_key(|value| value.0);
    values
}
