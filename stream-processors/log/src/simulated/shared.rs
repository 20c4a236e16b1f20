//! What the handles of a simulated log share: the embedded log of now, the disk under it, and what is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dice::{Fate, Faults, Injected, OPEN_MS, Table};
use super::time::Time;
use crate::embedded::{EmbeddedLog, EmbeddedMember, Memory, Simulation};
use crate::{Error, GroupOffset, Outgoing, Produce, Sink, TopicPartition};

/// See the module.
pub(super) struct Shared {
    time: Arc<Time>,
    disk: Arc<Memory>,
    log: Mutex<Arc<EmbeddedLog>>,
    /// Grows with every crash: handles of an earlier one are dead.
    generation: AtomicU64,
    table: Mutex<Table>,
    delayed: Mutex<Vec<Delayed>>,
    broken: AtomicBool,
}

/// A commit on its way.
pub(super) struct Delayed {
    pub(super) due_ms: u64,
    pub(super) member: EmbeddedMember,
    pub(super) records: Vec<Owned>,
    pub(super) offsets: Vec<GroupOffset>,
}

/// A record kept for later.
pub(super) struct Owned {
    topic: String,
    partition: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Keeps the records of a commit.
#[derive(Default)]
pub(super) struct Keep(pub(super) Vec<Owned>);

impl Sink for Keep {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error> {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        self.0.push(Owned {
            topic: record.topic.to_owned(),
            partition: record.partition,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        });
        Ok(())
    }
}

impl Owned {
    fn send(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        sink.send(Outgoing {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(disk: &Arc<Memory>, time: &Arc<Time>) -> Result<Arc<EmbeddedLog>, Error> {
    let elapsed = Arc::clone(time);
    let simulation = Simulation { elapsed_ms: Arc::new(move || elapsed.elapsed_ms()) };
    EmbeddedLog::simulated(disk, time.clock(), simulation)
}

impl Shared {
    pub(super) fn new(time: Arc<Time>, seed: u64) -> Result<Self, Error> {
        let disk = Arc::new(Memory::default());
        let log = Mutex::new(open(&disk, &time)?);
        let (generation, broken) = (AtomicU64::new(0), AtomicBool::new(false));
        let (table, delayed) = (Mutex::new(Table::new(seed)), Mutex::default());
        Ok(Self { time, disk, log, generation, table, delayed, broken })
    }

    pub(super) fn set(&self, seed: u64, faults: Faults) {
        let mut table = lock(&self.table);
        table.dice = super::Dice::new(seed);
        table.faults = faults;
    }

    pub(super) fn injected(&self) -> Injected {
        lock(&self.table).injected
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) fn log(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&lock(&self.log))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Every call comes through here: it takes its time, what has become due happens first, and it may fail.
    pub(super) fn enter(&self) -> Result<Arc<EmbeddedLog>, Error> {
        let (ms, fails) = {
            let mut table = lock(&self.table);
            (table.call_ms(), table.call_fails())
        };
        self.time.pass(ms);
        self.happen(self.time.elapsed_ms())?;
        if fails {
            return Err(Error::Retriable("the log of the simulation did not answer".to_owned()));
        }
        Ok(self.log())
    }

    /// As [`Shared::enter`], for a handle made in `generation`.
    pub(super) fn enter_as(&self, generation: u64) -> Result<Arc<EmbeddedLog>, Error> {
        if generation != self.generation() {
            return Err(Error::Retriable("the log was restarted".to_owned()));
        }
        self.enter()
    }

    /// Nothing was handed over: the poll has waited.
    pub(super) fn waited(&self, timeout: std::time::Duration) {
        self.time.pass(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }

    pub(super) fn fate(&self) -> Fate {
        let fate = lock(&self.table).fate();
        if fate == Fate::SyncFails {
            self.disk.fail_a_sync();
            self.broken.store(true, Ordering::Relaxed);
        }
        fate
    }

    /// Most records of a partition that this poll hands over, if it is bounded.
    pub(super) fn poll_records(&self) -> Option<usize> {
        let mut table = lock(&self.table);
        let most = table.faults.poll_records;
        (most > 0).then(|| usize::try_from(table.dice.below(most)).unwrap_or(0) + 1)
    }

    fn coin(&self) -> bool {
        lock(&self.table).dice.strikes(500)
    }

    pub(super) fn delay(&self, ms: u64, member: EmbeddedMember, records: Vec<Owned>, offsets: &[GroupOffset]) {
        let due_ms = self.time.elapsed_ms() + ms;
        lock(&self.delayed).push(Delayed { due_ms, member, records, offsets: offsets.to_vec() });
    }

    /// Delivers the delayed commits that are due, and ends the open ones whose time is up.
    fn happen(&self, now_ms: u64) -> Result<bool, Error> {
        let mut happened = false;
        while let Some(delayed) = self.next_due(now_ms) {
            self.deliver(delayed);
            happened = true;
        }
        while self.log().inner().settle(self.coin_if_open(), |_, since| now_ms.saturating_sub(since) >= OPEN_MS)? {
            happened = true;
        }
        Ok(happened)
    }

    /// A throw only when there is something to decide, so that a log without faults throws no dice.
    fn coin_if_open(&self) -> bool {
        self.log().inner().has_open() && self.coin()
    }

    fn next_due(&self, now_ms: u64) -> Option<Delayed> {
        let mut delayed = lock(&self.delayed);
        let at = delayed.iter().position(|d| d.due_ms <= now_ms)?;
        Some(delayed.remove(at))
    }

    fn deliver(&self, delayed: Delayed) {
        let Delayed { mut member, records, offsets, .. } = delayed;
        let mut send = |sink: &mut dyn Sink| records.iter().try_for_each(|record| record.send(sink));
        let produce: Produce<'_> = &mut send;
        let refused = matches!(crate::Member::commit(&mut member, produce, &offsets), Err(Error::Fenced(_)));
        member.abandon();
        lock(&self.table).injected.refused_late += u64::from(refused);
    }

    /// Ends the open commits of an id: whoever takes the id anew waits for that.
    pub(super) fn settle_id(&self, wanted: &str) -> Result<(), Error> {
        while self.log().inner().settle(self.coin_if_open(), |id, _| id == wanted)? {}
        Ok(())
    }

    /// Ends open commits of an id that goes on as if it had none: the end marker that it then sends ends them too.
    pub(super) fn settle_id_applied(&self, wanted: &str) -> Result<(), Error> {
        while self.log().inner().settle(true, |id, _| id == wanted)? {}
        Ok(())
    }

    /// A stable fetch: open commits that move the group there end first, or the fetch is refused.
    pub(super) fn settle_group(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), Error> {
        while let Some(wanted) = self.log().inner().open_of(group, partitions) {
            if self.coin() {
                return Err(Error::Unstable(format!("a commit of group {group} is open")));
            }
            self.log().inner().settle(self.coin(), |id, _| id == wanted)?;
        }
        Ok(())
    }

    pub(super) fn settle_all(&self) -> Result<bool, Error> {
        let happened = self.happen(u64::MAX)?;
        Ok(happened)
    }

    pub(super) fn crash(&self) -> Result<(), Error> {
        let kept = {
            let mut table = lock(&self.table);
            table.injected.crashes += 1;
            let unsynced = self.disk.unsynced() as u64;
            table.dice.below(unsynced + 1)
        };
        self.disk.crash(usize::try_from(kept).unwrap_or(0));
        lock(&self.delayed).clear();
        *lock(&self.log) = open(&self.disk, &self.time)?;
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }
}
