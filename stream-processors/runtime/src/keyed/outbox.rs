//! Records that wait for the commit: encoded when they come up, end to end.

use super::{Plan, partition_of};
use crate::Error;
use tidemark_core::process::Emitted;
use tidemark_log::{Outgoing, Sink};
use tidemark_schemas::engine::Ticked;
use tidemark_schemas::wire;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An output of the spec.
    Output(usize),
    Changelog,
    /// A tick.
    Input,
}

/// One record: its key and value end there in the bytes.
#[derive(Debug, Clone, Copy)]
struct Held {
    place: Place,
    partition: u32,
    key_end: usize,
    end: usize,
    is_tombstone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    records: Vec<Held>,
}

impl Outbox {
    /// Bytes that it holds.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Adds an event of the process.
    pub(super) fn emit(&mut self, plan: &Plan, emitted: &Emitted) -> Result<(), Error> {
        let Emitted { output, key, datum } = emitted;
        let (Some(declared), Some(id)) = (plan.spec.outputs.get(*output), plan.ids.outputs.get(*output)) else {
            let (process, outputs) = (plan.spec.name.clone(), plan.spec.outputs.len());
            let what = format!("it wrote to output {output} and has {outputs}");
            return Err(Error::Process { process, what });
        };
        let partition = partition_of(key, declared.topic.partitions);
        self.push(Place::Output(*output), partition, key, datum.as_deref().map(|datum| (*id, datum)));
        Ok(())
    }

    /// Adds an entry, or its tombstone, and gives its value back.
    pub(super) fn entry(&mut self, partition: u32, key: &[u8], value: Option<(u32, &[u8])>) -> &[u8] {
        self.push(Place::Changelog, partition, key, value);
        let last = self.records.last().map_or(0, |held| held.key_end);
        self.bytes.get(last..).unwrap_or_default()
    }

    /// Adds a tick for a partition of the input.
    pub(super) fn tick(&mut self, plan: &Plan, partition: u32, due: i64) {
        let key_end = self.bytes.len();
        wire::put(plan.ids.ticked, &Ticked { due }, &mut self.bytes);
        let end = self.bytes.len();
        self.records.push(Held { place: Place::Input, partition, key_end, end, is_tombstone: false });
    }

    fn push(&mut self, place: Place, partition: u32, key: &[u8], value: Option<(u32, &[u8])>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        if let Some((id, datum)) = value {
            wire::put_header(id, &mut self.bytes);
            self.bytes.extend_from_slice(datum);
        }
        let (end, is_tombstone) = (self.bytes.len(), value.is_none());
        self.records.push(Held { place, partition, key_end, end, is_tombstone });
    }

    /// Writes all of them, outputs with the trace that they go on with.
    pub(super) fn send(
        &self,
        plan: &Plan,
        trace: Option<(&str, &[u8])>,
        sink: &mut dyn Sink,
    ) -> Result<(), tidemark_log::Error> {
        let mut start = 0;
        for held in &self.records {
            let topic = match held.place {
                Place::Output(output) => plan.spec.outputs.get(output).map_or("", |output| &output.topic.name),
                Place::Changelog => &plan.changelog,
                Place::Input => &plan.spec.input.name,
            };
            let key = (held.place != Place::Input).then(|| self.bytes.get(start..held.key_end).unwrap_or_default());
            let value = if held.is_tombstone { None } else { self.bytes.get(held.key_end..held.end) };
            let headers = trace.as_slice();
            let headers = if matches!(held.place, Place::Output(_)) { headers } else { &[] };
            sink.send(Outgoing { topic, partition: held.partition, key, value, headers })?;
            start = held.end;
        }
        Ok(())
    }
}
