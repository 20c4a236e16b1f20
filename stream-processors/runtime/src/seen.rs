//! Brings back what a source partition has seen, for a job that counts repeats once.
//!
//! The ids of a commit stand on a topic of the job, written in that commit. They are read again from the log time of the
//! partition's position less the job's `for`: later ones cannot be missing, earlier ones have expired.

use crate::partial::Source;
use crate::replay::{Replay, Target};
use crate::{Error, Plan};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_core::{Accumulator, Dedupe};
use tidemark_log::{At, Log, Outgoing, Sink, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::SeenIds;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

static IDS: &[Schema] = &[catalog::SEEN_IDS];

/// Ids of a record on the topic: half a record's size limit.
const PIECE_IDS: usize = 20_000;
/// How far the clocks of two brokers may be apart, milliseconds: it is read so much more.
const SKEW_MS: i64 = 600_000;

/// Reads seen ids back.
pub(crate) struct Recall {
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    replay: Option<Replay>,
}

impl Recall {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self { decoder: wire::Decoder::new(registry, IDS), scratch: Vec::new(), replay: None }
    }

    /// Sets out to read what the sources have seen. Their positions come from a stable fetch, so that no transaction of a
    /// predecessor is open.
    pub(crate) fn begin<A: Accumulator>(
        &mut self,
        log: &dyn Log,
        plan: &Plan,
        dedupe: &Dedupe,
        sources: &[Source<A>],
    ) -> Result<(), Error> {
        let mut since: BTreeMap<u32, i64> = BTreeMap::new();
        for source in sources {
            // Without a log time nothing has been seen.
            let Some(log_time) = source.fold.position().log_time else { continue };
            let from = since.entry(plan.letter_partition(source.partition.partition)).or_insert(i64::MAX);
            *from = (*from).min(log_time - dedupe.for_ms - SKEW_MS);
        }
        let mut targets = Vec::new();
        for (partition, since) in since {
            let partition = TopicPartition::new(plan.seen.as_str(), partition);
            let one = std::slice::from_ref(&partition);
            let (at, end) = (log.offsets(one, At::Time(since))?, log.offsets(one, At::End)?);
            let first = |offsets: Vec<i64>| offsets.first().copied().unwrap_or(0);
            targets.push(Target { at: first(at), end: first(end), partition });
        }
        self.replay = Some(Replay::begin(log, targets)?);
        Ok(())
    }

    /// Reads on for a moment; true once everything is back.
    pub(crate) fn step<A: Accumulator>(&mut self, plan: &Plan, sources: &mut [Source<A>]) -> Result<bool, Error> {
        let Self { decoder, scratch, replay: Some(replay) } = self else { return Ok(true) };
        let fingerprint = plan.spec.fingerprint();
        let done = replay.step(|batch| {
            for record in batch.records {
                let restored = restore(decoder, scratch, fingerprint, record.value.unwrap_or_default(), sources);
                restored.map_err(|reason| crate::merge::unreadable(batch, record, reason))?;
            }
            Ok(())
        })?;
        if done {
            self.replay = None;
        }
        Ok(done)
    }

    /// Gives up what is under way.
    pub(crate) fn end(&mut self) {
        self.replay = None;
    }
}

fn restore<A: Accumulator>(
    decoder: &mut wire::Decoder,
    scratch: &mut Vec<u8>,
    fingerprint: i64,
    value: &[u8],
    sources: &mut [Source<A>],
) -> Result<(), wire::Error> {
    let (_, datum) = decoder.datum(value, scratch)?;
    let mut reader = Reader::new(datum);
    let ids = SeenIds::get(&mut reader)?;
    let is_it = |source: &&mut Source<A>| {
        i64::from(source.partition.partition) == i64::from(ids.partition) && *source.partition.topic == *ids.topic
    };
    match sources.iter_mut().find(is_it).and_then(|source| source.fold.seen()) {
        Some(seen) if ids.fingerprint == fingerprint => Ok(seen.restore(ids.ids)?),
        _ => Ok(()),
    }
}

/// Writes what a source partition has seen since the last commit.
pub(crate) fn send<A: Accumulator>(
    source: &Source<A>,
    plan: &Plan,
    sink: &mut dyn Sink,
) -> Result<(), tidemark_log::Error> {
    let (fingerprint, partition) = (plan.spec.fingerprint(), source.partition.partition);
    for piece in source.fold.fresh_ids(PIECE_IDS) {
        let ids = SeenIds { fingerprint, topic: &source.partition.topic, partition: partition as i32, ids: &piece };
        let mut value = Vec::new();
        wire::put(plan.ids.seen_ids, &ids, &mut value);
        let partition = plan.letter_partition(partition);
        sink.send(Outgoing { topic: &plan.seen, partition, value: Some(&value), ..Outgoing::default() })?;
    }
    Ok(())
}
