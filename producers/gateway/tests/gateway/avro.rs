use apache_avro::types::{Record, Value as Avro};
use apache_avro::{Codec, DeflateSettings, Schema, Writer};
use axum::http::StatusCode;

use crate::support::*;

const ID: &str = "0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f";

fn file(schema: &str, codec: Codec, records: &[Vec<(&str, Avro)>]) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for fields in records {
        let mut record = Record::new(&schema).unwrap();
        fields.iter().for_each(|(name, value)| record.put(name, value.clone()));
        writer.append_value(record).unwrap();
    }
    writer.into_inner().unwrap()
}

fn text(value: &str) -> Avro {
    Avro::String(value.to_owned())
}

fn ours(bytes_tx: i64) -> Vec<(&'static str, Avro)> {
    vec![
        ("tenant", text("default")),
        ("src_app", text("web")),
        ("dest_app", text("db")),
        ("vpc_id", text("v")),
        ("observed_at", Avro::TimestampMillis(NOW)),
        ("bytes_tx", Avro::Long(bytes_tx)),
        ("bytes_rx", Avro::Long(2)),
        ("event_id", Avro::Uuid(ID.parse().unwrap())),
    ]
}

pub(crate) fn valid() -> Vec<u8> {
    file(&tidemark_schemas::catalog::FLOW_OBSERVED.avsc, Codec::Null, &[ours(1), ours(2), ours(3)])
}

#[tokio::test]
async fn a_file_of_our_schema_is_stored_plain_or_deflated() {
    let bench = Bench::new();
    let deflated = Codec::Deflate(DeflateSettings::default());
    let schema = &*tidemark_schemas::catalog::FLOW_OBSERVED.avsc;
    let records: Vec<_> = (0..3000).map(ours).collect();
    for (kind, body) in [(AVRO, valid()), ("application/vnd.apache.avro", file(schema, deflated, &records))] {
        let answer = bench.post(kind, body).await;
        assert!(answer.ids().iter().all(|id| id == ID));
    }
    let mut sent: Vec<_> = bench.stored().iter().map(|flow| (flow.bytes_tx, flow.observed_at)).collect();
    sent.sort_unstable();
    let mut wanted: Vec<_> = (0..3000).chain(1..=3).map(|bytes| (bytes, NOW)).collect();
    wanted.sort_unstable();
    assert_eq!(sent, wanted);
}

/// Other order, other types that are promoted, unions, nested and named types in fields that a flow has not.
#[tokio::test]
async fn another_writers_schema_is_resolved_by_field_names() {
    let bench = Bench::new();
    let schema = r#"{"type":"record","name":"Mine","namespace":"a.b","fields":[
        {"name":"extra","type":{"type":"array","items":{"type":"map","values":["null","double"]}}},
        {"name":"bytes_rx","type":"int"},
        {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B"]}},
        {"name":"vpc_id","type":"Kind"},
        {"name":"sum","type":{"type":"fixed","name":"Sum","size":4}},
        {"name":"dest_app","type":"bytes"},
        {"name":"src_app","type":["null","string"]},
        {"name":"bytes_tx","type":["long","string"]},
        {"name":"self","type":["null","Mine"]},
        {"name":"observed_at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
    let record = vec![
        ("extra", Avro::Array(vec![Avro::Map([("k".to_owned(), Avro::Union(1, Box::new(Avro::Double(0.5))))].into())])),
        ("bytes_rx", Avro::Int(2)),
        ("kind", Avro::Enum(0, "A".to_owned())),
        ("vpc_id", Avro::Enum(1, "B".to_owned())),
        ("sum", Avro::Fixed(4, vec![1, 2, 3, 4])),
        ("dest_app", Avro::Bytes(b"db".to_vec())),
        ("src_app", Avro::Union(1, Box::new(text("web")))),
        ("bytes_tx", Avro::Union(0, Box::new(Avro::Long(1)))),
        ("self", Avro::Union(0, Box::new(Avro::Null))),
        ("observed_at", Avro::TimestampMicros(NOW * 1000 + 999)),
    ];
    let answer = bench.post(AVRO, file(schema, Codec::Null, &[record])).await;
    assert_eq!(answer.ids().len(), 1);
    let flow = &bench.stored()[0];
    assert_eq!((&*flow.src_app, &*flow.dest_app, &*flow.vpc_id), ("web", "db", "B"));
    assert_eq!((flow.bytes_tx, flow.bytes_rx, flow.observed_at), (1, 2, NOW));
}

#[tokio::test]
async fn rules_hold_for_avro_too() {
    let bench = Bench::new();
    let schema = &*tidemark_schemas::catalog::FLOW_OBSERVED.avsc;
    let mut other_tenant = ours(1);
    other_tenant[0].1 = text("acme");
    let answer = bench.post(AVRO, file(schema, Codec::Null, &[ours(1), ours(-1), other_tenant])).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| (e["index"].as_i64(), e["rule"].as_str())).collect();
    assert_eq!(errors, [(Some(1), Some("range")), (Some(2), Some("tenant"))]);
    let lacking = r#"{"type":"record","name":"Mine","fields":[{"name":"src_app","type":"string"}]}"#;
    let answer = bench.post(AVRO, file(lacking, Codec::Null, &[vec![("src_app", text("a"))]])).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "writer_schema"));
    assert!(answer.body["detail"].as_str().unwrap().contains("dest_app, vpc_id, bytes_tx, bytes_rx"));
    assert_eq!(bench.stored(), []);
}

#[tokio::test]
async fn a_file_cut_anywhere_is_refused_whole() {
    let bench = Bench::new();
    let whole = valid();
    let header = whole.len() - 16 - whole.iter().rev().take(0).count();
    for cut in (0..whole.len()).filter(|cut| cut % 7 == 0 || *cut > header) {
        let answer = bench.post(AVRO, whole[..cut].to_vec()).await;
        assert!((400..500).contains(&answer.status.as_u16()), "cut at {cut}: {}", answer.body);
    }
    assert_eq!(bench.stored(), []);
}
