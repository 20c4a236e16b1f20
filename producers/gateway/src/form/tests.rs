#![allow(clippy::unwrap_used, clippy::panic)]

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use uuid::Uuid;

use super::*;
use crate::rule::{Finding, Rule};

fn form(fields: &str) -> Form {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    Form::compile("t", 1, 1, &text.into()).unwrap()
}

fn read(form: &Form, json: &str) -> Result<Vec<(String, Avro)>, Vec<Finding>> {
    let mut out = Vec::new();
    let (_, findings) = Encoder::new(form).event(json, Uuid::nil(), &mut out).unwrap();
    if !findings.is_empty() {
        return Err(findings);
    }
    let schema = Schema::parse_str(&form.text).unwrap();
    let mut left = out.as_slice();
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut left).unwrap();
    assert!(left.is_empty());
    match value {
        Avro::Record(fields) => Ok(fields),
        other => panic!("{other:?}"),
    }
}

/// The one field `x` of a record, from `value`; left out if that is empty.
fn one(kind: &str, value: &str) -> Result<Avro, Rule> {
    let form = form(&format!(r#"{{"name":"x","type":{kind}}}"#));
    let json = if value.is_empty() { "{}".to_owned() } else { format!(r#"{{"x":{value}}}"#) };
    let read = read(&form, &json).map_err(|findings| findings.first().unwrap().rule);
    read.map(|mut fields| fields.remove(0).1)
}

fn branch(at: u32, value: Avro) -> Result<Avro, Rule> {
    Ok(Avro::Union(at, Box::new(value)))
}

#[test]
fn a_union_takes_the_first_branch_that_fits() {
    let numbers = r#"["null","int","long","double","string"]"#;
    assert_eq!(one(numbers, "7"), branch(1, Avro::Int(7)));
    assert_eq!(one(numbers, "7000000000"), branch(2, Avro::Long(7_000_000_000)));
    assert_eq!(one(numbers, "0.5"), branch(3, Avro::Double(0.5)));
    assert_eq!(one(numbers, "\"7\""), branch(4, Avro::String("7".into())));
    assert_eq!((one(numbers, "null"), one(numbers, "")), (branch(0, Avro::Null), branch(0, Avro::Null)));
    assert_eq!(one(numbers, "[]"), Err(Rule::Type));
    assert_eq!(one(r#"["int","long"]"#, "1e300"), Err(Rule::Branch));
    assert_eq!(one(r#"["int"]"#, "1e300"), Err(Rule::Range), "of one branch alone the fault is told");
    let records = r#"[{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]},
                      {"type":"record","name":"B","fields":[{"name":"a","type":"string"}]}]"#;
    let b = Avro::Record(vec![("a".into(), Avro::String("x".into()))]);
    assert_eq!(one(records, r#"{"a":"x"}"#), branch(1, b));
    assert_eq!(one(records, r#"{"a":true}"#), Err(Rule::Branch));
    assert_eq!(one(r#"["int","string"]"#, ""), Err(Rule::Missing), "there is no null to take");
}

#[test]
fn defaults_stand_for_what_is_left_out_as_the_specification_writes_them() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
    let form = form(&format!(
        r#"{{"name":"bytes","type":"bytes","default":"\u00ff"}},{{"name":"price","type":{decimal},"default":"\u0001\u0000"}},
           {{"name":"union","type":["null","int"],"default":null}},{{"name":"list","type":{{"type":"array","items":"int"}},"default":[1,2]}}"#
    ));
    let fields = read(&form, "{}").unwrap();
    let values: Vec<_> = fields.into_iter().map(|(_, value)| value).collect();
    let list = Avro::Array(vec![Avro::Int(1), Avro::Int(2)]);
    let union = Avro::Union(0, Box::new(Avro::Null));
    assert_eq!(values, [Avro::Bytes(vec![255]), Avro::Decimal(vec![1, 0].into()), union, list]);
    assert_eq!(one("\"bytes\"", "null"), Err(Rule::Type), "null is not left out");
}

#[test]
fn logical_types_are_read_as_text_and_as_numbers() {
    let long = |logical: &str| format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
    for (kind, value, expected) in [
        (long("timestamp-micros"), "\"2026-01-31T12:00:00.000001Z\"", Ok(Avro::TimestampMicros(1_769_860_800_000_001))),
        (long("timestamp-micros"), "7", Ok(Avro::TimestampMicros(7))),
        (long("local-timestamp-millis"), "\"1970-01-01T00:00:01\"", Ok(Avro::LocalTimestampMillis(1_000))),
        (long("time-micros"), "\"00:00:01\"", Ok(Avro::TimeMicros(1_000_000))),
        (long("time-micros"), "86400000000", Err(Rule::Range)),
        (r#"{"type":"int","logicalType":"date"}"#.into(), "\"1970-01-31\"", Ok(Avro::Date(30))),
        (r#"{"type":"int","logicalType":"date"}"#.into(), "\"31.1.1970\"", Err(Rule::TimeFormat)),
        (
            r#"{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":1}"#.into(),
            "-1.5",
            Ok(Avro::Decimal(vec![255, 241].into())),
        ),
        (r#"{"type":"fixed","name":"F","size":2}"#.into(), "\"\\u0000\\u00ff\"", Ok(Avro::Fixed(2, vec![0, 255]))),
        (r#"{"type":"fixed","name":"F","size":2}"#.into(), "\"abc\"", Err(Rule::Length)),
        ("\"bytes\"".into(), "\"ā\"", Err(Rule::Range)),
        (r#"{"type":"string","logicalType":"uuid"}"#.into(), "\"0198c5a27b1e7c3d9e4f5a6b7c8d9e0f\"", Err(Rule::Uuid)),
        (r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#.into(), "\"P1D\"", Err(Rule::Type)),
        ("\"float\"".into(), "1e39", Err(Rule::Range)),
        ("\"double\"".into(), "1e400", Err(Rule::Range)),
    ] {
        assert_eq!(one(&kind, value), expected, "{kind} {value}");
    }
}

/// A schema that names itself takes as many levels as JSON may have, optional or not.
#[test]
fn depth_is_that_of_the_json() {
    let list = form(r#"{"name":"next","type":["null","R"],"default":null}"#);
    let nested = |levels: usize| format!("{}{}", "{\"next\":".repeat(levels), "{}") + &"}".repeat(levels);
    let encode = move |levels| Encoder::new(&list).event(&nested(levels), Uuid::nil(), &mut Vec::new()).unwrap().1;
    // Of the 2 MiB of a thread, also in a build without optimization.
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        assert_eq!(encode(DEPTH_MAX - 1), []);
        encode(DEPTH_MAX + 1)
    });
    let deeper = thread.unwrap().join().unwrap();
    assert!(deeper.iter().any(|finding| finding.message.contains("too deep")), "{deeper:?}");
}

/// Each level may be read twice by each branch: what is looked at is bounded, whatever the schema.
#[test]
fn what_a_body_costs_is_bounded() {
    let level = |name: &str, inner: &str| {
        format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"a","type":{inner}}}]}}"#)
    };
    let mut kind = "\"int\"".to_owned();
    for at in 0..25 {
        kind = format!("[{},{}]", level(&format!("L{at}"), &kind), level(&format!("M{at}"), &format!("\"L{at}\"")));
    }
    let form = form(&format!(r#"{{"name":"x","type":{kind}}}"#));
    let json = format!(r#"{{"x":{}"no"{}}}"#, "{\"a\":".repeat(25), "}".repeat(25));
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(&form));
    let read = encoder.event(&json, Uuid::nil(), &mut out);
    assert!(read.is_err() || read.is_ok_and(|(_, findings)| !findings.is_empty()));
}

#[test]
fn schemas_that_cannot_be_those_of_events_are_refused() {
    for (text, part) in [
        ("\"long\"", "not a record"),
        ("{", "EOF"),
        (r#"{"type":"record","name":"R","fields":[{"name":"x","type":"Y"}]}"#, "Y"),
        (r#"{"type":"record","name":"9","fields":[]}"#, "9"),
    ] {
        let error = Form::compile("t", 1, 1, &text.into()).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}
