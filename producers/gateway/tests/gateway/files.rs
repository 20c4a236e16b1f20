//! Avro files for topics of users.

use apache_avro::types::Value as Avro;
use apache_avro::{Codec, DeflateSettings, Schema, Writer};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::*;
use crate::typed::*;

const OWN: &str = "0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f";

fn file(schema: &str, codec: Codec, records: &[Avro]) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for record in records {
        writer.append_value(record.clone()).unwrap();
    }
    writer.into_inner().unwrap()
}

fn record(fields: &[(&str, Avro)]) -> Avro {
    Avro::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> Avro {
    Avro::String(text.to_owned())
}

/// What a writer has that never heard of tenants and ids.
const WRITER: &str = r#"{"type":"record","name":"Mine","fields":[
  {"name":"path","type":"string"},
  {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"more","type":{"type":"array","items":["null","string"]}},
  {"name":"method","type":{"type":"enum","name":"Method","symbols":["POST","GET","PUT"]}},
  {"name":"status","type":"int"}
]}"#;

fn mine(method: (u32, &str), status: i32) -> Avro {
    let more = Avro::Array(vec![Avro::Union(1, Box::new(text("x"))), Avro::Union(0, Box::new(Avro::Null))]);
    let method = Avro::Enum(method.0, method.1.to_owned());
    let at = Avro::TimestampMillis(NOW);
    record(&[("path", text("/f")), ("at", at), ("more", more), ("method", method), ("status", Avro::Int(status))])
}

#[tokio::test]
async fn records_of_a_file_are_read_by_its_own_schema_and_filled() {
    let bench = Bench::with_access().await;
    // Its price may be null, though it has no default: the writer must have it.
    let mut schema: Value = serde_json::from_str(ACCESS).unwrap();
    schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "price");
    assert_eq!(bench.put_topic("files", json!({"schema": schema})).await.status, StatusCode::CREATED);
    let send = async |body: Vec<u8>| bench.send("/v1/events/files", &[("content-type", AVRO)], body).await;
    for codec in [Codec::Null, Codec::Deflate(DeflateSettings::default())] {
        let answer = send(file(WRITER, codec, &[mine((1, "GET"), 200), mine((0, "POST"), 201)])).await;
        assert_eq!((answer.status, answer.ids().len()), (StatusCode::ACCEPTED, 2), "{}", answer.body);
        let events = bench.events("files");
        let second = events.iter().find(|event| event.key == answer.ids()[1]).unwrap();
        assert_eq!(second.field("event_id"), Avro::Uuid(answer.ids()[1].parse().unwrap()));
        assert_eq!((second.field("method"), second.field("status")), (Avro::Enum(1, "POST".into()), Avro::Int(201)));
        assert_eq!((second.field("tenant"), second.field("path")), (text("default"), text("/f")));
        assert_eq!((second.field("ratio"), second.field("at")), (Avro::Double(0.5), Avro::TimestampMillis(NOW)));
    }
    // A symbol that the topic has not is a fault of that record alone.
    let mixed = file(WRITER, Codec::Null, &[mine((2, "PUT"), 1), mine((1, "GET"), 2)]);
    let refused = send(mixed.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "invalid_records"), "{}", refused.body);
    assert!(refused.body["errors"][0]["message"].as_str().unwrap().contains("PUT"), "{}", refused.body);
    let partial = bench.send("/v1/events/files?partial=true", &[("content-type", AVRO)], mixed).await;
    assert_eq!((partial.status, &partial.body["accepted"]), (StatusCode::ACCEPTED, &json!(1)));
    // Schemas that cannot be read as the topic's, and files that are broken.
    let other = r#"{"type":"record","name":"Mine","fields":[{"name":"path","type":"long"}]}"#;
    let answer = send(file(other, Codec::Null, &[record(&[("path", Avro::Long(1))])])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "writer_schema"), "{}", answer.body);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("field path: reader type string cannot read long") && detail.contains("field at"),
        "{detail}"
    );
    let mut torn = file(WRITER, Codec::Null, &[mine((1, "GET"), 200)]);
    torn.truncate(torn.len() - 20);
    assert_eq!(send(torn).await.code(), "malformed_body");
}

#[tokio::test]
async fn ids_and_tenants_in_a_file_are_held_against_the_rules() {
    let bench = Bench::new();
    let schema = |id: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"n","type":"int"}},{{"name":"event_id","type":{id}}},
               {{"name":"tenant","type":["null","string"]}},{{"name":"tail","type":"string"}}]}}"#
        )
    };
    let nullable = schema(r#"["null","string"]"#);
    let uuid = schema(r#"{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}"#);
    let null = || Avro::Union(0, Box::new(Avro::Null));
    let some = |value: &str| Avro::Union(1, Box::new(text(value)));
    let own: uuid::Uuid = OWN.parse().unwrap();
    bench.put_topic("nullable", json!({"schema": nullable})).await;
    bench.put_topic("fixed", json!({"schema": uuid})).await;
    for (topic, schema, id, tenant, expected) in [
        ("nullable", &nullable, null(), null(), Ok(None)),
        ("nullable", &nullable, some(OWN), some("default"), Ok(Some(OWN))),
        ("nullable", &nullable, some("7"), null(), Err("uuid")),
        ("nullable", &nullable, some(OWN), some("other"), Err("tenant")),
        ("fixed", &uuid, Avro::Uuid(own), null(), Ok(Some(OWN))),
    ] {
        let one = record(&[("n", Avro::Int(1)), ("event_id", id), ("tenant", tenant), ("tail", text("t"))]);
        let path = format!("/v1/events/{topic}");
        let answer = bench.send(&path, &[("content-type", AVRO)], file(schema, Codec::Null, &[one])).await;
        match expected {
            Ok(id) => {
                let ids = answer.ids();
                assert!(id.is_none_or(|id| ids == [id]), "{ids:?}");
                let events = bench.events(topic);
                let event = events.iter().find(|event| event.key == ids[0]).unwrap();
                assert_eq!((event.field("tenant"), event.field("tail")), (some("default"), text("t")));
            }
            Err(rule) => assert_eq!(answer.body["errors"][0]["rule"], rule, "{}", answer.body),
        }
    }
}
