//! Follows the topic of answers and hands each to the request that waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_log::{At, Error};
use tidemark_schemas::catalog;
use tidemark_schemas::dispatch::Answered;
use tidemark_schemas::registry::Registry;
use tokio::sync::oneshot;

use crate::follow::{PAUSE, Topic, Values};
use crate::problem::{Kind, Problem};
use crate::stop::Stop;
use crate::topics::ANSWERS;

/// Requests that wait at a time; more are refused.
pub(crate) const WAITING_MAX: usize = 16_384;

/// One sender for each that waits: a request that is repeated while it waits has two.
type Waiting = HashMap<String, Vec<oneshot::Sender<Answered>>>;

/// The requests that wait.
#[derive(Default)]
pub(crate) struct Answers {
    waiting: Mutex<Waiting>,
    followed: AtomicBool,
}

/// A place among those that wait; given up when it is dropped.
pub(crate) struct Wait {
    answers: Arc<Answers>,
    request_id: String,
    answer: oneshot::Receiver<Answered>,
}

impl Answers {
    /// Waits for an answer from now on. Called before the command is sent.
    pub(crate) fn wait(self: &Arc<Self>, request_id: &str) -> Result<Wait, Problem> {
        if !self.followed() {
            return Err(Problem::new(Kind::NotReady, format!("{ANSWERS} is not followed yet"))
                .fix("send the request again after Retry-After seconds"));
        }
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} requests wait for an answer, which is the limit");
            return Err(Problem::new(Kind::Overloaded, detail).fix("send the request again after Retry-After seconds"));
        }
        waiting.entry(request_id.to_owned()).or_default().push(sender);
        Ok(Wait { answers: Arc::clone(self), request_id: request_id.to_owned(), answer })
    }

    /// Whether the topic is read, so that no answer is missed.
    pub(crate) fn followed(&self) -> bool {
        self.followed.load(Ordering::Acquire)
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// Hands an answer over; others than ours come by too.
    fn give(&self, answer: &Answered) {
        let senders = self.lock().remove(&answer.request_id).unwrap_or_default();
        senders.into_iter().for_each(|sender| drop(sender.send(answer.clone())));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// The answer, if it comes in time.
    pub(crate) async fn answer(mut self, limit: Duration) -> Result<Answered, Problem> {
        let answer = tokio::time::timeout(limit, &mut self.answer).await;
        let none = || {
            let detail = format!("the request was written, and no answer came within {} ms", limit.as_millis());
            Problem::new(Kind::NoAnswer, detail)
                .fix("see that the process `documents` runs; then send the request again with the same Idempotency-Key")
        };
        answer.ok().and_then(Result::ok).ok_or_else(none)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // Closed first, so that it is told from those that go on waiting under the same id.
        self.answer.close();
        let mut waiting = self.answers.lock();
        if let Some(senders) = waiting.get_mut(&self.request_id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.request_id);
            }
        }
    }
}

/// Follows the topic until the service stops: from its end, since nobody waits for what was answered before.
pub(crate) fn run(answers: &Answers, mut topic: Topic, registry: Arc<dyn Registry>, stop: &Stop) {
    let mut values = Values::new(registry, catalog::ANSWERED, ANSWERS);
    while !stop.stopping() {
        if let Err(error) = follow(answers, &mut topic, &mut values, stop) {
            tracing::warn!(%error, "{ANSWERS} cannot be followed; trying again");
            stop.pause(PAUSE);
        }
    }
}

fn follow(answers: &Answers, topic: &mut Topic, values: &mut Values, stop: &Stop) -> Result<(), Error> {
    if topic.positions().is_empty() {
        topic.seek(topic.ask(At::StableEnd)?);
    }
    while !stop.stopping() {
        // The reader is there before anybody is told so: its first poll starts it.
        let read = topic.poll();
        if let Err(Error::OffsetGone { .. }) = read {
            topic.seek(topic.ask(At::Start)?);
        }
        for value in read?.into_iter().filter_map(|record| record.value) {
            if let Some(answer) = values.read::<Answered>(&value, stop) {
                answers.give(&answer);
            }
        }
        answers.followed.store(true, Ordering::Release);
    }
    Ok(())
}
