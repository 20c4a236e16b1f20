//! Bodies that are more, deeper or other than they seem.

use crate::target::{JSON, NDJSON, Target, open, status};
use std::io::Write;

const GZIP: &str = "content-encoding: gzip\r\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn what_is_packed_a_thousand_to_one_is_not_unpacked() {
    let target = open();
    let bomb = gzip(&vec![b' '; 1 << 30]);
    assert!(bomb.len() < 1_100_000, "{}", bomb.len());
    let headers = format!("{JSON}{GZIP}");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| target.refused(&target.post(&headers, &bomb), &[413, 503]));
        }
    });
    // Members one behind the other, and one in the other.
    let members = gzip(&vec![b' '; 1 << 20]).repeat(1_000);
    target.refused(&target.post(&headers, &members), &[413]);
    let nested = (0..3).fold(bomb, |inner, _| gzip(&inner));
    target.refused(&target.post(&headers, &nested), &[400, 413]);
    target.refused(&target.post(&format!("{JSON}content-encoding: gzip, gzip\r\n"), &nested), &[415]);
    let mut torn = gzip(b"{}");
    torn.truncate(12);
    for body in [&torn[..], b"\x1f\x8b", b"{}", b""] {
        target.refused(&target.post(&headers, body), &[400, 422]);
    }
}

#[test]
fn depth_is_bounded() {
    let target = open();
    for (open_with, close_with) in [("[", "]"), ("{\"a\":", "}"), ("[{\"src_app\":", "}]")] {
        for depth in [17, 1_000, 1_000_000] {
            let body = format!("{}1{}", open_with.repeat(depth), close_with.repeat(depth));
            for kind in [JSON, NDJSON] {
                target.refused(&target.post(kind, body.as_bytes()), &[422]);
            }
            target.refused(&target.post(JSON, open_with.repeat(depth).as_bytes()), &[422]);
        }
    }
    let schema = format!("{{\"schema\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    target.refused(&target.send("POST", "/registry/subjects/a/versions", JSON, schema.as_bytes()), &[400]);
    let inner =
        format!("{}\\\"int\\\"{}", "{\\\"type\\\":\\\"array\\\",\\\"items\\\":".repeat(3_000), "}".repeat(3_000));
    let schema = format!("{{\"schema\":\"{inner}\"}}");
    target.refused(&target.send("POST", "/registry/subjects/a/versions", JSON, schema.as_bytes()), &[422]);
    let large = format!("{{\"schema\":\"{}\"}}", " ".repeat(20 << 20));
    target.refused(&target.send("POST", "/registry/subjects/a/versions", JSON, large.as_bytes()), &[413]);
}

fn flow(field: &str, value: &str) -> String {
    let fields = [
        ("src_app", "\"a\""),
        ("dest_app", "\"b\""),
        ("vpc_id", "\"c\""),
        ("hour", "490000"),
        ("bytes_tx", "1"),
        ("bytes_rx", "1"),
    ];
    let all: Vec<String> =
        fields.iter().map(|(name, good)| format!("\"{name}\":{}", if *name == field { value } else { good })).collect();
    format!("{{{}}}", all.join(","))
}

#[test]
fn values_have_bounds() {
    let target = open();
    let digits = "9".repeat(1 << 20);
    for number in [
        "1e400",
        "-1",
        "9007199254740992",
        "1e-999999999",
        "1E+99999999999999999999",
        "NaN",
        "0x10",
        &digits,
        &format!("0.{digits}"),
    ] {
        target.refused(&target.post(JSON, flow("bytes_tx", number).as_bytes()), &[400, 422]);
    }
    let long = format!("\"{}\"", "x".repeat(10 << 20));
    // Names are contents, not names of files: a NUL in one is text like any other.
    target.refused(&target.post(JSON, flow("src_app", "\"a\\u0000b\"").as_bytes()), &[202]);
    for text in [long.as_str(), "\"\"", "\"\\ud800\"", "null", "[]", "{}", "true"] {
        let answer = target.post(JSON, flow("src_app", text).as_bytes());
        assert!(answer.len() < 4_096, "an answer of {} bytes", answer.len());
        target.refused(&answer, &[400, 422]);
    }
    let twice = flow("hour", "490000,\"bytes_tx\":5");
    target.refused(&target.post(JSON, twice.as_bytes()), &[422]);
    let unknown: String = (0..200_000).map(|n| format!("\"f{n}\":1,")).collect();
    target.refused(&target.post(JSON, format!("{{{unknown}\"x\":1}}").as_bytes()), &[422]);
    let mut bytes = flow("src_app", "\"a\u{fe}b\"").into_bytes();
    let at = bytes.iter().position(|byte| *byte == 0xc3).unwrap();
    bytes[at + 1] = b'(';
    for kind in [JSON, NDJSON] {
        target.refused(&target.post(kind, &bytes), &[400]);
    }
}

#[test]
fn records_are_counted() {
    let target = open();
    for (kind, body) in [(NDJSON, "{}\n".repeat(100_001)), (JSON, format!("[{}{{}}]", "{},".repeat(100_000)))] {
        let answer = target.post(kind, body.as_bytes());
        assert!(answer.contains("too_many_records"), "{answer:.600}");
        target.refused(&answer, &[422]);
    }
    target.refused(&target.post(NDJSON, "[]\n".repeat(99_999).as_bytes()), &[400, 422]);
    target.refused(&target.post(NDJSON, "\n".repeat(16 << 20).as_bytes()), &[422]);
    target.refused(&target.post(NDJSON, "\n".repeat((16 << 20) + 1).as_bytes()), &[413]);
}

/// As many bytes as a body may have, all of them good records.
fn large() -> String {
    let names = format!("\"{}\"", "n".repeat(256));
    let record = flow("src_app", &names).replace("\"b\"", &names).replace("\"c\"", &names) + "\n";
    record.repeat((16 << 20) / record.len())
}

/// Together they are more than memory for bodies: some are told to come again, none ends the process.
#[test]
fn many_large_bodies_at_once_are_bounded() {
    // One of its own: others would be told to come again.
    let target = Target::start(tempfile::tempdir().unwrap(), &[]);
    let body = large();
    let taken: usize = std::thread::scope(|scope| {
        let posts = (0..24).map(|_| {
            scope.spawn(|| {
                let answer = target.post(NDJSON, body.as_bytes());
                assert!(matches!(status(&answer), Some(202 | 503)), "{answer:.600}");
                usize::from(status(&answer) == Some(202))
            })
        });
        let posts: Vec<_> = posts.collect();
        posts.into_iter().map(|post| post.join().unwrap()).sum()
    });
    assert!(taken > 0, "all were told to come again");
    target.assert_well();
}

/// Work that was begun goes on when its client hangs up; as much of it as ever counts.
#[test]
fn clients_that_hang_up_mid_work_shed_no_limit() {
    let target = Target::start(tempfile::tempdir().unwrap(), &[]);
    let body = large();
    let head = format!(
        "POST /v1/flows HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n{NDJSON}\r\n",
        target.address,
        body.len()
    );
    let request = [head.as_bytes(), body.as_bytes()].concat();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..12 {
                    let mut stream = target.connect();
                    // It may be told to come again before all is sent.
                    let _ = stream.write_all(&request);
                    // Long enough that the work has begun.
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            });
        }
    });
    // The good request waits for what was begun before it.
    target.until("well", |target| status(&target.post(JSON, crate::target::GOOD)) == Some(202));
    target.assert_well();
}
