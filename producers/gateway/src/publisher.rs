//! The publisher thread: takes all requests that wait, writes them in one commit, answers them.
//!
//! Every commit also writes the gateway's own record with the commit's id. When a commit ends without a definite answer, a new
//! producer under the same id settles it for good (it is finished or aborted, never later), the answers topic is read to its
//! end, and the own record there tells whether the commit happened: it is then acknowledged, else written again. So a
//! request's outcome stays unknown only as long as the log cannot be reached.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tidemark_log::span::ActiveSpan;
use tidemark_log::{At, Error as LogError, Producer, TopicPartition};
use tidemark_schemas::catalog;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::answers::Claim;
use crate::batch::Batch;
use crate::commit::write;
use crate::{ANSWERS_TOPIC, FLOWS_TOPIC, SchemaIds, Shared, answers_topic};

/// A commit takes no more requests once it holds so many bytes of values.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// How often the partition count is asked for.
const PARTITIONS_EVERY: Duration = Duration::from_secs(10);
/// How long the answers topic is waited for at a time.
const FOLLOW_PAUSE: Duration = Duration::from_millis(20);
/// How long requests are waited for before a lost connection is tried again.
const IDLE: Duration = Duration::from_millis(200);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The events of a request on their way into the log.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    /// The request's Idempotency-Key, if it has one.
    pub(crate) claim: Option<Claim>,
    /// Ends with the job.
    pub(crate) span: ActiveSpan,
    /// When it is no longer worth writing.
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<(), NotStored>>,
}

/// The log did not take a request's events, for sure, and this is why.
#[derive(Debug)]
pub(crate) struct NotStored(pub(crate) String);

/// The publisher thread, until the queue is closed and empty.
pub(crate) fn run(shared: &Shared, queue: &Receiver<Job>) {
    let mut publisher = Publisher { shared, connection: None };
    loop {
        if publisher.connection.is_none() {
            publisher.connect(Some(Instant::now())); // once: what waits in the queue may expire meanwhile
        }
        match queue.recv_timeout(IDLE) {
            Ok(first) => {
                let jobs = gather(first, queue);
                shared.metrics.queued(-(jobs.len() as i64));
                shared.queued_bytes.fetch_sub(bytes(&jobs), Ordering::Relaxed);
                publisher.publish(jobs);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Takes what waits, up to the bound of a commit.
fn gather(first: Job, queue: &Receiver<Job>) -> Vec<Job> {
    let mut jobs = vec![first];
    while bytes(&jobs) < COMMIT_BYTES_MAX {
        let Ok(job) = queue.try_recv() else { break };
        jobs.push(job);
    }
    jobs
}

fn bytes(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.batch.bytes()).sum()
}

struct Connection {
    producer: Box<dyn Producer>,
    /// Of the flows topic, and when that was asked.
    partitions: u32,
    asked: Instant,
}

struct Publisher<'s> {
    shared: &'s Shared,
    connection: Option<Connection>,
}

impl Publisher<'_> {
    /// Writes the jobs in one commit and answers them, whatever it takes.
    fn publish(&mut self, mut jobs: Vec<Job>) {
        let mut backoff = BACKOFF_FIRST;
        let mut last_error = "too much was waiting".to_owned();
        loop {
            jobs = refuse_expired(jobs, &last_error);
            let Some(deadline) = jobs.iter().map(|job| job.deadline).min() else {
                return;
            };
            let commit = Uuid::now_v7();
            let Err(error) = self.commit(&jobs, commit) else {
                return self.settle(jobs);
            };
            tracing::warn!(%error, "a commit failed");
            self.shared.metrics.commit_failed();
            // A definite failure is worth another try until the deadline; in doubt, nothing else is done before it is settled.
            let definite = matches!(error, LogError::Retriable(_));
            let connected = self.connect(definite.then_some(deadline));
            if !definite && connected && self.shared.answers.last_commit() == Some(commit) {
                return self.settle(jobs);
            }
            let known = definite || connected;
            if self.shared.pause(backoff) && (!connected || backoff > BACKOFF_FIRST) {
                // Stopping: one more try was enough. Callers whose outcome is not known are told so as their jobs are dropped.
                return if known {
                    refuse(jobs, &error.to_string())
                };
            }
            last_error = error.to_string();
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn settle(&self, jobs: Vec<Job>) {
        self.shared.metrics.accepted(jobs.iter().map(|job| job.batch.len()).sum());
        for job in jobs {
            if let Some(claim) = job.claim {
                claim.done();
            }
            job.span.succeed();
            // The caller may have gone: its events are there all the same.
            let _ = job.reply.send(Ok(()));
        }
    }

    fn commit(&mut self, jobs: &[Job], commit: Uuid) -> Result<(), LogError> {
        let not_connected = || LogError::Retriable("the log cannot be reached".to_owned());
        let connection = self.connection.as_mut().ok_or_else(not_connected)?;
        let schemas = self.shared.schemas.get().copied().ok_or_else(not_connected)?;
        let records: usize = jobs.iter().map(|job| job.batch.len()).sum();
        let _span = tracing::info_span!("publish", records).entered();
        let started = Instant::now();
        let asked_again = connection.ask_partitions(self.shared);
        let partitions = connection.partitions;
        let id = &self.shared.config.id;
        let result = asked_again
            .and_then(|()| connection.producer.commit(&mut |sink| write(sink, jobs, partitions, schemas, id, commit)));
        match &result {
            Ok(()) => self.shared.metrics.committed(started.elapsed()),
            Err(error) => {
                self.connection = None;
                self.shared.set_reason("log", Some(format!("the log failed: {error}; trying again")));
            }
        }
        result
    }

    /// Makes a producer and waits until every answer before it is known. Tries until that works, until `until` or until the
    /// gateway stops; says whether it works.
    fn connect(&mut self, until: Option<Instant>) -> bool {
        let mut backoff = BACKOFF_FIRST;
        loop {
            match connect(self.shared) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.shared.set_reason("log", None);
                    return true;
                }
                Err(reason) => self.shared.set_reason("log", Some(reason)),
            }
            let expired = until.is_some_and(|until| Instant::now() + backoff > until);
            if expired || self.shared.pause(backoff) {
                return false;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

impl Connection {
    fn ask_partitions(&mut self, shared: &Shared) -> Result<(), LogError> {
        if self.asked.elapsed() < PARTITIONS_EVERY {
            return Ok(());
        }
        self.asked = Instant::now();
        // Without an answer the known count still holds: partitions are never taken away.
        match shared.log.partitions(FLOWS_TOPIC) {
            Ok(Some(partitions)) => self.partitions = partitions.max(1),
            Ok(None) => return Err(LogError::Retriable(no_topic())),
            Err(error) => {
                tracing::warn!(%error, "the partition count of {FLOWS_TOPIC} could not be asked for")
            }
        }
        Ok(())
    }
}

fn no_topic() -> String {
    format!("there is no topic {FLOWS_TOPIC}; create the topics first")
}

/// One try to get ready; the error is a reason for people.
fn connect(shared: &Shared) -> Result<Connection, String> {
    let schemas = register(shared).map_err(|error| format!("schemas cannot be registered: {error}"))?;
    let in_log = |error: LogError| format!("the log failed: {error}; trying again");
    shared.log.create_topics(&[answers_topic()]).map_err(in_log)?;
    let partitions = shared.log.partitions(FLOWS_TOPIC).map_err(in_log)?.ok_or_else(no_topic)?.max(1);
    // The producer first: making it ends whatever its predecessor left open, so the end of the topic is settled after it.
    let producer = shared.log.producer(&shared.config.id).map_err(in_log)?;
    let answers = TopicPartition::new(ANSWERS_TOPIC, 0);
    let end = shared.log.offsets(&[answers], At::End).map_err(in_log)?.first().copied().unwrap_or(0);
    let _ = shared.schemas.set(schemas);
    while shared.answers.position() < end {
        shared.set_reason("log", Some("earlier answers are being read".to_owned()));
        if shared.pause(FOLLOW_PAUSE) {
            return Err("the gateway is stopping".to_owned());
        }
    }
    Ok(Connection { producer, partitions, asked: Instant::now() })
}

fn register(shared: &Shared) -> Result<SchemaIds, tidemark_schemas::registry::Error> {
    if let Some(schemas) = shared.schemas.get() {
        return Ok(*schemas);
    }
    let subject = |topic: &str| format!("{topic}-value");
    let flow = shared.registry.register(&subject(FLOWS_TOPIC), catalog::FLOW_OBSERVED.avsc)?;
    let answer = shared.registry.register(&subject(ANSWERS_TOPIC), catalog::ANSWER.avsc)?;
    Ok(SchemaIds { flow, answer })
}

fn refuse_expired(jobs: Vec<Job>, why: &str) -> Vec<Job> {
    let now = Instant::now();
    let (kept, expired): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.deadline > now);
    refuse(expired, &format!("the log did not take the events in time: {why}"));
    kept
}

fn refuse(jobs: Vec<Job>, why: &str) {
    for mut job in jobs {
        drop(job.claim); // before the answer, so that a repeat at once finds the key free
        job.span.fail(&why);
        drop(job.span);
        let _ = job.reply.send(Err(NotStored(why.to_owned())));
    }
}
