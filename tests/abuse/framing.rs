//! Where a message begins and ends.

use crate::target::{GOOD, JSON, answers, open, status};

fn post(headers: &str, body: &str) -> String {
    format!("POST /v1/flows HTTP/1.1\r\nhost: localhost\r\n{JSON}{headers}\r\n{body}")
}

fn good() -> &'static str {
    std::str::from_utf8(GOOD).unwrap()
}

const NEXT: &str = "GET /v1/hours HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[test]
fn a_length_that_lies_takes_nothing() {
    let target = open();
    // Longer than the body: it is waited for, and given up.
    let longer = target.raw(post("content-length: 5000\r\n", good()).as_bytes());
    target.refused(&longer, &[400, 408]);
    // Shorter: the body is cut, the rest is no request.
    let shorter = target.raw(post("content-length: 10\r\n", good()).as_bytes());
    target.refused(&shorter, &[400]);
    for length in ["-1", "1 2", "0x10", "18446744073709551616", "+3", "", "1,2"] {
        let answer = target.raw(post(&format!("content-length: {length}\r\n"), good()).as_bytes());
        target.refused(&answer, &[400]);
    }
    let two = post("content-length: 3\r\ncontent-length: 4\r\n", "abcd");
    target.refused(&target.raw(two.as_bytes()), &[400]);
    let huge = target.raw(post("content-length: 999999999999\r\n", "{").as_bytes());
    target.refused(&huge, &[413]);
}

/// Two lengths for one body is how a request is smuggled past a proxy: whatever follows is not taken for one.
#[test]
fn nothing_is_smuggled_behind_two_lengths() {
    let target = open();
    for headers in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\tchunked\r\ncontent-length: 6\r\n",
    ] {
        let answer = target.raw(post(headers, &format!("0\r\n\r\n{NEXT}")).as_bytes());
        assert!(answers(&answer) <= 1, "two answers to {headers}: {answer}");
        target.refused(&answer, &[400, 422, 501]);
    }
}

#[test]
fn bad_chunks_are_refused() {
    let target = open();
    for body in
        ["xyz\r\n{}\r\n0\r\n\r\n", "-1\r\n{}", "ffffffffffffffffff\r\n{}", "2\r\n{}X\r\n0\r\n\r\n", "2;\x01\n{}"]
    {
        let answer = target.raw(post("transfer-encoding: chunked\r\n", body).as_bytes());
        target.refused(&answer, &[400]);
    }
    let extension = format!("1;{}\r\n", "a".repeat(200_000));
    let answer = target.raw(post("transfer-encoding: chunked\r\n", &extension).as_bytes());
    target.refused(&answer, &[400, 413]);
    let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(100_000));
    let answer = target.raw(post("transfer-encoding: chunked\r\n", &trailers).as_bytes());
    target.refused(&answer, &[400, 413, 422]);
    let tiny = format!("{}0\r\n\r\n", "1\r\n \r\n".repeat(200_000));
    let answer = target.raw(post("transfer-encoding: chunked\r\n", &tiny).as_bytes());
    target.refused(&answer, &[400, 422]);
}

#[test]
fn what_is_no_http_is_closed() {
    let target = open();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nho\0st: a\r\n\r\n",
    ] {
        let answer = target.raw(bytes);
        assert!(matches!(status(&answer), None | Some(400..=499)), "{answer}");
    }
    target.assert_well();
}

#[test]
fn headers_have_bounds() {
    let target = open();
    let with =
        |headers: &str| format!("GET /v1/hours HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    target.refused(&target.raw(with(&format!("x: {}\r\n", "a".repeat(40_000))).as_bytes()), &[431]);
    target.refused(&target.raw(with(&"x: y\r\n".repeat(150)).as_bytes()), &[431]);
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(70_000));
    target.refused(&target.raw(long.as_bytes()), &[414, 431]);
    assert_eq!(status(&target.raw(with(&"x: y\r\n".repeat(50)).as_bytes())), Some(200));
}

#[test]
fn old_and_eager_clients_are_answered() {
    let target = open();
    let old = target.raw(b"GET /v1/hours HTTP/1.0\r\n\r\n");
    assert_eq!(status(&old), Some(200), "{old}");
    let chunked = target.raw(b"POST /v1/flows HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    target.refused(&chunked, &[400]);
    let ask = "GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(99);
    let answer = target.raw(format!("{ask}{NEXT}").as_bytes());
    assert_eq!(answers(&answer), 100, "pipelined");
    target.assert_well();
}

#[test]
fn other_methods_change_nothing() {
    let target = open();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "POSTT"] {
        let answer = target.send(method, "/v1/flows", JSON, GOOD);
        target.refused(&answer, &[400, 404, 405]);
        assert!(!answer.to_ascii_lowercase().contains("access-control-allow-origin"), "{answer}");
    }
}
