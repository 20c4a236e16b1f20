//! Traces through a stage: its commit goes on with one of the traces whose records it holds.
//!
//! One and not all of them: a commit holds thousands of records, and what it took is the same for each. So a stage looks at
//! the header of few records (the first of a batch, or markers), at none once it has found a sampled trace, and the loop over
//! records does nothing. A trace that is not followed ends at the span before.

use std::sync::Arc;
use std::time::SystemTime;
use tidemark_log::span::{ActiveSpan, Kind, Spans};
use tidemark_log::{MemberConfig, Record, TRACEPARENT, TopicPartition, TraceContext};

/// The trace that the next commit of a stage goes on with, if there is one.
#[derive(Debug, Default)]
pub struct CommitTrace {
    seen: Option<Seen>,
    records: i64,
    header: Option<String>,
}

#[derive(Debug)]
struct Seen {
    parent: TraceContext,
    partition: TopicPartition,
    at: Option<SystemTime>,
}

impl CommitTrace {
    /// Takes over the record's trace if it is sampled and the first since the last commit.
    pub fn see(&mut self, partition: &TopicPartition, record: &Record<'_>) {
        if self.seen.is_some() {
            return;
        }
        let parent = record.headers.get(TRACEPARENT).and_then(TraceContext::parse);
        self.seen = parent.filter(|parent| parent.is_sampled()).map(|parent| Seen {
            parent,
            partition: partition.clone(),
            at: None,
        });
    }

    /// The header for records that others go on from; `None` outside a commit that is traced.
    pub fn header(&self) -> Option<(&'static str, &[u8])> {
        self.header.as_ref().map(|header| (TRACEPARENT, header.as_bytes()))
    }

    /// So many records were handed over from `at` on.
    pub(crate) fn handed(&mut self, records: usize, at: SystemTime) {
        self.records = self.records.saturating_add_unsigned(records as u64);
        if let Some(seen) = &mut self.seen {
            seen.at.get_or_insert(at);
        }
    }

    /// The commit begins. Its span covers the time since the trace came in.
    pub(crate) fn open(
        &mut self,
        spans: &Arc<dyn Spans>,
        stage: &'static str,
        member: &MemberConfig,
    ) -> Option<ActiveSpan> {
        let Seen { parent, partition, at } = self.seen.take()?;
        let mut span = ActiveSpan::begin(spans, Some(parent), Kind::Consumer, format!("process {}", partition.topic));
        if let Some(at) = at {
            span = span.since(at);
        }
        span.set("messaging.operation.name", "process");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", partition.topic.to_string());
        span.set("messaging.destination.partition.id", partition.partition.to_string());
        span.set("messaging.consumer.group.name", member.group.clone());
        span.set("messaging.client.id", member.id.clone());
        span.set("messaging.batch.message_count", self.records);
        span.set("tidemark.stage", stage);
        self.header = Some(span.context().header());
        Some(span)
    }

    /// The commit is over, or what was folded is thrown away.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
