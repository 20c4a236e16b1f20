//! Random schemas, random JSON: what is taken reads back through apache-avro as it was sent; what is not is refused with a path.

use std::cell::Cell;
use std::collections::BTreeMap;

use apache_avro::types::Value as Avro;
use axum::http::StatusCode;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::*;

/// A type as it is drawn, with a number to name it by.
#[derive(Debug, Clone)]
enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(usize),
    Decimal(u32, u32),
    Millis,
    Micros,
    Date,
    Uuid,
    Optional(Box<Kind>),
    Union(Vec<Kind>),
    Array(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<Kind>),
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Boolean),
        Just(Kind::Int),
        Just(Kind::Long),
        Just(Kind::Float),
        Just(Kind::Double),
        Just(Kind::Text),
        Just(Kind::Bytes),
        (0usize..20).prop_map(Kind::Fixed),
        (1usize..5).prop_map(Kind::Enum),
        (1u32..30).prop_flat_map(|precision| (Just(precision), 0..=precision)).prop_map(|(p, s)| Kind::Decimal(p, s)),
        Just(Kind::Millis),
        Just(Kind::Micros),
        Just(Kind::Date),
        Just(Kind::Uuid),
        Just(Kind::Union(vec![Kind::Boolean, Kind::Long, Kind::Double, Kind::Text])),
        Just(Kind::Union(vec![
            Kind::Enum(2),
            Kind::Int,
            Kind::Array(Box::new(Kind::Int)),
            Kind::Record(vec![Kind::Int])
        ])),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let plain = inner
            .clone()
            .prop_filter("no union in a union", |kind| !matches!(kind, Kind::Optional(_) | Kind::Union(_)));
        prop_oneof![
            plain.prop_map(|kind| Kind::Optional(Box::new(kind))),
            inner.clone().prop_map(|kind| Kind::Array(Box::new(kind))),
            inner.clone().prop_map(|kind| Kind::Map(Box::new(kind))),
            proptest::collection::vec(inner, 0..4).prop_map(Kind::Record),
        ]
    })
}

/// Avro's JSON of a type; named types are numbered.
fn schema(kind: &Kind, names: &mut usize) -> Value {
    let mut name = || {
        *names += 1;
        format!("T{names}")
    };
    match kind {
        Kind::Boolean => json!("boolean"),
        Kind::Int => json!("int"),
        Kind::Long => json!("long"),
        Kind::Float => json!("float"),
        Kind::Double => json!("double"),
        Kind::Text => json!("string"),
        Kind::Bytes => json!("bytes"),
        Kind::Fixed(size) => json!({"type": "fixed", "name": name(), "size": size}),
        Kind::Enum(count) => json!({"type": "enum", "name": name(), "symbols": symbols(*count)}),
        Kind::Decimal(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        Kind::Millis => json!({"type": "long", "logicalType": "timestamp-millis"}),
        Kind::Micros => json!({"type": "long", "logicalType": "timestamp-micros"}),
        Kind::Date => json!({"type": "int", "logicalType": "date"}),
        Kind::Uuid => json!({"type": "string", "logicalType": "uuid"}),
        Kind::Optional(inner) => json!(["null", schema(inner, names)]),
        Kind::Union(branches) => branches.iter().map(|branch| schema(branch, names)).collect(),
        Kind::Array(items) => json!({"type": "array", "items": schema(items, names)}),
        Kind::Map(values) => json!({"type": "map", "values": schema(values, names)}),
        Kind::Record(fields) => {
            let name = name();
            let fields: Vec<_> = fields
                .iter()
                .enumerate()
                .map(|(at, field)| json!({"name": format!("f{at}"), "type": schema(field, names)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

fn symbols(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("S{at}")).collect()
}

/// Values of a type, as JSON that the gateway is to take.
fn values(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Int => any::<i32>().prop_map(Value::from).boxed(),
        Kind::Long | Kind::Micros => any::<i64>().prop_map(Value::from).boxed(),
        Kind::Float => {
            any::<f32>().prop_map(|n| json!(n)).prop_filter("JSON has no such number", |n| !n.is_null()).boxed()
        }
        Kind::Double => {
            any::<f64>().prop_map(|n| json!(n)).prop_filter("JSON has no such number", |n| !n.is_null()).boxed()
        }
        Kind::Text => any::<String>().prop_map(Value::from).boxed(),
        Kind::Bytes => proptest::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| latin(&bytes)).boxed(),
        Kind::Fixed(size) => proptest::collection::vec(any::<u8>(), *size).prop_map(|bytes| latin(&bytes)).boxed(),
        Kind::Enum(count) => (0..*count).prop_map(|at| json!(format!("S{at}"))).boxed(),
        Kind::Decimal(precision, scale) => decimals(*precision, *scale),
        Kind::Millis => (0i64..4_102_444_800_000)
            .prop_map(|ms| json!(chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339()))
            .boxed(),
        Kind::Date => (-700_000i32..700_000).prop_map(Value::from).boxed(),
        Kind::Uuid => any::<u128>().prop_map(|id| json!(uuid::Uuid::from_u128(id).to_string())).boxed(),
        Kind::Optional(inner) => prop_oneof![1 => Just(Value::Null), 3 => values(inner)].boxed(),
        Kind::Union(branches) => proptest::strategy::Union::new(branches.iter().map(values)).boxed(),
        Kind::Array(items) => proptest::collection::vec(values(items), 0..4).prop_map(Value::from).boxed(),
        Kind::Map(inner) => proptest::collection::btree_map(any::<String>(), values(inner), 0..4)
            .prop_map(|map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect()))
            .boxed(),
        Kind::Record(fields) => fields
            .iter()
            .map(values)
            .collect::<Vec<_>>()
            .prop_map(|values| {
                let named = values.into_iter().enumerate().map(|(at, value)| (format!("f{at}"), value));
                Value::Object(named.collect::<Map<_, _>>())
            })
            .boxed(),
    }
}

fn latin(bytes: &[u8]) -> Value {
    json!(bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
}

fn decimals(precision: u32, scale: u32) -> BoxedStrategy<Value> {
    let bound = 10i128.pow(precision) - 1;
    (-bound..=bound)
        .prop_map(move |unscaled| {
            let (digits, scale) = (unscaled.unsigned_abs().to_string(), scale as usize);
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            let sign = if unscaled < 0 { "-" } else { "" };
            json!(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
        })
        .boxed()
}

/// Whether what was read back is what was sent; written without a look at the gateway's own reading. What was drawn to fit has one
/// form each, anything else may have any.
fn same(sent: &Value, read: &Avro, fits: bool) -> bool {
    match (sent, read) {
        (sent, Avro::Union(_, read)) => same(sent, read, fits),
        (Value::Null, Avro::Null) => true,
        (Value::Bool(sent), Avro::Boolean(read)) => sent == read,
        (Value::Number(_), Avro::Int(read) | Avro::Date(read)) => integer(sent) == Some(i64::from(*read)),
        (Value::Number(_), Avro::Long(read) | Avro::TimestampMicros(read) | Avro::TimestampMillis(read)) => {
            integer(sent) == Some(*read)
        }
        (Value::Number(_), Avro::Float(read)) => sent.as_f64().map(|sent| sent as f32) == Some(*read),
        (Value::Number(_), Avro::Double(read)) => sent.as_f64() == Some(*read),
        (Value::String(sent), Avro::String(read) | Avro::Enum(_, read)) => sent == read,
        (Value::String(sent), Avro::Bytes(read) | Avro::Fixed(_, read)) => *sent == latin(read).as_str().unwrap(),
        (Value::String(sent), Avro::Uuid(read)) => *sent == read.to_string(),
        (Value::String(sent), Avro::TimestampMillis(read)) => {
            chrono::DateTime::parse_from_rfc3339(sent).unwrap().timestamp_millis() == *read
        }
        (Value::String(text), Avro::Decimal(read)) if fits => text.replace('.', "").parse() == Ok(unscaled(read)),
        (Value::String(text), Avro::Decimal(read)) => at_some_scale(text, unscaled(read)),
        (Value::Number(number), Avro::Decimal(read)) => at_some_scale(&number.to_string(), unscaled(read)),
        (Value::Array(sent), Avro::Array(read)) => {
            sent.len() == read.len() && sent.iter().zip(read).all(|(sent, read)| same(sent, read, fits))
        }
        (Value::Object(sent), Avro::Map(read)) => {
            sent.len() == read.len()
                && sent.iter().all(|(key, sent)| read.get(key).is_some_and(|read| same(sent, read, fits)))
        }
        (Value::Object(sent), Avro::Record(read)) => {
            sent.len() <= read.len()
                && read.iter().all(|(name, read)| same(sent.get(name).unwrap_or(&Value::Null), read, fits))
        }
        _ => false,
    }
}

/// The integer that a number is, `7.0` included.
fn integer(number: &Value) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9.3e18).map(|n| n as i64))
}

fn unscaled(decimal: &apache_avro::Decimal) -> i128 {
    let bytes = Vec::<u8>::try_from(decimal).unwrap();
    let sign = if bytes[0] >= 0x80 { -1i128 } else { 0 };
    bytes.iter().fold(sign, |n, byte| (n << 8) | i128::from(*byte))
}

/// Whether the number is `unscaled` with the point somewhere.
fn at_some_scale(text: &str, unscaled: i128) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    let exponent = exponent.parse::<i64>().unwrap_or(0) - fraction.len() as i64;
    (0..=30).any(|scale| {
        let Ok(by) = u32::try_from((exponent + scale).abs()) else { return false };
        let Some(factor) = 10i128.checked_pow(by) else { return digits == 0 && unscaled == 0 };
        if exponent + scale >= 0 {
            digits.checked_mul(factor) == Some(unscaled)
        } else {
            unscaled.checked_mul(factor) == Some(digits)
        }
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        "[a-z0-9.:TZ-]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((0..4usize, inner), 0..3).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(at, value)| (format!("f{at}"), value)).collect()
            )),
        ]
    })
}

#[derive(Debug, Clone)]
struct Case {
    kinds: Vec<Kind>,
    fitting: Vec<Value>,
    others: Vec<Value>,
}

fn cases() -> impl Strategy<Value = Case> {
    proptest::collection::vec(kinds(), 1..5).prop_flat_map(|kinds| {
        let record = Kind::Record(kinds.clone());
        let fitting = proptest::collection::vec(values(&record), 1..4);
        // One field of a value that fits takes another value.
        let other = (values(&record), 0..kinds.len(), any_json()).prop_map(|(mut value, at, other)| {
            value[format!("f{at}")] = other;
            value
        });
        let others = proptest::collection::vec(prop_oneof![3 => other, 1 => any_json()], 1..6);
        (Just(kinds), fitting, others).prop_map(|(kinds, fitting, others)| Case { kinds, fitting, others })
    })
}

#[test]
fn what_is_taken_reads_back_as_it_was_sent_and_the_rest_is_refused_with_a_path() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bench = Bench::new();
    let cases_run = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64);
    let mut runner = TestRunner::new(Config { cases: cases_run, failure_persistence: None, ..Config::default() });
    let (number, taken, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    runner
        .run(&cases(), |case| {
            number.set(number.get() + 1);
            let topic = format!("t{}", number.get());
            let schema = schema(&Kind::Record(case.kinds.clone()), &mut 0);
            let made = runtime.block_on(bench.put_topic(&topic, json!({"schema": schema, "partitions": 1})));
            prop_assert_eq!(made.status, StatusCode::CREATED, "{} {}", schema, made.body);
            let path = format!("/v1/events/{topic}");
            let send =
                |value: &Value| runtime.block_on(bench.send(&path, &[("content-type", JSON)], value.to_string()));
            let mut sent = Vec::new();
            for value in &case.fitting {
                let answer = send(value);
                prop_assert_eq!(answer.status, StatusCode::ACCEPTED, "{} {} {}", schema, value, answer.body);
                sent.push((answer.ids()[0].clone(), value, true));
            }
            for value in case.others.iter().filter(|value| !value.is_array()) {
                let answer = send(value);
                if answer.status == StatusCode::ACCEPTED {
                    sent.push((answer.ids()[0].clone(), value, false));
                    continue;
                }
                refused.set(refused.get() + 1);
                prop_assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{} {}", value, answer.body);
                for error in answer.body["errors"].as_array().unwrap() {
                    let placed = error["field"].is_string() || error["rule"] == "object";
                    prop_assert!(placed && error["fix"].is_string(), "{} {}", value, error);
                }
            }
            let events = bench.events(&topic);
            prop_assert_eq!(events.len(), sent.len());
            for (id, value, fits) in &sent {
                let event = events.iter().find(|event| event.key == *id).unwrap();
                prop_assert!(same(value, &event.value, *fits), "{} {} {:?}", schema, value, event.value);
            }
            taken.set(taken.get() + sent.len());
            Ok(())
        })
        .unwrap();
    let (taken, refused) = (taken.get(), refused.get());
    assert!(taken > cases_run as usize && refused > cases_run as usize / 2, "{taken} taken, {refused} refused");
}
