//! One thread that writes commands: whatever waits is one commit, and each caller is told when his is durable.
//!
//! A commit that fails takes the producer with it; its callers get an error that another try may mend. Whether the commands of
//! a commit without a definite answer are there is not known: what comes twice is harmless, since all of them name their request.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tidemark_core::table;
use tidemark_log::{Error, Log, Outgoing, Producer};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::stop::Stop;
use crate::topics::COMMANDS;

/// Commands that wait for the commit under way.
const WAITING_MAX: usize = 1_024;
/// Commands of a commit.
const BATCH_MAX: usize = 512;
/// Bytes after which a commit takes no more commands.
const BATCH_BYTES: usize = 4 << 20;
/// The largest command. Longer ones the log would refuse, and with them the commit that they are in.
const COMMAND_BYTES_MAX: usize = 900 << 10;
/// How long the thread waits for a command before it looks whether it is to end.
const IDLE: Duration = Duration::from_millis(100);

/// The commands that are written here; their places in [`ids`](Ids).
const SCHEMAS: [Schema; 6] = [
    catalog::DOCUMENT_UPLOADED,
    catalog::LEASE_REQUESTED,
    catalog::HEARTBEAT,
    catalog::TASK_REPORTED,
    catalog::TASK_ACTED,
    catalog::RUN_TIMES_LEARNED,
];

/// Which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Uploaded,
    Lease,
    Heartbeat,
    Reported,
    Acted,
    Learned,
}

struct Command {
    key: String,
    schema: usize,
    datum: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

/// Where commands are given in.
pub(crate) struct Commands {
    queue: SyncSender<Command>,
}

impl Commands {
    /// The way in, and the thread's work.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        producer_id: String,
        metrics: Arc<Metrics>,
    ) -> (Self, Writer) {
        let (queue, waiting) = sync_channel(WAITING_MAX);
        (Self { queue }, Writer { log, registry, producer_id, waiting, connection: None, metrics })
    }

    /// Writes a command of the queue; it is durable on return.
    pub(crate) async fn send<'a>(
        &self,
        tenant: &str,
        queue: &str,
        command: Type,
        record: &impl Avro<'a>,
    ) -> Result<(), Problem> {
        let mut datum = Vec::with_capacity(256);
        record.put(&mut datum);
        if datum.len() > COMMAND_BYTES_MAX {
            let detail =
                format!("the request makes a command of {} bytes; {COMMAND_BYTES_MAX} are the limit", datum.len());
            return Err(Problem::new(Kind::BadRequest, detail).fix("send fewer attempts, with shorter messages"));
        }
        let (done, written) = oneshot::channel();
        let command = Command { key: format!("{tenant}/{queue}"), schema: command as usize, datum, done };
        self.queue.try_send(command).map_err(refused)?;
        written.await.unwrap_or_else(|_| Err("the service stops".to_owned())).map_err(not_written)
    }
}

fn refused(error: TrySendError<Command>) -> Problem {
    match error {
        TrySendError::Full(_) => {
            Problem::new(Kind::Overloaded, format!("{WAITING_MAX} commands wait for the log, which is the limit"))
                .fix("send the request again after Retry-After seconds")
        }
        TrySendError::Disconnected(_) => Problem::new(Kind::NotReady, "the service stops"),
    }
}

fn not_written(why: String) -> Problem {
    Problem::new(Kind::LogAway, why).fix("send the request again after Retry-After seconds; sent twice it counts once")
}

/// A producer, and what it needs to know.
struct Connection {
    producer: Box<dyn Producer>,
    partitions: u32,
    ids: [u32; SCHEMAS.len()],
}

/// The thread that owns the producer.
pub(crate) struct Writer {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    producer_id: String,
    waiting: Receiver<Command>,
    connection: Option<Connection>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Writes until the service stops; then what still waits.
    pub(crate) fn run(mut self, stop: &Stop) {
        loop {
            match self.waiting.recv_timeout(IDLE) {
                Ok(first) => self.write(first),
                Err(RecvTimeoutError::Timeout) if stop.stopping() => return,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, first: Command) {
        let mut bytes = first.datum.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            let Ok(next) = self.waiting.try_recv() else { break };
            bytes += next.datum.len();
            batch.push(next);
        }
        let written = self.commit(&batch).map_err(|error| {
            self.connection = None;
            self.metrics.command_failed();
            tracing::warn!(%error, commands = batch.len(), "commands could not be written to {COMMANDS}");
            format!("the command could not be written to {COMMANDS}: {error}")
        });
        self.metrics.commit();
        // A caller that has gone away needs no answer.
        batch.into_iter().for_each(|command| drop(command.done.send(written.clone())));
    }

    fn commit(&mut self, batch: &[Command]) -> Result<(), Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let Connection { producer, partitions, ids } = self.connection.insert(connection);
        producer.commit(&mut |sink| {
            batch.iter().try_for_each(|command| {
                let mut value = Vec::with_capacity(5 + command.datum.len());
                wire::put_header(ids.get(command.schema).copied().unwrap_or_default(), &mut value);
                value.extend_from_slice(&command.datum);
                let key = command.key.as_bytes();
                let partition = table::merge_partition(table::hash(key), *partitions);
                sink.send(Outgoing { topic: COMMANDS, partition, key: Some(key), value: Some(&value), headers: &[] })
            })
        })
    }

    fn connect(&self) -> Result<Connection, Error> {
        let partitions = self.log.partitions(COMMANDS)?.ok_or_else(|| {
            Error::Retriable(format!("there is no topic {COMMANDS} yet; start the process `documents` first"))
        })?;
        let mut ids = [0; SCHEMAS.len()];
        for (id, schema) in ids.iter_mut().zip(&SCHEMAS) {
            let registered = self.registry.register(&format!("{COMMANDS}-{}", schema.name), &schema.avsc);
            *id = registered.map_err(|error| Error::Retriable(error.to_string()))?;
        }
        Ok(Connection { producer: self.log.producer(&self.producer_id)?, partitions, ids })
    }
}
