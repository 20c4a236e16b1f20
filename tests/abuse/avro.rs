//! Avro files that promise more than they hold.

use crate::target::{AVRO, open};
use tidemark_schemas::avro::{put_bytes, put_long};

/// A file of one block: what it says it holds, and what it holds.
fn container(schema: &str, codec: &str, count: i64, size: i64, data: &[u8]) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    put_long(&mut file, 2);
    for (key, value) in [("avro.schema", schema), ("avro.codec", codec)] {
        put_bytes(&mut file, key.as_bytes());
        put_bytes(&mut file, value.as_bytes());
    }
    put_long(&mut file, 0);
    file.extend_from_slice(&[9; 16]);
    put_long(&mut file, count);
    put_long(&mut file, size);
    file.extend_from_slice(data);
    file.extend_from_slice(&[9; 16]);
    file
}

/// A flow's fields behind one of type `hostile`.
fn with(hostile: &str) -> String {
    let field = |name: &str| format!(r#"{{"name":"{name}","type":"long"}}"#);
    let fields = ["src_app", "dest_app", "vpc_id", "bytes_tx", "bytes_rx"].map(field).join(",");
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{hostile}}},{fields}]}}"#)
}

fn long(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_long(&mut out, value);
    out
}

#[test]
fn counts_and_lengths_that_lie_cost_little() {
    let target = open();
    let flows = with("\"long\"");
    for count in [i64::MAX, i64::MIN, -1, 1 << 40] {
        target.refused(&target.post(AVRO, &container(&flows, "null", count, 6, &[2; 6])), &[400, 422]);
    }
    for size in [i64::MAX, i64::MIN, -6, 1 << 40] {
        target.refused(&target.post(AVRO, &container(&flows, "null", 1, size, &[2; 6])), &[400]);
    }
    let nulls = [long(1 << 40), vec![0; 8]].concat();
    for (hostile, data) in [
        (r#"{"type":"array","items":"null"}"#, nulls.clone()),
        (r#"{"type":"array","items":{"type":"array","items":"null"}}"#, long(1 << 20).repeat(1 << 10)),
        (r#"{"type":"map","values":"null"}"#, nulls.clone()),
        (r#"{"type":"array","items":{"type":"fixed","name":"F","size":0}}"#, nulls.clone()),
        (r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#, nulls.clone()),
        (r#""bytes""#, nulls.clone()),
        (r#""R""#, vec![0; 64]),
        (r#"["null","R"]"#, vec![2; 1 << 16]),
    ] {
        let size = i64::try_from(data.len()).unwrap();
        target.refused(&target.post(AVRO, &container(&with(hostile), "null", 1, size, &data)), &[400, 422]);
    }
}

#[test]
fn schemas_that_nest_or_repeat_are_bounded() {
    let target = open();
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(20_000), "}".repeat(20_000));
    let wide = format!("[{}\"null\"]", "\"long\",".repeat(100_000));
    let fields: String = (0..10_000).map(|n| format!(r#"{{"name":"f{n}","type":"null"}},"#)).collect();
    let many = format!(r#"{{"type":"record","name":"M","fields":[{fields}{{"name":"z","type":"null"}}]}}"#);
    let large = format!("\"{}\"", "n".repeat(2 << 20));
    for hostile in [&deep, &wide, &large] {
        target.refused(&target.post(AVRO, &container(&with(hostile), "null", 1, 6, &[2; 6])), &[400, 422]);
    }
    // Ten thousand values for each byte that pays for them.
    let array = format!(r#"{{"type":"array","items":{many}}}"#);
    let data = long(1 << 30);
    let size = i64::try_from(data.len()).unwrap();
    target.refused(&target.post(AVRO, &container(&with(&array), "null", 1, size, &data)), &[400, 422]);
}

#[test]
fn deflated_blocks_are_bounded() {
    use std::io::Write;
    let target = open();
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(&vec![0; 1 << 28]).unwrap();
    let bomb = out.finish().unwrap();
    let size = i64::try_from(bomb.len()).unwrap();
    let file = container(&with("\"long\""), "deflate", 1, size, &bomb);
    target.refused(&target.post(AVRO, &file), &[400, 413, 422]);
    target.refused(&target.post(AVRO, &container(&with("\"long\""), "zstandard", 1, 6, &[2; 6])), &[415]);
}
