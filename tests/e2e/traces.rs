//! One trace from the publisher to the view, as a collector gets it.

use crate::collector::{Collector, Sent, hex};
use crate::flows::{assert_exact, make, ndjson, publish};
use crate::process::{Tidemark, eventually, get, post, post_with};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";

/// The way of a record: name, kind, `tidemark.stage` and consumer group of each span, from the publisher's on.
const WAY: [(&str, SpanKind, &str, &str); 5] = [
    ("POST /v1/flows", SpanKind::Server, "", ""),
    ("send flows.observed", SpanKind::Producer, "", ""),
    ("process flows.observed", SpanKind::Consumer, "partial", "tidemark.flows.hourly.v1.partial"),
    ("process tidemark.flows.hourly.v1.partials", SpanKind::Consumer, "merge", "tidemark.flows.hourly.v1.merge"),
    ("process view.flows.hourly.v1", SpanKind::Consumer, "view-writer", "tidemark.flows.hourly.v1.view-writer"),
];

/// The spans of the way, if every one is there with the one before as its parent.
fn end_of_way(spans: &[Sent]) -> Result<Vec<Sent>, String> {
    let mut way: Vec<Sent> = Vec::new();
    for (name, kind, stage, group) in WAY {
        let parent = way.last().map_or_else(|| PUBLISHER.to_owned(), |last| hex(&last.span.span_id));
        let is_next = |sent: &&Sent| sent.span.name == name && hex(&sent.span.parent_span_id) == parent;
        let Some(next) = spans.iter().find(is_next) else {
            let there: Vec<_> =
                spans.iter().map(|s| (&s.span.name, hex(&s.span.span_id), hex(&s.span.parent_span_id))).collect();
            return Err(format!("no span {name:?} under {parent}; there are {there:?}"));
        };
        assert_eq!(next.span.kind, kind as i32, "{name}");
        assert_eq!(
            (next.get("tidemark.stage").as_str(), next.get("messaging.consumer.group.name").as_str()),
            (stage, group)
        );
        way.push(next.clone());
    }
    Ok(way)
}

#[test]
fn a_flow_is_one_trace_from_the_publisher_to_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start();
    let args = ["up", "--otlp", &collector.url, "--log-format", "json"];
    let platform = Tidemark::start(&dir.path().join("data"), &args);
    let parent = format!("00-{TRACE}-{PUBLISHER}-01");
    let flow = make(1, 1, 7);
    let url = format!("{}/v1/flows", platform.url);
    let answer = post_with(&url, &[("content-type", "application/x-ndjson"), ("traceparent", &parent)], &ndjson(&flow));
    assert_eq!(answer.unwrap().status, 202);

    let mut way = Vec::new();
    eventually("the whole way", || end_of_way(&collector.trace(TRACE)).map(|found| way = found));
    let [request, publish, partial, ..] = way.as_slice() else { panic!("{way:?}") };
    assert_eq!(request.get("http.response.status_code"), "202");
    for sent in &way[1..] {
        assert_eq!(
            (sent.get("messaging.system"), sent.span.status.clone().map_or(0, |s| s.code)),
            ("tidemark".into(), 0)
        );
        assert_eq!(sent.resource("service.name"), "tidemark");
        assert_eq!(sent.resource("service.instance.id").len(), 36, "a replica's UUID");
        assert!(sent.span.start_time_unix_nano <= sent.span.end_time_unix_nano);
    }
    assert_eq!(publish.get("messaging.batch.message_count"), "1");
    assert_eq!(partial.get("messaging.batch.message_count"), "1");
    assert!(partial.get("messaging.destination.partition.id").parse::<u32>().unwrap() < 4);
    let log = platform.log();
    let access = log
        .lines()
        .find(|line| line.contains("tidemark::access") && line.contains("/v1/flows"))
        .unwrap_or_else(|| panic!("no access log line"));
    assert!(access.contains(TRACE), "{access}");
    platform.stop();
}

#[test]
fn what_is_not_sampled_is_not_exported_and_the_last_spans_are() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start();
    let platform = Tidemark::start(&dir.path().join("data"), &["up", "--otlp", &collector.url]);
    let other = TRACE.replace('4', "5");
    let flows = make(2, 1, 8);
    for (trace, flags, flow) in [(&other, "00", &flows[..1]), (&TRACE.to_owned(), "01", &flows[1..])] {
        let parent = format!("00-{trace}-{PUBLISHER}-{flags}");
        let headers = [("content-type", "application/x-ndjson"), ("traceparent", &parent)];
        assert_eq!(post_with(&format!("{}/v1/flows", platform.url), &headers, &ndjson(flow)).unwrap().status, 202);
    }
    assert_exact(&platform.url, &flows);
    platform.stop(); // right away: what waits for the exporter goes out now
    end_of_way(&collector.trace(TRACE)).unwrap();
    assert_eq!(collector.trace(&other).len(), 0);
}

#[test]
fn a_collector_that_is_away_or_silent_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // accepts in the kernel and never answers
    let away = tidemark_harness::free_port().unwrap();
    for (n, port) in [silent.local_addr().unwrap().port(), away].into_iter().enumerate() {
        let url = format!("http://127.0.0.1:{port}");
        let platform = Tidemark::start(&dir.path().join(n.to_string()), &["up", "--otlp", &url]);
        let flows = make(200, 3, 9);
        publish(&platform.url, &flows, 1);
        assert_exact(&platform.url, &flows);
        let said = || platform.log().matches("traces are not taken").count();
        eventually("said", || if said() == 1 { Ok(()) } else { Err(platform.log()) });
        assert_eq!(
            post(&format!("{}/v1/flows", platform.url), "application/x-ndjson", &ndjson(&flows)).unwrap().status,
            202
        );
        assert_eq!(get(&format!("{}/v1/health", platform.url)).unwrap().status, 200);
        let began = Instant::now();
        platform.stop();
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
