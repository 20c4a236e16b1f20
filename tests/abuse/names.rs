//! Paths, names, keys and headers that pretend.

use crate::target::{GOOD, JSON, open, status};

#[test]
fn paths_lead_nowhere_else() {
    let target = open();
    for path in [
        "/dashboard/../../etc/passwd",
        "/dashboard/%2e%2e/%2e%2e/etc/passwd",
        "/dashboard/..%2f..%2fetc/passwd",
        "/dashboard/%00",
        "/dashboard/main.js%00.html",
        "/..%5c..%5cwindows",
        "//etc/passwd",
        "/v1//flows",
        "/v1/flows/",
        "/v1/%66lows",
        "/%2e",
        "/registry/../metrics",
        "/v1/events/..%2f..%2fetc",
        "/v1/events/a%00b",
        "http://evil.example/v1/hours",
        "/%ff%fe",
        "*",
    ] {
        for method in ["GET", "POST"] {
            let answer = target.send(method, path, JSON, GOOD);
            assert!(!answer.contains("root:"), "{answer}");
            target.refused(&answer, &[400, 403, 404, 405]);
        }
    }
}

#[test]
fn queries_are_checked() {
    let target = open();
    for query in [
        "hour=%00",
        "hour=9223372036854775808",
        "hour=-1",
        "limit=99999999999",
        "cursor=AAAA",
        "cursor=%00",
        "nope=1",
        "hour=1&hour=2",
    ] {
        let answer = target.send("GET", &format!("/v1/flows?{query}"), "", b"");
        target.refused(&answer, &[400]);
    }
    for app in ["%ff", "%", "%00", &"a".repeat(30_000)] {
        let answer = target.send("GET", &format!("/v1/flows?src_app={app}"), "", b"");
        target.refused(&answer, &[200, 400]);
    }
}

#[test]
fn names_at_the_registry_are_only_names() {
    let target = open();
    let schema = br#"{"schema":"\"string\""}"#;
    for subject in ["..%2f..%2fetc", "%2e%2e", "a%00b", "%0d%0aset-cookie:x", "%ff", &"s".repeat(20_000)] {
        let answer = target.send("POST", &format!("/registry/subjects/{subject}/versions"), JSON, schema);
        assert!(!answer.to_ascii_lowercase().contains("\r\nset-cookie"), "{answer}");
        assert!(matches!(status(&answer), Some(200 | 400..=499)), "{answer:.600}");
        for path in ["versions", "versions/latest", "versions/-99999999999999999999"] {
            let answer = target.send("GET", &format!("/registry/subjects/{subject}/{path}"), "", b"");
            assert!(matches!(status(&answer), Some(200 | 400..=499)), "{answer:.600}");
        }
    }
    target.assert_well();
}

#[test]
fn idempotency_keys_have_bounds() {
    let target = open();
    let with = |key: &str| target.post(&format!("{JSON}idempotency-key: {key}\r\n"), GOOD);
    for key in [
        "k".repeat(256),
        "k".repeat(20_000),
        String::new(),
        "a\u{1}b".into(),
        "a\0b".into(),
        "\u{7f}".into(),
        "é".into(),
    ] {
        target.refused(&with(&key), &[400]);
    }
    let two = target.post(&format!("{JSON}idempotency-key: a\r\nidempotency-key: b\r\n"), GOOD);
    target.refused(&two, &[400]);
    assert_eq!(status(&with(&"k".repeat(255))), Some(202));
}

/// No proxy is trusted: what one would say about the caller is not believed, and changes no answer.
#[test]
fn headers_of_proxies_give_nothing() {
    let target = open();
    for header in [
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-host: evil.example",
        "x-client-cert: CN=admin",
        "x-original-url: /metrics",
        "x-rewrite-url: /metrics",
        "x-http-method-override: DELETE",
        "forwarded: for=10.0.0.1;host=evil.example",
    ] {
        let answer = target.send("GET", "/v1/hours", &format!("{header}\r\n"), b"");
        assert_eq!(status(&answer), Some(200), "{answer}");
        assert!(!answer.contains("evil.example"), "{answer}");
    }
}

/// Without tokens the browser of whoever runs this is the only way in from outside, and it is shut.
#[test]
fn pages_of_other_sites_are_not_served() {
    let target = open();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        for (method, path) in
            [("POST", "/v1/flows"), ("POST", "/registry/subjects/a/versions"), ("PUT", "/registry/config")]
        {
            let answer = target.send(method, path, &format!("{JSON}origin: {origin}\r\n"), GOOD);
            target.refused(&answer, &[403]);
        }
    }
    for host in ["evil.example", "127.0.0.1.evil.example:8080", "169.254.169.254"] {
        let answer =
            target.raw(format!("GET /v1/hours HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes());
        target.refused(&answer, &[403]);
    }
    let rebound =
        format!("GET http://evil.example/v1/hours HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", target.address);
    let answer = target.raw(rebound.as_bytes());
    assert!(!answer.contains("access-control"), "{answer}");
    target.refused(&answer, &[403]);
}
