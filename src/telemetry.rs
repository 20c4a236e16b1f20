//! Traces, exported as OTLP over HTTP to an OpenTelemetry collector.
//!
//! Promise: exporting slows and stops nothing. Spans wait in a bounded queue for a thread of their own; what has no room is
//! thrown away. A collector that does not take them is named in the log once a minute, and a stop waits for it
//! `STOP_TIMEOUT` at most.

use crate::config::Config;
use anyhow::Context;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidemark_log::TraceContext;
use tidemark_log::span::{Kind, NoSpans, Span, Spans, Value};

/// Spans that wait; around 1 KiB each.
const QUEUE_SPANS_MAX: usize = 8_192;
/// Spans in one request.
const BATCH_SPANS_MAX: usize = 512;
/// Longest time that a span waits for others to go with.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// Longest time for one request to the collector.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a stop waits for the last spans to be taken.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// A collector that is away is named so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The traces of a process.
pub struct Telemetry {
    export: Option<Arc<Export>>,
}

impl Telemetry {
    /// Starts the exporting thread if an endpoint is configured. The collector is not asked for anything: it may come later.
    ///
    /// # Errors
    /// The endpoint is not a URL.
    pub fn start(config: &Config, replica: &str) -> anyhow::Result<Self> {
        let Some(endpoint) = &config.telemetry.otlp_endpoint else { return Ok(Self { export: None }) };
        let system = if config.kafka.bootstrap.is_some() { "kafka" } else { "tidemark" };
        let exporter =
            Patient { exporter: exporter(endpoint)?, endpoint: endpoint.clone(), complained: Mutex::new(None) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS_MAX)
            .with_max_export_batch_size(BATCH_SPANS_MAX)
            .with_scheduled_delay(EXPORT_EVERY)
            .build();
        let mut processor = BatchSpanProcessor::new(exporter, batches);
        processor.set_resource(&resource(replica));
        let scope = InstrumentationScope::builder("tidemark").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { export: Some(Arc::new(Export { processor, scope, system })) })
    }

    /// Where the parts of the process send their spans.
    pub fn spans(&self) -> Arc<dyn Spans> {
        match &self.export {
            Some(export) => Arc::clone(export) as Arc<dyn Spans>,
            None => Arc::new(NoSpans),
        }
    }

    /// Exports what waits and ends the thread. Blocks until then.
    pub fn stop(self) {
        let stopped = self.export.map(|export| export.processor.shutdown_with_timeout(STOP_TIMEOUT));
        if let Some(Err(error)) = stopped {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn resource(replica: &str) -> Resource {
    Resource::builder()
        .with_service_name("tidemark")
        .with_attribute(KeyValue::new("service.instance.id", replica.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

fn exporter(endpoint: &str) -> anyhow::Result<opentelemetry_otlp::SpanExporter> {
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Client::default())
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(REQUEST_TIMEOUT)
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint {endpoint}"))
}

struct Export {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    /// `messaging.system` of every span about records.
    system: &'static str,
}

impl Spans for Export {
    fn record(&self, span: Span) {
        let mut attributes: Vec<KeyValue> =
            span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect();
        if span.kind != Kind::Server {
            attributes.push(KeyValue::new("messaging.system", self.system));
        }
        self.processor.on_end(SpanData {
            span_context: context(span.context),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id())),
            parent_span_is_remote: span.parent.is_some(),
            span_kind: kind(span.kind),
            name: span.name,
            start_time: span.start,
            end_time: span.end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn attribute(name: &'static str, value: Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Int(number) => KeyValue::new(name, number),
    }
}

fn context(context: TraceContext) -> SpanContext {
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, span) = (TraceId::from(context.trace_id()), SpanId::from(context.span_id()));
    SpanContext::new(trace, span, flags, false, TraceState::NONE)
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

/// Says that the collector is away once in a while, where the SDK would say it every second.
#[derive(Debug)]
struct Patient<E> {
    exporter: E,
    endpoint: String,
    complained: Mutex<Option<Instant>>,
}

impl<E> Patient<E> {
    fn complain(&self, spans: usize, error: &dyn std::fmt::Display) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            tracing::warn!(endpoint = self.endpoint, spans, %error, "traces are not taken and lost; said once a minute");
        }
    }
}

impl<E: SpanExporter> SpanExporter for Patient<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        if let Err(error) = self.exporter.export(batch).await {
            self.complain(spans, &error);
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// HTTP on the exporting thread. It blocks, which is what that thread is for.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Default for Client {
    fn default() -> Self {
        Self(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(REQUEST_TIMEOUT))
                .build()
                .into(),
        )
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.0.run(Request::from_parts(head, body.to_vec()))?.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}
