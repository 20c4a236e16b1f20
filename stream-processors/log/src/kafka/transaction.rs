//! One commit: begin, produce, send offsets, flush, end, in one burst.

use std::time::{Duration, Instant};

use super::native::consumer::GroupMetadata;
use super::native::producer::Producer;
use super::native::{Fault, code};
use super::verdict::{self, Decision, Kind, Stage};
use super::{Cluster, PAUSE};
use crate::{Error, GroupOffset, Outgoing, Produce, Sink, failpoint};

/// How long a producer may take to fence its predecessor and end what that left open.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an abort may take: it only frees readers earlier than the transaction's own timeout would.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// One call into librdkafka; asked again until the deadline.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A transactional producer under a stable id.
pub(super) struct Transactions {
    cluster: Cluster,
    producer: Producer,
    /// Connections that the producer had lost when it was new.
    lost: u64,
    id: String,
    timeout: Duration,
}

impl Transactions {
    /// Fences every older producer of `id`. A transaction that takes longer than `timeout` is aborted by the broker.
    pub(super) fn open(cluster: &Cluster, id: &str, timeout: Duration) -> Result<Self, Error> {
        let producer = Self::start(cluster, id, timeout, INIT_TIMEOUT)?;
        let lost = producer.connections_closed();
        Ok(Self { cluster: cluster.clone(), producer, lost, id: id.to_owned(), timeout })
    }

    /// Replaces the producer if it has lost a connection. librdkafka sends what was on it again, unseen; when the second try
    /// succeeds the first may still be on its way, and one that ends a transaction or moves offsets would then do so to the
    /// *next* one (KAFKA-17754). A new producer has a new epoch: what the old one has sent is refused.
    fn renew(&mut self) -> Result<(), Error> {
        if !self.is_doubtful() {
            return Ok(());
        }
        tracing::info!(
            id = self.id,
            "the producer has lost a connection and is replaced, so that nothing late of it counts"
        );
        self.producer = Self::start(&self.cluster, &self.id, self.timeout, self.timeout / 2)?;
        self.lost = self.producer.connections_closed();
        Ok(())
    }

    /// Whether the producer has lost a connection since it was new.
    pub(super) fn is_doubtful(&self) -> bool {
        self.producer.connections_closed() != self.lost
    }

    fn start(cluster: &Cluster, id: &str, timeout: Duration, patience: Duration) -> Result<Producer, Error> {
        let transaction_ms = timeout.as_millis().to_string();
        // The broker enforces the one, librdkafka the other: a message is given up before its transaction is.
        let message_ms = (timeout * 4 / 5).as_millis().to_string();
        let conf = cluster.conf(&[
            ("client.id", id),
            ("transactional.id", id),
            ("enable.idempotence", "true"),
            ("transaction.timeout.ms", &transaction_ms),
            ("message.timeout.ms", &message_ms),
            ("socket.timeout.ms", &message_ms),
            // A request without an answer costs the connection, and so is seen.
            ("socket.max.fails", "1"),
            ("delivery.report.only.error", "true"),
            // A transaction right after another waits for the markers of that one, a few milliseconds.
            ("retry.backoff.ms", "5"),
            // Records go out while more are produced; the flush sends the rest at once, whatever this says.
            ("linger.ms", "5"),
            ("batch.size", "262144"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "65536"),
        ])?;
        let producer = Producer::new(conf).map_err(|reason| cluster.unusable(&reason))?;
        let deadline = Instant::now() + patience;
        while let Err(fault) = producer.init(left(deadline).min(CALL_TIMEOUT)) {
            if verdict::decide(Stage::Init, &fault, Instant::now() >= deadline) != Decision::Again {
                let fault = producer.fatal().unwrap_or(fault);
                return Err(cluster.error(&format!("starting producer {id}"), &fault));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(producer)
    }

    /// Writes what `produce` sends, and moves a group to `offsets`, all or nothing.
    pub(super) fn run(
        &mut self,
        produce: Produce<'_>,
        group: Option<(&GroupMetadata, &[GroupOffset])>,
    ) -> Result<(), Error> {
        self.renew()?;
        let deadline = Instant::now() + self.timeout;
        self.step(Stage::Begin, deadline, |producer, _| producer.begin())?;
        let mut sink = Outbox { producer: &mut self.producer, deadline, failed: None };
        let produced = produce(&mut sink);
        if let (Some(fault), Err(_)) = (sink.failed.take(), &produced) {
            return Err(self.settle(Stage::Fill, &fault, true));
        }
        if let Err(error) = produced {
            return Err(self.abort().err().unwrap_or(error));
        }
        failpoint::hit("transaction-produced", &self.id);
        if let Some((metadata, offsets)) = group {
            self.step(Stage::Fill, deadline, |producer, time| producer.send_offsets(offsets, metadata, time))?;
            failpoint::hit("transaction-offsets-sent", &self.id);
        }
        self.step(Stage::Fill, deadline, |producer, _| producer.flush(left(deadline)))?;
        failpoint::hit("transaction-flushed", &self.id);
        self.step(Stage::Commit, deadline, Producer::commit)?;
        failpoint::hit("transaction-committed", &self.id);
        Ok(())
    }

    /// Makes one call until it succeeds or something else is decided.
    fn step(
        &self,
        stage: Stage,
        deadline: Instant,
        mut call: impl FnMut(&Producer, Duration) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        loop {
            let Err(fault) = call(&self.producer, left(deadline).min(CALL_TIMEOUT)) else {
                return Ok(());
            };
            let expired = Instant::now() >= deadline;
            if verdict::decide(stage, &fault, expired) != Decision::Again {
                return Err(self.settle(stage, &fault, expired));
            }
            // Most waiting is done inside the call; this keeps an answer that comes at once from spinning.
            std::thread::sleep(PAUSE);
        }
    }

    /// Does what was decided on an error that is not tried again.
    fn settle(&self, stage: Stage, fault: &Fault, expired: bool) -> Error {
        // A fatal error is behind whatever came after it, such as messages that were purged because of it.
        let fault = self.producer.fatal().unwrap_or_else(|| fault.clone());
        let text = format!("producer {}: {}", self.id, fault.text);
        match verdict::decide(stage, &fault, expired) {
            Decision::Fail(kind) => kind.error(text),
            Decision::Abort(kind) => self.abort().err().unwrap_or_else(|| kind.error(text)),
            Decision::Again => Kind::Retriable.error(text),
        }
    }

    fn abort(&self) -> Result<(), Error> {
        self.step(Stage::Abort, Instant::now() + ABORT_TIMEOUT, Producer::abort)
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Takes the records of a commit.
struct Outbox<'p> {
    producer: &'p mut Producer,
    deadline: Instant,
    /// What made `send` fail: the caller only sees an [`Error`].
    failed: Option<Fault>,
}

impl Sink for Outbox<'_> {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error> {
        loop {
            let result = match self.producer.produce(&record) {
                Err(fault) if fault.code == code::LOCAL_QUEUE_FULL && Instant::now() < self.deadline => {
                    self.producer.make_room()
                }
                Err(fault) => Err(fault),
                Ok(()) => return Ok(()),
            };
            if let Err(fault) = result {
                let error = verdict::kind(fault.code)
                    .error(format!("record for {}-{}: {}", record.topic, record.partition, fault.text));
                self.failed = Some(fault);
                return Err(error);
            }
        }
    }
}
