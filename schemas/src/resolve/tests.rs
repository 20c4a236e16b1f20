#![allow(clippy::unwrap_used)]

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

use super::*;
use crate::avro::{put_bytes, put_long};

fn plan(writer: &str, reader: &str) -> Plan {
    Plan::new(&parse(writer).unwrap(), &parse(reader).unwrap(), false)
}

fn problems(writer: &str, reader: &str) -> Vec<String> {
    plan(writer, reader).problems().iter().map(Problem::to_string).collect()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

/// Writes `value` by `writer`, turns it, reads it by `reader`; apache-avro at both ends.
fn turned(writer: &str, reader: &str, value: Value) -> Result<Value, RunError> {
    let (w, r) = (parse(writer).unwrap(), parse(reader).unwrap());
    let datum = GenericDatumWriter::builder(&w).build().unwrap().write_value_to_vec(value).unwrap();
    let mut out = vec![];
    Plan::new(&w, &r, false).run(&datum, &mut out)?;
    let mut left = out.as_slice();
    let value = GenericDatumReader::builder(&r).build().unwrap().read_value(&mut left).unwrap();
    assert!(left.is_empty());
    Ok(value)
}

#[test]
fn every_problem_is_named_with_its_field() {
    let writer = record(
        r#"{"name":"a","type":"long"},{"name":"u","type":["null","long"]},
           {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
           {"name":"list","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"n","type":"string"}]}}}"#,
    );
    let reader = record(
        r#"{"name":"a","type":"int"},{"name":"u","type":"long"},{"name":"region","type":"string"},
           {"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},
           {"name":"list","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"n","type":"long"}]}}}"#,
    );
    let expected = [
        "field a: reader type int cannot read long",
        "field u: reader type long cannot read null",
        "field e: reader's enum has no symbol Y and no default",
        "field list[].n: reader type long cannot read string",
        "field region: new field has no default, and the writer does not have it",
    ];
    assert_eq!(problems(&writer, &reader), expected);
    let always: Vec<bool> = plan(&writer, &reader).problems().iter().map(|p| p.always).collect();
    assert_eq!(always, [true, false, false, false, true], "an empty list can be read");
}

#[test]
fn what_the_specification_allows_is_read() {
    let x = r#"{"type":"fixed","name":"F","size":2}"#;
    for (writer, reader) in [
        (r#""int""#, r#""double""#),
        (r#""string""#, r#""bytes""#),
        (r#""long""#, r#"{"type":"long","logicalType":"timestamp-millis"}"#),
        (r#""long""#, r#"["null","long"]"#),
        (r#"["long"]"#, r#""long""#),
        (r#"["null","int"]"#, r#"["string","long","null"]"#),
        (x, x),
        (&record(r#"{"name":"old","type":"int"}"#), &record(r#"{"name":"new","type":"int","aliases":["old"]}"#)),
        (&record(r#"{"name":"gone","type":"int"}"#), &record("")),
        (&record(""), &record(r#"{"name":"d","type":["null","int"],"default":null}"#)),
        (
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#,
        ),
    ] {
        assert_eq!(problems(writer, reader), [""; 0], "{writer} as {reader}");
    }
}

#[test]
fn what_would_change_meaning_is_not_read() {
    let decimal = |p, s| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{p},"scale":{s}}}"#);
    for (writer, reader) in [
        (r#""long""#, r#""int""#),
        (r#""null""#, r#""long""#),
        (r#""string""#, decimal(9, 0).as_str()),
        (&decimal(9, 2), &decimal(9, 0)),
        (&decimal(38, 0), &decimal(9, 0)),
        (r#"{"type":"fixed","name":"F","size":2}"#, r#"{"type":"fixed","name":"F","size":3}"#),
        (r#"{"type":"array","items":"int"}"#, r#"{"type":"map","values":"int"}"#),
        (r#"{"type":"record","name":"A","fields":[]}"#, r#"{"type":"record","name":"B","fields":[]}"#),
    ] {
        assert!(plan(writer, reader).refusal().is_some(), "{writer} as {reader}");
    }
    assert_eq!(problems(&decimal(9, 0), &decimal(38, 0)), [""; 0]);
}

#[test]
fn the_same_form_needs_no_change_and_another_does() {
    let ab = record(r#"{"name":"a","type":"int"},{"name":"b","type":["null","string"]}"#);
    let ba = record(r#"{"name":"b","type":["null","string"]},{"name":"a","type":"int"}"#);
    let union = record(r#"{"name":"a","type":["int"]},{"name":"b","type":["null","string"]}"#);
    let list = record(r#"{"name":"next","type":["null","R"]}"#);
    assert!(plan(&ab, &ab).is_identity());
    assert!(plan(&list, &list).is_identity());
    assert!(!plan(&ab, &ba).is_identity());
    assert!(!plan(&ab, &union).is_identity());
    assert!(!plan(&ab, &record(r#"{"name":"a","type":"int"}"#)).is_identity());
    assert!(!plan(r#"["null","int"]"#, r#"["int","null"]"#).is_identity());
    assert!(!plan(r#""int""#, r#""double""#).is_identity());
}

#[test]
fn values_are_turned() {
    let writer = record(
        r#"{"name":"a","type":"int"},{"name":"skip","type":{"type":"map","values":"double"}},
           {"name":"b","type":["null","string"]},{"name":"f","type":"float"}"#,
    );
    let reader = record(
        r#"{"name":"f","type":"double"},{"name":"d","type":{"type":"array","items":"long"},"default":[1,2]},
           {"name":"b","type":["string","null"]},{"name":"a","type":["null","double"]}"#,
    );
    let value = Value::Record(vec![
        ("a".into(), Value::Int(-3)),
        ("skip".into(), Value::Map([("k".to_owned(), Value::Double(0.5))].into())),
        ("b".into(), Value::Union(1, Box::new(Value::String("x".into())))),
        ("f".into(), Value::Float(1.5)),
    ]);
    let expected = Value::Record(vec![
        ("f".into(), Value::Double(1.5)),
        ("d".into(), Value::Array(vec![Value::Long(1), Value::Long(2)])),
        ("b".into(), Value::Union(0, Box::new(Value::String("x".into())))),
        ("a".into(), Value::Union(1, Box::new(Value::Double(-3.0)))),
    ]);
    assert_eq!(turned(&writer, &reader, value).unwrap(), expected);
}

/// In a branch of a union the whole schema is not refused, so the datum that takes the branch must be.
#[test]
fn a_record_that_lacks_a_field_is_not_read_in_a_union_either() {
    let with = |fields: &str| {
        record(&format!(r#"{{"name":"u","type":["null",{{"type":"record","name":"I","fields":[{fields}]}}]}}"#))
    };
    let (writer, reader) = (with(""), with(r#"{"name":"x","type":"string"}"#));
    let plan = plan(&writer, &reader);
    assert_eq!(plan.refusal(), None);
    let mut out = Vec::new();
    assert_eq!((plan.run(&[0], &mut out), out.as_slice()), (Ok(()), &[0][..]));
    assert!(matches!(plan.run(&[2], &mut out), Err(RunError::Unreadable(problem)) if problem.field.contains('x')));
}

#[test]
fn a_wrong_default_is_a_problem() {
    let reader = record(
        r#"{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":0},"default":"\u0001"}"#,
    );
    // apache-avro refuses some of these at parsing, which is as good
    if let Ok(reader) = parse(&reader) {
        assert_eq!(Plan::new(&parse(&record("")).unwrap(), &reader, false).problems(), []);
    }
    assert!(parse(&record(r#"{"name":"x","type":"long","default":"one"}"#)).is_err());
}

/// Data without bytes, data without end, and nesting without end: each is refused at once.
#[test]
fn hostile_data_is_bounded() {
    let nulls = plan(
        r#"{"type":"array","items":{"type":"array","items":"null"}}"#,
        r#"{"type":"array","items":{"type":"array","items":"null"}}"#,
    );
    let mut bomb = vec![];
    put_long(&mut bomb, 1_000);
    for _ in 0..1_000 {
        put_long(&mut bomb, 1 << 40);
        put_long(&mut bomb, 0);
    }
    assert!(matches!(nulls.run(&bomb, &mut vec![]), Err(RunError::Datum(Error::TooMany(_)))));
    let list = record(r#"{"name":"next","type":["null","R"]}"#);
    let deep = vec![2; 1 << 20];
    assert_eq!(plan(&list, &list).run(&deep, &mut vec![]), Err(RunError::Datum(Error::TooDeep(MAX_DEPTH))));
    let text = plan(r#""string""#, r#""string""#);
    let mut huge = vec![];
    put_long(&mut huge, i64::MAX);
    assert_eq!(text.run(&huge, &mut vec![]), Err(RunError::Datum(Error::Length(i64::MAX))));
}

/// Each record holds the one before twice: 2^60 empty records from no bytes at all.
#[test]
fn hostile_schemas_are_bounded() {
    let mut fields = vec![r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[]}}"#.to_owned()];
    for i in 1..60 {
        let pair = format!(r#"{{"name":"a","type":"R{0}"}},{{"name":"b","type":"R{0}"}}"#, i - 1);
        fields.push(format!(r#"{{"name":"f{i}","type":{{"type":"record","name":"R{i}","fields":[{pair}]}}}}"#));
    }
    let schema = record(&fields.join(","));
    assert!(matches!(plan(&schema, &schema).run(&[], &mut vec![]), Err(RunError::Datum(Error::TooMany(_)))));
    let fixed = record(r#"{"name":"x","type":{"type":"fixed","name":"F","size":9223372036854775807}}"#);
    assert!(matches!(plan(&fixed, &fixed).run(&[1], &mut vec![]), Err(RunError::Datum(Error::Length(_)))));
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"x".repeat(MAX_SCHEMA_BYTES + 1)).is_err());
}

proptest! {
    #[test]
    fn no_datum_panics(bytes: Vec<u8>) {
        for reader in crate::catalog::ALL {
            let ours = parse(&reader.avsc).unwrap();
            let _ = Plan::new(&ours, &ours, true).run(&bytes, &mut vec![]);
        }
    }

    #[test]
    fn no_schema_text_panics(cut in 0usize..900, insert in r#"["\[\]{},:a-z0-9]{0,6}"#) {
        let text = &*crate::catalog::FLOW_OBSERVED.avsc;
        let cut = (0..=cut.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap();
        let (head, tail) = text.split_at(cut);
        let _ = parse(&format!("{head}{insert}{tail}"));
        let _ = parse(&format!("{head}{insert}"));
    }

    /// A plan gives what apache-avro's own resolution gives.
    #[test]
    fn as_apache_avro_resolves(a: i32, b: Option<String>, list: Vec<i32>) {
        let writer = record(r#"{"name":"a","type":"int"},{"name":"b","type":["null","string"]},{"name":"l","type":{"type":"array","items":"int"}}"#);
        let reader = record(r#"{"name":"l","type":{"type":"array","items":"long"}},{"name":"z","type":"string","default":"zz"},{"name":"b","type":["null","string"]}"#);
        let mut datum = vec![];
        put_long(&mut datum, a.into());
        put_long(&mut datum, b.is_some().into());
        if let Some(b) = &b {
            put_bytes(&mut datum, b.as_bytes());
        }
        crate::avro::Avro::put(&list, &mut datum);
        let (w, r) = (parse(&writer).unwrap(), parse(&reader).unwrap());
        let theirs = GenericDatumReader::builder(&w).reader_schema(&r).build().unwrap().read_value(&mut datum.as_slice()).unwrap();
        let mut out = vec![];
        Plan::new(&w, &r, false).run(&datum, &mut out).unwrap();
        let ours = GenericDatumReader::builder(&r).build().unwrap().read_value(&mut out.as_slice()).unwrap();
        prop_assert_eq!(ours, theirs);
    }
}
