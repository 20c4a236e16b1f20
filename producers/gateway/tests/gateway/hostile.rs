use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidemark_schemas::avro::{put_bytes, put_long};

use crate::support::*;

/// One bench and one runtime for all generated cases.
fn post(path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
    static BENCH: OnceLock<(tokio::runtime::Runtime, Bench)> = OnceLock::new();
    let (runtime, bench) = BENCH.get_or_init(|| (tokio::runtime::Runtime::new().unwrap(), Bench::new()));
    let answer = runtime.block_on(bench.send(path, &[("content-type", kind)], body));
    (answer.status.as_u16(), answer.body.to_string())
}

fn kinds() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![JSON, NDJSON, AVRO])
}

fn paths() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["/v1/flows", "/v1/flows?partial=true"])
}

/// JSON-like text: what a fuzzer of plain bytes never reaches.
fn json_like() -> impl Strategy<Value = String> {
    let bit = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "d800",
        "\n",
        " ",
        "1",
        "-",
        ".5",
        "e9",
        "null",
        "true",
        "\"src_app\":",
        "\"bytes_tx\":",
        "\"hour\":",
        "\"observed_at\":",
        "\"event_id\":",
        "\"x\"",
        "ø",
        "\u{0}",
        "99999999999999999999",
        "\"2026-01-31T12:00:00Z\"",
    ]);
    prop::collection::vec(bit, 0..40).prop_map(|bits| bits.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_answered(path in paths(), kind in kinds(), body: Vec<u8>) {
        let (status, answer) = post(path, kind, body);
        prop_assert!((400..500).contains(&status), "{status} {answer}");
    }

    #[test]
    fn any_text_like_json_is_answered(path in paths(), kind in kinds(), body in json_like()) {
        let (status, answer) = post(path, kind, body.into_bytes());
        prop_assert!(status < 500, "{status} {answer}");
    }

    #[test]
    fn any_damage_to_an_avro_file_is_answered(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut body = crate::avro::valid();
        for (index, byte) in at {
            let at = index.index(body.len());
            body[at] = byte;
        }
        let (status, answer) = post("/v1/flows", AVRO, body);
        prop_assert!(status < 500, "{status} {answer}");
    }

    #[test]
    fn any_schema_and_data_are_answered(schema in schema(), data: Vec<u8>, count in 0i64..1000) {
        let (status, answer) = post("/v1/flows", AVRO, container(&schema, count, &data));
        prop_assert!(status < 500, "{status} {answer}");
    }
}

fn container(schema: &str, count: i64, data: &[u8]) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    put_long(&mut file, 1);
    put_bytes(&mut file, b"avro.schema");
    put_bytes(&mut file, schema.as_bytes());
    put_long(&mut file, 0);
    file.extend_from_slice(&[9; 16]);
    put_long(&mut file, count);
    put_bytes(&mut file, data);
    file.extend_from_slice(&[9; 16]);
    file
}

/// A schema with the fields that a flow needs and one more of type `hostile`.
fn with(hostile: &str) -> String {
    let field = |name: &str| format!(r#"{{"name":"{name}","type":"long"}}"#);
    let fields = ["src_app", "dest_app", "vpc_id", "bytes_tx", "bytes_rx"].map(field).join(",");
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{hostile}}},{fields}]}}"#)
}

fn schema() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "\"null\"",
        "\"boolean\"",
        "\"int\"",
        "\"long\"",
        "\"float\"",
        "\"double\"",
        "\"bytes\"",
        "\"string\"",
        "\"R\"",
        r#"{"type":"fixed","name":"F","size":9}"#,
        r#"{"type":"enum","name":"E","symbols":["a"]}"#,
        "7",
        "\"?\"",
    ]);
    let kind = leaf.prop_map(str::to_owned).prop_recursive(5, 20, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| format!(r#"{{"type":"array","items":{items}}}"#)),
            inner.clone().prop_map(|values| format!(r#"{{"type":"map","values":{values}}}"#)),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            inner.prop_map(|a| format!(r#"{{"type":"record","name":"N","fields":[{{"name":"a","type":{a}}}]}}"#)),
        ]
    });
    kind.prop_map(|kind| with(&kind))
}

#[test]
fn schemas_that_promise_the_moon_cost_little() {
    let million = 1_000_000_000_000_i64;
    let mut nulls = Vec::new();
    put_long(&mut nulls, million);
    let enum_of = format!(r#"{{"type":"enum","name":"E","symbols":["{}"]}}"#, "s".repeat(100_000));
    let many_enums = format!("[{enum_of}{}]", ",\"E\"".repeat(50_000));
    for (hostile, data) in [
        (r#""R""#.to_owned(), vec![]),
        (r#"["R","null"]"#.to_owned(), vec![0; 1000]),
        (r#"{"type":"fixed","name":"F","size":1152921504606846976}"#.to_owned(), vec![1; 10]),
        (r#"{"type":"array","items":"null"}"#.to_owned(), nulls.clone()),
        (r#"{"type":"array","items":{"type":"array","items":"null"}}"#.to_owned(), nulls.repeat(10)),
        (r#"{"type":"array","items":"R"}"#.to_owned(), vec![2; 1000]),
        (r#""bytes""#.to_owned(), nulls),
        (many_enums, vec![0; 100]),
    ] {
        let started = Instant::now();
        let (status, answer) = post("/v1/flows", AVRO, container(&with(&hostile), 100, &data));
        let shown = &hostile[..hostile.len().min(60)];
        assert!((400..500).contains(&status), "{shown}: {status} {answer}");
        // Milliseconds as a rule; what is expanded takes minutes, or all memory.
        assert!(started.elapsed() < Duration::from_secs(20), "{shown} took {:?}", started.elapsed());
    }
}

/// One byte of an enum stands for 256 of a name: 800 KB would come to 83 MB of events.
#[tokio::test]
async fn enums_do_not_come_to_more_events_than_a_request_may_hold() {
    let symbol = "s".repeat(256);
    let name = |name: &str| format!(r#"{{"name":"{name}","type":"E"}}"#);
    let number = |name: &str| format!(r#"{{"name":"{name}","type":"long"}}"#);
    let fields = format!(
        r#"{{"name":"src_app","type":{{"type":"enum","name":"E","symbols":["{symbol}"]}}}},{},{},{},{},{}"#,
        name("dest_app"),
        name("vpc_id"),
        number("bytes_tx"),
        number("bytes_rx"),
        number("hour")
    );
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let mut record = vec![0; 5];
    put_long(&mut record, HOUR);
    let bench = Bench::new();
    for (records, status, code) in [(30_000, 202, ""), (100_000, 413, "body_too_large")] {
        let count = i64::try_from(records).unwrap();
        let answer = bench.post(AVRO, container(&schema, count, &record.repeat(records))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
        assert_eq!(answer.headers.get("retry-after"), None);
    }
}
