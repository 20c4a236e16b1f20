//! Hot standby: follows the changelog of the merge partitions that nobody in this process owns, so that taking one of them
//! over reads only what has come since a moment ago.
//!
//! A standby is a reader (read_committed) and writes nothing but checkpoints of its own, so it can be wrong about ownership
//! without harm. What it holds at a position is what the changelog holds below it: that position is what its checkpoints
//! cover. The stage that takes a partition over gets the state itself, and checks it as it does one from disk.

use crate::held::{EntryError, Held, STATE};
use crate::merge::unreadable;
use crate::restore::changelog;
use crate::state::StateDir;
use crate::state::checkpoint::Checkpoints;
use crate::state::manifest::Facts;
use crate::{Error, Metrics, Plan};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidemark_core::Accumulator;
use tidemark_log::{At, Log, Reader};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// How long a step reads: how long a takeover may wait for it.
const STEP: Duration = Duration::from_millis(100);
/// How often it looks for partitions that nobody works on, milliseconds.
const LOOK_EVERY_MS: i64 = 1_000;

/// Follows partitions for the stages of one job version in this process.
pub struct Standby<A> {
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    dir: Arc<StateDir>,
    metrics: Arc<Metrics>,
    following: Mutex<Following<A>>,
}

struct Following<A> {
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    held: Vec<Held<A>>,
    /// Of all of them; none when that has changed.
    reader: Option<Box<dyn Reader>>,
    looked_at: Option<i64>,
}

impl<A: Accumulator> Standby<A> {
    /// Follows nothing yet: call [`Standby::step`] again and again.
    pub fn new(
        plan: Arc<Plan>,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        dir: Arc<StateDir>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let decoder = wire::Decoder::new(registry, STATE);
        let following = Following { decoder, scratch: Vec::new(), held: Vec::new(), reader: None, looked_at: None };
        Self { plan, log, dir, metrics, following: Mutex::new(following) }
    }

    fn lock(&self) -> MutexGuard<'_, Following<A>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on for a moment. After an error it begins again with what is on disk.
    ///
    /// # Errors
    /// The log or the registry does not answer, or an entry cannot be read.
    pub fn step(&self, now: i64) -> Result<(), Error> {
        let mut following = self.lock();
        let stepped = self.look(&mut following, now).and_then(|()| self.read(&mut following));
        if stepped.is_err() {
            following.held.clear();
            following.reader = None;
            return stepped;
        }
        let share = self.dir.memory_bytes() / following.held.len().max(1);
        for held in &mut following.held {
            held.keep(share, now, &self.metrics);
        }
        Ok(())
    }

    /// What is held of a partition; it is not followed any more.
    pub(crate) fn take(&self, partition: u32) -> Option<Held<A>> {
        let mut following = self.lock();
        let at = following.held.iter().position(|held| held.partition == partition)?;
        following.reader = None;
        self.metrics.not_following(partition);
        Some(following.held.swap_remove(at))
    }

    /// Takes up partitions that nobody in this process works on.
    fn look(&self, following: &mut Following<A>, now: i64) -> Result<(), Error> {
        let is_due = following.looked_at.is_none_or(|at| crate::drive::is_over(now, at, LOOK_EVERY_MS));
        if !is_due {
            return Ok(());
        }
        following.looked_at = Some(now);
        let claims = (0..self.plan.spec.merge_partitions).filter_map(|p| Some((p, self.dir.claim(p)?)));
        let claims: Vec<_> = claims.collect();
        let new: Vec<u32> = claims.iter().map(|(partition, _)| *partition).collect();
        let all: Vec<u32> = following.held.iter().map(|held| held.partition).chain(new).collect();
        let places = changelog(&self.plan, &all);
        let starts = self.log.offsets(&places, At::Start)?;
        let ends = self.log.offsets(&places, At::End)?;
        let fresh = claims.into_iter().map(|(partition, claim)| {
            let disk = Some(Checkpoints::new(claim, now));
            Held { disk, ..Held::new(&self.plan, partition) }
        });
        let known = following.held.len();
        following.held.extend(fresh);
        for (at, (held, (start, end))) in following.held.iter_mut().zip(starts.into_iter().zip(ends)).enumerate() {
            if at >= known {
                let (fingerprint, merge_partition) = (self.plan.spec.fingerprint(), held.partition as i32);
                held.open(&self.plan, &Facts { fingerprint, merge_partition, now, start, end }, &self.metrics);
                following.reader = None;
            }
            self.metrics.following(held.partition, held.fold.rows(), (end - held.at.unwrap_or(start)).max(0));
        }
        Ok(())
    }

    fn read(&self, following: &mut Following<A>) -> Result<(), Error> {
        let Following { decoder, scratch, held, reader, .. } = following;
        let partitions: Vec<u32> = held.iter().map(|held| held.partition).collect();
        let places = changelog(&self.plan, &partitions);
        if reader.is_none() && !held.is_empty() {
            let from: Vec<_> = places.iter().cloned().zip(held.iter().map(|held| held.at.unwrap_or(0))).collect();
            *reader = Some(self.log.reader(&from)?);
        }
        let Some(reader) = reader else { return Ok(()) };
        let mut failed = None;
        reader.poll(STEP, &mut |batch| {
            let Some(held) = held.iter_mut().find(|held| held.partition == batch.partition) else { return };
            for record in batch.records {
                if failed.is_none() {
                    failed = held.entry(decoder, scratch, record.key, record.value).err().map(|error| match error {
                        EntryError::Unreadable(reason) => unreadable(&batch, record, reason),
                        EntryError::State(error) => error,
                    });
                }
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        for (held, place) in held.iter_mut().zip(&places) {
            held.at = Some(reader.position(place)?);
        }
        Ok(())
    }
}
