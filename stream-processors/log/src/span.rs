//! Spans: pieces of work that belong to a trace. The libraries know only this; the binary exports them.

use crate::trace_context::TraceContext;
use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::time::SystemTime;

/// What a span stands for to those at its other end (OpenTelemetry's span kinds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Writes records that others process later.
    Producer,
    /// Processes records.
    Consumer,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Int(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// A piece of work that has ended.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its own ids.
    pub context: TraceContext,
    /// The span that it works for; `None` begins a trace.
    pub parent: Option<TraceContext>,
    /// What it stands for.
    pub kind: Kind,
    /// The kind of work, with few different values: `process flows.observed`.
    pub name: Cow<'static, str>,
    /// When the work began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Names of OpenTelemetry's semantic conventions where there is one.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why the work failed, if it did.
    pub error: Option<String>,
}

/// Where spans go.
pub trait Spans: Send + Sync {
    /// Takes a span that has ended. Returns at once and never fails: a span that there is no room for is thrown away.
    fn record(&self, span: Span);
}

/// Throws spans away.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSpans;

impl Spans for NoSpans {
    fn record(&self, _span: Span) {}
}

/// A piece of work under way; it ends when this is dropped. Spans of traces that are not sampled are not recorded.
pub struct ActiveSpan {
    spans: Arc<dyn Spans>,
    context: TraceContext,
    /// `None` when the trace is not sampled.
    span: Option<Span>,
}

impl ActiveSpan {
    /// Begins now, in the trace of `parent` or else in a new one.
    pub fn begin(
        spans: &Arc<dyn Spans>,
        parent: Option<TraceContext>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        let context = parent.map_or_else(TraceContext::begin, TraceContext::child);
        let now = SystemTime::now();
        let span = || Span {
            context,
            parent,
            kind,
            name: name.into(),
            start: now,
            end: now,
            attributes: Vec::new(),
            error: None,
        };
        Self { spans: Arc::clone(spans), context, span: context.is_sampled().then(span) }
    }

    /// Says that the work began earlier.
    #[must_use]
    pub fn since(mut self, start: SystemTime) -> Self {
        if let Some(span) = &mut self.span {
            span.start = start;
        }
        self
    }

    /// What is handed on to those that work for this span.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((name, value.into()));
        }
    }

    /// Says that the work failed, and why.
    pub fn fail(&mut self, why: &dyn Display) {
        if let Some(span) = &mut self.span {
            span.error = Some(why.to_string());
        }
    }

    /// Ends the work well, whatever [`ActiveSpan::fail`] was told before.
    pub fn succeed(mut self) {
        if let Some(span) = &mut self.span {
            span.error = None;
        }
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.spans.record(Span { end: SystemTime::now(), ..span });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl Spans for Kept {
        fn record(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    #[test]
    fn a_span_is_recorded_when_it_ends_and_only_if_it_is_sampled() {
        let kept = Arc::new(Kept::default());
        let spans = Arc::clone(&kept) as Arc<dyn Spans>;
        let mut first = ActiveSpan::begin(&spans, None, Kind::Server, "first");
        first.set("n", 1);
        let mut second = ActiveSpan::begin(&spans, Some(first.context()), Kind::Producer, "second");
        second.fail(&"no room");
        let unsampled = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap();
        drop(ActiveSpan::begin(&spans, Some(unsampled), Kind::Server, "unsampled"));
        assert_eq!(kept.0.lock().unwrap().len(), 0);
        drop(second);
        drop(first);
        let kept = kept.0.lock().unwrap();
        let [second, first] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((first.attributes.as_slice(), first.parent), ([("n", Value::Int(1))].as_slice(), None));
        assert_eq!((second.parent, second.error.as_deref()), (Some(first.context), Some("no room")));
        assert!(first.start <= first.end);
    }
}
