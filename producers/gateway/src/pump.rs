//! The pump: publishes what the spool holds, in order, and lets it go.
//!
//! Each commit writes events, answers and the spool's position in one transaction. Whatever a commit ended with but success, the
//! next one begins with a new producer under the same id, which settles the old transaction for good (it is finished or
//! aborted, never later), and with the position that stands in the log then: so nothing is published twice and nothing is
//! passed over, whatever dies when. Failures are tried again for ever.
//!
//! An event that the log refuses for good must not hold up those behind it. A commit that is refused is halved until one event
//! is left; that one is set aside in a file and passed over in a commit *with a later event*: if the log takes that, the fault
//! was the event's. If it takes none of [`SUSPECTS_MAX`] in a row, the fault is the log's (a missing permission, say): then all are
//! tried again later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidemark_log::{Error as LogError, failpoint};
use tidemark_spool::{Entry, Error as SpoolError, Place, Reader};

use crate::answers::key_hash;
use crate::commit::{self, Commit};
use crate::connection::Connection;
use crate::destinations::Destinations;
use crate::flow::TENANT;
use crate::keys::{Key, Keys};
use crate::plan::{EventPlace, Plan, plan};
use crate::refused::{Refused, SetAside};
use crate::{FLOWS_TOPIC, Shared};

/// Bytes of entries in a commit, more or less: large enough that its fixed cost (tens of milliseconds on Kafka) is small.
const COMMIT_BYTES: u64 = 8 << 20;
/// How long the spool is waited for.
const IDLE: Duration = Duration::from_millis(100);
/// How long a stop goes on publishing.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often it is written down how far the spool is published, for a start without the log; and how soon a deletion that
/// failed is tried again.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Events refused in a row that are the events' own fault.
const SUSPECTS_MAX: usize = 3;

pub(crate) struct Pump<'s> {
    shared: &'s Shared,
    keys: Keys,
    refused: Refused,
    destinations: Destinations,
    /// None after any failure.
    connection: Option<Connection>,
    reader: Reader,
    /// Entries that were read and are not published.
    queue: VecDeque<Entry>,
    /// Events of the first of them that are.
    record: u32,
    /// Events that the next commit takes.
    limit: usize,
    /// Events that the log refused one by one.
    suspects: Vec<EventPlace>,
    backoff: Duration,
    /// Up to here segments could not be deleted, or their keys not kept.
    trimming: Option<Place>,
    /// When that was last tried again, and written down how far the spool is published.
    tidied: Instant,
}

impl<'s> Pump<'s> {
    pub(crate) fn new(shared: &'s Shared, keys: Keys) -> Self {
        Self {
            shared,
            keys,
            refused: Refused::new(&shared.config.spool.dir),
            destinations: Destinations::default(),
            connection: None,
            reader: Reader::new(shared.spool.clone()),
            queue: VecDeque::new(),
            record: 0,
            limit: usize::MAX,
            suspects: Vec::new(),
            backoff: BACKOFF_FIRST,
            trimming: None,
            tidied: Instant::now(),
        }
    }

    /// Until the gateway stops and nothing is left, or a few seconds after.
    pub(crate) fn run(mut self) {
        while !self.is_done() {
            let turned = self.turn();
            self.tidy(TIDY_EVERY);
            if let Err(why) = turned {
                self.shared.set_behind(Some(why));
                self.connection = None;
                // A stop cuts it short; whatever is left stays in the spool.
                if self.shared.pause(self.backoff) {
                    break;
                }
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            }
        }
        self.tidy(Duration::ZERO);
        let left = self.shared.spool.depth();
        if left.entries > 0 {
            tracing::warn!(
                records = left.records,
                bytes = left.bytes,
                "not everything was published before the stop; the rest is durable in the spool and goes out after a start"
            );
        }
    }

    fn is_done(&self) -> bool {
        let since = self.shared.stopping_since();
        since.is_some_and(|since| self.shared.spool.depth().entries == 0 || since.elapsed() > STOP_PATIENCE)
    }

    /// One commit, if there is anything to publish; the error is a reason for people.
    fn turn(&mut self) -> Result<(), String> {
        if self.connection.is_none() {
            self.connect()?;
        }
        self.fill()?;
        if self.queue.is_empty() {
            self.shared.spool.wait(self.reader.position(), IDLE);
            return Ok(());
        }
        let plan = plan(&self.queue, self.record, self.limit, &self.suspects);
        if plan.events == 0 {
            return Err(self.acquit("the log refuses events, and no later one shows whose fault that is"));
        }
        match self.commit(plan) {
            Ok(()) => self.published(plan),
            Err(LogError::Invalid(why)) => self.narrow(plan, &why),
            Err(error) => {
                self.shared.metrics.commit_failed();
                self.destinations.doubt();
                // It may be that the log cannot take so many in the time that a commit has.
                self.limit = (plan.events / 2).max(1);
                Err(format!("a commit failed: {error}"))
            }
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        self.shared.register()?;
        let (connection, next) = Connection::open(self.shared).map_err(|error| format!("the log failed: {error}"))?;
        self.reader = Reader::new(self.shared.spool.clone());
        (self.queue, self.record) = (VecDeque::new(), 0);
        if let Some(next) = next {
            self.reader.seek(next.place).map_err(|error| unread(&error))?;
        }
        self.connection = Some(connection);
        self.fill()?;
        let first = self.queue.front().map(|entry| entry.place);
        self.record = next.filter(|next| Some(next.place) == first).map_or(0, |next| next.record);
        Ok(())
    }

    /// Reads what goes into a commit.
    fn fill(&mut self) -> Result<(), String> {
        let held: u64 = self.queue.iter().map(|entry| entry.bytes).sum();
        let entries = self.reader.read(COMMIT_BYTES.saturating_sub(held)).map_err(|error| unread(&error))?;
        for entry in entries {
            let request = commit::parse(&entry).map_err(|error| error.to_string())?;
            if let Some((key, given)) = request.keyed {
                self.keys.add(entry.place, Key { hash: key_hash(TENANT, key), given });
            }
            self.queue.push_back(entry);
        }
        Ok(())
    }

    fn commit(&mut self, plan: Plan) -> Result<(), LogError> {
        let not_connected = || LogError::Retriable("the log cannot be reached".to_owned());
        let connection = self.connection.as_mut().ok_or_else(not_connected)?;
        connection.ask_partitions(&*self.shared.log);
        let entries = self.queue.iter().take(plan.whole + 1);
        let named = entries.filter_map(|entry| commit::parse(entry).ok()?.topic);
        let topics = self.destinations.of(&*self.shared.log, named)?;
        let commit = Commit {
            queue: &self.queue,
            record: self.record,
            plan,
            suspects: &self.suspects,
            partitions: connection.partitions,
            topics: &topics,
            schemas: self.shared.schemas().ok_or_else(not_connected)?,
            spool: self.shared.spool.id(),
        };
        let stranded = self.refused.strand(&commit, (self.shared.clock)())?;
        self.shared.metrics.refused(stranded);
        let _span = tracing::info_span!("publish", events = plan.events).entered();
        let started = Instant::now();
        connection.producer.commit(&mut |sink| commit.write(sink))?;
        failpoint::hit("spool-published", "");
        self.shared.metrics.committed(started.elapsed(), plan.events);
        Ok(())
    }

    /// Lets go of what the log has.
    fn published(&mut self, plan: Plan) -> Result<(), String> {
        let done: Vec<Entry> = self.queue.drain(..plan.whole).collect();
        self.shared.spool.release(&done);
        failpoint::hit("spool-released", "");
        self.record = plan.next.record;
        let before = self.suspects.len();
        self.suspects.retain(|suspect| *suspect >= plan.next);
        self.shared.metrics.refused(before - self.suspects.len());
        self.limit = self.limit.saturating_mul(2);
        self.backoff = BACKOFF_FIRST;
        self.shared.set_behind(None);
        Ok(())
    }

    /// What follows from entries being published. What fails is tried again when `every` has passed.
    fn tidy(&mut self, every: Duration) {
        let due = self.tidied.elapsed() >= every;
        if due || self.trimming.is_none() {
            self.trim();
        }
        if due {
            self.tidied = Instant::now();
            if let Err(error) = self.shared.spool.keep_released() {
                tracing::debug!(%error, "how far the spool is published could not be written down");
            }
        }
    }

    fn trim(&mut self) {
        let place = self.shared.spool.trimmable().or(self.trimming);
        let trimmed = place.map_or(Ok(()), |place| self.trim_to(place));
        if let (Err(error), None) = (&trimmed, self.trimming) {
            tracing::warn!(%error, "published entries cannot be deleted from the spool, or their keys not kept; trying again");
        }
        self.trimming = place.filter(|_| trimmed.is_err());
    }

    /// Deletes segments, once the keys in them are kept elsewhere. A disk that has no room for the keys gets it from the
    /// segments: until the keys are written after all, they stand in memory and in the answers topic.
    fn trim_to(&mut self, place: Place) -> Result<(), SpoolError> {
        let now = (self.shared.clock)();
        let saved = self.keys.save(place, now);
        if saved.as_ref().err().is_none_or(SpoolError::no_space) {
            self.shared.spool.trim(place)?;
        }
        saved
    }

    /// A commit was refused: fewer events next time, and of one alone it is known which it is.
    fn narrow(&mut self, plan: Plan, why: &str) -> Result<(), String> {
        self.shared.metrics.commit_failed();
        self.destinations.doubt();
        self.connection = None;
        if plan.events > 1 {
            self.limit = plan.events / 2;
            return Ok(());
        }
        if self.suspects.len() >= SUSPECTS_MAX {
            return Err(self.acquit(why));
        }
        let entry = self.queue.iter().find(|entry| entry.place == plan.last.place);
        let request = entry.map(commit::parse).transpose().map_err(|error| error.to_string())?;
        let event = request.and_then(|request| Some((request, request.events().nth(plan.last.record as usize)?)));
        let event = event.map(|(request, (id, value))| SetAside {
            place: plan.last,
            topic: request.topic.unwrap_or(FLOWS_TOPIC),
            id,
            value,
            why,
        });
        self.refused
            .write(event.into_iter(), (self.shared.clock)())
            .map_err(|error| format!("the log refuses an event ({why}), and it cannot be set aside: {error}"))?;
        tracing::error!(why, "the log refuses an event; it is set aside in the file refused.ndjson of the spool");
        self.suspects.push(plan.last);
        Ok(())
    }

    /// The fault is not the events' own: they are tried again.
    fn acquit(&mut self, why: &str) -> String {
        self.suspects.clear();
        format!("the log refuses events: {why}")
    }
}

fn unread(error: &tidemark_spool::Error) -> String {
    format!("the spool cannot be read: {error}")
}
