#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

/// Answers each request in turn with `(status, body)` and gives the requests back.
fn server(answers: Vec<(u16, &'static str)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let serve = move || answers.into_iter().map(|(status, body)| answer(&listener, status, body)).collect();
    (url, thread::spawn(serve))
}

fn answer(listener: &TcpListener, status: u16, body: &str) -> String {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let start = request.len();
        reader.read_line(&mut request).unwrap();
        let line = request.get(start..).unwrap().trim().to_lowercase();
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content).unwrap();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    (&stream).write_all((head + body).as_bytes()).unwrap();
    request + &String::from_utf8(content).unwrap()
}

#[test]
fn answers_are_remembered() {
    let (url, requests) = server(vec![(200, r#"{"id":7}"#), (200, r#"{"schema":"\"long\""}"#)]);
    let registry = HttpRegistry::new(&url);
    for _ in 0..2 {
        assert_eq!(registry.register("flows.observed-a/b", "\"long\""), Ok(7));
        assert_eq!(registry.schema(7).unwrap().as_deref(), Some("\"long\""));
    }
    let requests = requests.join().unwrap();
    let [post, get] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(post.starts_with("POST /base/subjects/flows.observed-a%2Fb/versions HTTP/1.1"), "{post}");
    assert!(post.to_lowercase().contains("content-type: application/vnd.schemaregistry.v1+json"), "{post}");
    assert!(post.ends_with(r#"{"schema":"\"long\""}"#), "{post}");
    assert!(get.starts_with("GET /base/schemas/ids/7 HTTP/1.1"), "{get}");
}

/// Asked without registering anything.
#[test]
fn the_id_of_an_earlier_version_is_found() {
    let none = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let (url, requests) = server(vec![(200, r#"{"subject":"t-value","id":7,"version":1}"#), (404, none), (404, "{}")]);
    let registry = HttpRegistry::new(&url);
    assert_eq!(registry.id_of("t-value", "\"long\""), Ok(Some(7)));
    assert_eq!(registry.id_of("t-value", "\"int\""), Ok(None));
    assert!(matches!(registry.id_of("t-value", "\"int\""), Err(Error::Unavailable(_))), "no registry's answer");
    assert!(requests.join().unwrap().iter().all(|asked| asked.starts_with("POST /base/subjects/t-value HTTP/1.1")));
}

#[test]
fn the_latest_version_is_asked_for_each_time() {
    let one = r#"{"subject":"t-value","id":7,"version":1,"schema":"\"long\""}"#;
    let two = r#"{"subject":"t-value","id":9,"version":2,"schema":"\"int\"","schemaType":"AVRO"}"#;
    let none = r#"{"error_code":40401,"message":"Subject not found"}"#;
    let proto = r#"{"id":9,"version":2,"schema":"x","schemaType":"PROTOBUF"}"#;
    let (url, requests) = server(vec![(200, one), (200, two), (404, none), (404, "no such page"), (200, proto)]);
    let registry = HttpRegistry::new(&url);
    let latest = |id, version, schema: &str| Ok(Some(Latest { id, version, schema: schema.into() }));
    assert_eq!(registry.latest_of("t-value"), latest(7, 1, "\"long\""));
    assert_eq!(registry.latest_of("t-value"), latest(9, 2, "\"int\""));
    assert_eq!(registry.latest_of("t-value"), Ok(None));
    assert!(matches!(registry.latest_of("t-value"), Err(Error::Unavailable(_))), "another server's 404");
    assert!(matches!(registry.latest_of("t-value"), Err(Error::Invalid(_))));
    assert!(requests.join().unwrap()[0].starts_with("GET /base/subjects/t-value/versions/latest HTTP/1.1"));
}

#[test]
fn an_unknown_id_is_asked_for_again_later() {
    let (url, requests) =
        server(vec![(404, r#"{"error_code":40403,"message":"Schema not found"}"#), (200, r#"{"schema":"x"}"#)]);
    let registry = HttpRegistry::new(&url);
    assert_eq!(registry.schema(9), Ok(None));
    assert_eq!(registry.schema(9), Ok(None));
    registry.cache().unknown.insert(9, Instant::now().checked_sub(UNKNOWN_FOR).unwrap());
    assert_eq!(registry.schema(9).unwrap().as_deref(), Some("x"));
    assert_eq!(requests.join().unwrap().len(), 2);
}

/// Apicurio's answer to the second of two that register a first version at the same time.
#[test]
fn a_conflict_with_an_equal_schema_is_none() {
    let (url, requests) = server(vec![(409, r#"{"error_code":409,"message":"already exists"}"#), (200, r#"{"id":7}"#)]);
    assert_eq!(HttpRegistry::new(&url).register("s", "\"long\""), Ok(7));
    assert_eq!(requests.join().unwrap().len(), 2);
}

#[test]
fn refusals_are_told_apart_from_failures() {
    let (url, _requests) = server(vec![
        (409, r#"{"error_code":409,"message":"field a"}"#),
        (409, r#"{"error_code":409,"message":"field a"}"#),
        (422, r#"{"error_code":42201,"message":"bad type"}"#),
        (500, r#"{"error_code":50001,"message":"store"}"#),
        (404, "<html>"),
        (404, r#"{"error_code":404,"message":"no such path"}"#),
        (200, r#"{"schema":"syntax","schemaType":"PROTOBUF"}"#),
        (200, "hello"),
    ]);
    let registry = HttpRegistry::new(&url);
    let incompatible = Error::Incompatible { subject: "s".into(), reason: "field a".into() };
    assert_eq!(registry.register("s", "x"), Err(incompatible));
    assert_eq!(registry.register("s", "x"), Err(Error::Invalid("bad type".into())));
    assert!(
        matches!(registry.register("s", "x"), Err(Error::Unavailable(m)) if m.contains("answered 500") && m.contains("store"))
    );
    assert!(matches!(registry.schema(1), Err(Error::Unavailable(m)) if m.contains("base path")));
    assert!(matches!(registry.schema(1), Err(Error::Unavailable(m)) if m.contains("base path")));
    assert!(matches!(registry.schema(1), Err(Error::Invalid(m)) if m.contains("PROTOBUF")));
    assert!(matches!(registry.subjects(), Err(Error::Unavailable(_))));
}

#[test]
fn no_server_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = HttpRegistry::new(&format!("http://{address}")).schema(1).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("check that the registry runs"), "{error}");
}
