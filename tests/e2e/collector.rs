//! An OpenTelemetry collector that keeps what it is sent: OTLP over HTTP, as little of HTTP as the exporter speaks.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A span with the resource that sent it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub resource: Vec<KeyValue>,
    pub span: Span,
}

impl Sent {
    /// An attribute as text; empty when it is not there.
    pub fn get(&self, name: &str) -> String {
        text(&self.span.attributes, name)
    }

    /// The same of the resource.
    pub fn resource(&self, name: &str) -> String {
        text(&self.resource, name)
    }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == name);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Collects until the test ends.
pub struct Collector {
    pub url: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&sent);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || while answer(connection.as_ref().unwrap(), &keep).is_some() {});
            }
        });
        Self { url, sent }
    }

    /// The spans of a trace, in the order in which they came.
    pub fn trace(&self, id: &str) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|sent| hex(&sent.span.trace_id) == id).cloned().collect()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers one request; `None` when there are no more.
fn answer(mut connection: &TcpStream, keep: &Mutex<Vec<Sent>>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let lines: Vec<String> =
        reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header =
        |name: &str| lines.iter().find_map(|line| line.to_lowercase().strip_prefix(name).map(|v| v.trim().to_owned()));
    let first = lines.first()?;
    assert_eq!(first, "POST /v1/traces HTTP/1.1");
    assert_eq!(header("content-type:").unwrap(), "application/x-protobuf");
    let mut body = vec![0; header("content-length:").unwrap().parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    for spans in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
        let resource = spans.resource.unwrap_or_default().attributes;
        let of = |span| Sent { resource: resource.clone(), span };
        keep.lock().unwrap().extend(spans.scope_spans.into_iter().flat_map(|scope| scope.spans).map(of));
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()
}
