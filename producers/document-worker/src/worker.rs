//! The worker: threads that ask for tasks, and one that says it lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Error as ClientError};
use crate::executor::{Cancelled, Executor};
use crate::held::{Hand, Held};
use crate::room::Room;
use crate::settings::{self, Error, Settings};
use crate::status::{Counts, InHand, Status};
use crate::stop::Stop;
use crate::{heartbeat, tasks};

/// After it was asked twice to stop, the time for giving back what is in hand.
const GIVE_BACK: Duration = Duration::from_secs(1);
/// How often a worker that stops looks whether it is done.
const LOOK: Duration = Duration::from_millis(10);
/// How often it removes what workers beside it that were killed have left behind.
const SWEEP: Duration = Duration::from_secs(3600);

/// A worker. [`Worker::run`] makes it work.
#[derive(Debug, Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Its id.
    pub(crate) worker: String,
    pub(crate) client: Client,
    pub(crate) executor: Executor,
    pub(crate) room: Room,
    pub(crate) hand: Hand,
    pub(crate) counts: Counts,
    pub(crate) stop: Stop,
    /// Why the service is away, by what it was asked.
    away: Mutex<BTreeMap<&'static str, String>>,
    is_over: AtomicBool,
    has_said_goodbye: AtomicBool,
}

impl Worker {
    /// Checks the settings and makes a directory to work in. Asks the service nothing yet. `stop` is how it is stopped.
    ///
    /// # Errors
    /// A setting breaks a rule, or there is no place to work.
    pub fn new(settings: Settings, stop: &Stop) -> Result<Self, Error> {
        Self::with_executor(settings, stop, Executor::new().map_err(Error::Program)?)
    }

    /// As [`Worker::new`], with an executor of your own.
    ///
    /// # Errors
    /// As there.
    pub fn with_executor(settings: Settings, stop: &Stop, executor: Executor) -> Result<Self, Error> {
        settings::check(&settings)?;
        let room = Room::open(&settings.directory)
            .map_err(|source| Error::Directory { directory: settings.directory.display().to_string(), source })?;
        let shared = Shared {
            worker: settings.worker.clone().unwrap_or_else(settings::own_id),
            // One connection for each task's thread, one for heartbeats.
            client: Client::new(&settings.url, settings.token.clone(), settings.capacity + 1),
            settings,
            executor,
            room,
            hand: Hand::default(),
            counts: Counts::default(),
            stop: stop.clone(),
            away: Mutex::default(),
            is_over: AtomicBool::new(false),
            has_said_goodbye: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it has done and does.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let of = |held: Arc<Held>| InHand { task_id: held.task_id.clone(), token: held.token, step: held.step() };
        Status {
            worker: shared.worker.clone(),
            capacity: shared.settings.capacity,
            in_hand: shared.hand.all().into_iter().map(of).collect(),
            done: shared.counts.done.get(),
            failed: shared.counts.failed.get(),
            infrastructure_failures: shared.counts.infrastructure_failures.get(),
            revoked: shared.counts.revoked.get(),
            away: shared.away.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned(),
        }
    }

    /// Works until it is asked to stop. Asked once, it takes no more and finishes what is in hand within `stop_within`; what is not done
    /// by then, or when it is asked again, is killed and given back to the queue. A worker runs once.
    ///
    /// # Errors
    /// A thread cannot be started; nothing runs then.
    pub fn run(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let (worker, queue, capacity) = (&shared.worker, &shared.settings.queue, shared.settings.capacity);
        tracing::info!(worker, queue, capacity, "the worker begins");
        let ended = self.start().map(|()| {
            shared.stop.wait_until_asked(SWEEP, || shared.room.sweep());
            shared.finish();
        });
        // Threads that still wait for an answer of the service hold nothing; they end when it comes.
        shared.is_over.store(true, Ordering::Relaxed);
        shared.hand.wake();
        shared.room.close();
        tracing::info!(status = ?self.status(), "the worker has stopped");
        ended
    }

    fn start(&self) -> Result<(), Error> {
        self.spawn("heartbeat".into(), heartbeat::run)?;
        (1..=self.shared.settings.capacity).try_for_each(|number| self.spawn(format!("task-{number}"), tasks::run))
    }

    fn spawn(&self, name: String, work: fn(&Shared)) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name(name).spawn(move || work(&shared)).map(drop).map_err(Error::Thread)
    }
}

impl Shared {
    /// Lets what is in hand end, and ends it when the time is up.
    fn finish(&self) {
        tracing::info!(within = ?self.settings.stop_within, "the worker stops: it takes no more tasks");
        self.hand.wake();
        if self.has_finished(self.settings.stop_within, 2) {
            return;
        }
        for held in self.hand.all() {
            tracing::warn!(task = held.task_id, token = held.token, "a task is not done when the worker stops");
            held.running.cancel(Cancelled::Stopping);
        }
        self.has_finished(GIVE_BACK, u32::MAX);
    }

    /// Whether nothing is in hand within a time; looks no longer when the worker is asked `times` to stop.
    fn has_finished(&self, within: Duration, times: u32) -> bool {
        let until = Instant::now() + within;
        loop {
            if self.has_said_goodbye.load(Ordering::Relaxed) && self.hand.all().is_empty() {
                return true;
            }
            if Instant::now() >= until || self.stop.wait(times, LOOK) {
                return false;
            }
        }
    }

    /// The service knows that no more tasks are wanted, or is away.
    pub(crate) fn said_goodbye(&self) {
        self.has_said_goodbye.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Keeps whether the service answers what it is asked; says in the log only when that changes.
    pub(crate) fn heard(&self, asked: &'static str, error: Option<&ClientError>) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match error {
            Some(error) => away.insert(asked, error.to_string()),
            None => away.remove(asked),
        };
        match (error, before) {
            (Some(error), None) => tracing::warn!(asked, %error, "the service does not answer; it is asked again"),
            (None, Some(_)) => tracing::info!(asked, "the service answers again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}
