//! One mail at a time, the pauses after failures, and what the process remembers of mails that are not committed yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_log::failpoint;
use tidemark_runtime::Error;
use tidemark_runtime::drive::Prepared;

use super::NotifierStage;
use super::records::{Settled, What};
use crate::backoff::Backoff;
use crate::courier::Courier;
use crate::letter::Letter;
use crate::metrics::Metrics;
use crate::transport::{Outcome, Transport};
use crate::waiting::{Item, Pending, Waiting};

/// How long a step waits for the mail under way.
const WAIT: Duration = Duration::from_millis(20);
/// A mail that has been under way for so long is said to be.
const SLOW_MS: i64 = 30_000;
/// Outcomes that are remembered. There is one for each commit that failed since, so more than a few are never due.
const REMEMBERED_MAX: usize = 64;

/// Which mail, over rebalances and restarts of the stage: partition, offset and name.
type Which = (u32, i64, String);

/// What became of a mail for good: `None` when it was sent, else why it was refused.
type Verdict = Option<String>;

/// The one mail under way and what is known of the server.
pub(super) struct Sending {
    courier: Courier,
    backoff: Backoff,
    give_up_after_ms: i64,
    metrics: Arc<Metrics>,
    under_way: Option<Which>,
    /// Since.
    began: i64,
    /// It was said that it takes long.
    is_slow: bool,
    /// Outcomes that no commit has told yet: a mail is not sent again because a commit failed or its partition went and came back.
    remembered: BTreeMap<Which, Verdict>,
    /// Failures of the server in a row, the pause after the last one, and its reason.
    failures: u32,
    not_before: i64,
    away: Option<String>,
}

impl Sending {
    pub(super) fn new(
        transport: Box<dyn Transport>,
        backoff: Backoff,
        give_up_after_ms: i64,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            courier: Courier::new(transport),
            backoff,
            give_up_after_ms,
            metrics,
            under_way: None,
            began: 0,
            is_slow: false,
            remembered: BTreeMap::new(),
            failures: 0,
            not_before: i64::MIN,
            away: None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.away.is_some()
    }

    /// It is committed: nobody asks for it again.
    pub(super) fn forget(&mut self, settled: &Settled) {
        if let What::Mail(mail, ..) = &settled.what {
            self.remembered.remove(&(settled.partition, settled.offset, mail.name.clone()));
        }
    }

    fn remember(&mut self, which: Which, verdict: Verdict) {
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_first();
        }
        self.remembered.insert(which, verdict);
    }

    /// As long as the server is away: why, for people.
    fn held_back(&self) -> Result<(), Error> {
        let Some(reason) = &self.away else { return Ok(()) };
        self.metrics.away(Some(reason));
        Err(Error::Unavailable(reason.clone()))
    }

    /// Says so when the mail under way takes long. It is not given up: the server may have taken it.
    fn tell_slow(&mut self, now: i64) -> Result<(), Error> {
        if (self.began..self.began.saturating_add(SLOW_MS)).contains(&now) {
            return Ok(());
        }
        self.is_slow = true;
        let said = "mails wait: the mail server has not answered for 30 s; it is waited for as long as it may take, since a mail that \
                    is given up earlier comes twice";
        self.metrics.away(Some(said));
        Err(Error::Unavailable(said.to_owned()))
    }

    /// The mail under way, which is so no more.
    fn ended(&mut self) -> Option<Which> {
        if std::mem::take(&mut self.is_slow) {
            self.metrics.away(None);
        }
        self.under_way.take()
    }

    /// Nothing is to be sent by this stage: whether the server is away is for others to say.
    pub(super) fn rest(&self) {
        if self.away.is_some() {
            self.metrics.away(None);
        }
    }

    fn server_failed(&mut self, reason: &str, now: i64) {
        self.failures = self.failures.saturating_add(1);
        let pause_ms = self.backoff.pause_ms(self.failures, fastrand::f64());
        self.not_before = now.saturating_add(pause_ms);
        let said = format!("mails wait: {reason}; the next try is {} s later", (pause_ms + 999) / 1_000);
        tracing::warn!(failures = self.failures, pause_ms, reason, "mails wait for the mail server");
        self.away = Some(said);
    }

    fn server_answered(&mut self) {
        if self.away.take().is_some() {
            tracing::info!(failures = self.failures, "the mail server takes mails again");
            self.metrics.away(None);
        }
        (self.failures, self.not_before) = (0, i64::MIN);
    }
}

impl NotifierStage {
    /// Dead letters go with the next commit.
    pub(super) fn settle_dead(&mut self) {
        for waiting in &mut self.owned {
            while let Some(offset) = waiting.dead() {
                if let Some(Item::Dead(letter)) = waiting.handled(offset) {
                    let partition = waiting.partition.partition;
                    self.settled.push(Settled { partition, offset, what: What::Dead(letter) });
                }
            }
        }
    }

    /// Begins a mail if none is under way, or waits a moment for the one that is.
    pub(super) fn send_one(&mut self, now: i64) -> Result<Prepared, Error> {
        if !self.sending.is_under_way() {
            if self.stopping {
                return Ok(Prepared::Done);
            }
            if !self.setup.backoff.is_over(self.sending.not_before, now) {
                self.sending.held_back()?;
            }
            if !self.begin(now) {
                return Ok(if self.settled.is_empty() { self.nothing_to_send()? } else { Prepared::Done });
            }
        }
        let Some(outcome) = self.sending.courier.outcome(WAIT) else {
            // A server that was away counts as away until it has taken a mail.
            self.sending.held_back()?;
            return self.sending.tell_slow(now).map(|()| Prepared::More);
        };
        self.conclude(outcome, now);
        self.sending.held_back()?;
        Ok(if self.settled.is_empty() { Prepared::More } else { Prepared::Done })
    }

    /// Nothing may be tried now. A server that is away stays so until a mail has shown otherwise.
    fn nothing_to_send(&self) -> Result<Prepared, Error> {
        if self.owned.iter().all(|waiting| waiting.len() == 0) {
            return Ok(Prepared::Done);
        }
        self.sending.held_back().map(|()| Prepared::Done)
    }

    /// Hands the first mail that may be tried to the courier. False when there is none, or when it is settled without.
    fn begin(&mut self, now: i64) -> bool {
        let backoff = self.setup.backoff;
        let first = |(at, waiting): (usize, &Waiting)| waiting.due(now, backoff).next().map(|offset| (at, offset));
        let Some((at, offset)) = self.owned.iter().enumerate().find_map(first) else { return false };
        // The next turn begins at the next partition: none waits for another's backlog.
        self.owned.rotate_left(at);
        let Some(waiting) = self.owned.first_mut() else { return false };
        let partition = waiting.partition.partition;
        let Some(pending) = waiting.pending(offset) else { return false };
        let which = (partition, offset, pending.mail.name.clone());
        self.owned_turn();
        if let Some(verdict) = self.sending.remembered.get(&which).cloned() {
            self.settle(&which, verdict);
            return false;
        }
        let letter = self.letter(&which);
        match letter {
            Some(Ok(letter)) => self.hand_over(which, letter, now),
            Some(Err(reason)) => {
                self.settle(&which, Some(format!("the mail cannot be written: {reason}")));
                false
            }
            None => false,
        }
    }

    fn owned_turn(&mut self) {
        if !self.owned.is_empty() {
            self.owned.rotate_left(1);
        }
    }

    fn letter(&mut self, which: &Which) -> Option<Result<Letter, String>> {
        let sender = Arc::clone(&self.setup.sender);
        let pending = self.pending(which)?;
        pending.tries = pending.tries.saturating_add(1);
        Some(sender.letter(&pending.mail))
    }

    fn hand_over(&mut self, which: Which, letter: Letter, now: i64) -> bool {
        match self.sending.courier.send(letter) {
            Ok(()) => {
                failpoint::hit("mail-under-way", "notifier");
                (self.sending.under_way, self.sending.began) = (Some(which), now);
                true
            }
            Err(reason) => {
                self.sending.server_failed(&reason, now);
                false
            }
        }
    }

    fn pending(&mut self, (partition, offset, name): &Which) -> Option<&mut Pending> {
        let waiting = self.owned.iter_mut().find(|waiting| waiting.partition.partition == *partition)?;
        waiting.pending(*offset).filter(|pending| pending.mail.name == *name)
    }

    /// The mail under way has come to this.
    fn conclude(&mut self, outcome: Outcome, now: i64) {
        let Some(which) = self.sending.ended() else { return };
        match outcome {
            Outcome::Sent => {
                self.sending.server_answered();
                self.sending.remember(which.clone(), None);
                self.settle(&which, None);
            }
            Outcome::Refused(reason) => {
                self.sending.server_answered();
                tracing::warn!(mail = which.2, reason, "a mail was refused for good");
                self.sending.remember(which.clone(), Some(reason.clone()));
                self.settle(&which, Some(reason));
            }
            Outcome::Deferred(reason) => {
                self.sending.server_answered();
                self.put_off(&which, &reason, now);
            }
            Outcome::Away(reason) => {
                self.metrics.count_retry();
                self.sending.server_failed(&reason, now);
            }
            Outcome::Broken(reason) => {
                self.sending.server_failed(&reason, now);
                // Perhaps it was this mail that broke the connection: the next try is made with another one.
                self.put_off(&which, &reason, now);
            }
        }
    }

    /// This mail waits while others go on, or is given up.
    fn put_off(&mut self, which: &Which, reason: &str, now: i64) {
        let (backoff, give_up_after_ms) = (self.sending.backoff, self.sending.give_up_after_ms);
        let Some(pending) = self.pending(which) else { return };
        let tries = pending.tries;
        if pending.is_given_up(now, give_up_after_ms) {
            tracing::warn!(mail = which.2, tries, reason, "a mail is given up");
            return self.settle(which, Some(format!("given up after {tries} tries: {reason}")));
        }
        let pause_ms = backoff.pause_ms(tries, fastrand::f64());
        pending.not_before = now.saturating_add(pause_ms);
        tracing::info!(mail = which.2, tries, pause_ms, reason, "a mail is deferred");
        self.metrics.count_retry();
    }

    /// The mail is handled: that goes with the next commit. One whose partition is gone is left to memory.
    fn settle(&mut self, which: &Which, verdict: Verdict) {
        if self.pending(which).is_none() {
            return;
        }
        let (partition, offset, _) = *which;
        let Some(waiting) = self.owned.iter_mut().find(|waiting| waiting.partition.partition == partition) else {
            return;
        };
        if let Some(Item::Mail(pending)) = waiting.handled(offset) {
            let what = What::Mail(Box::new(pending.mail), verdict, pending.tries.max(1));
            self.settled.push(Settled { partition, offset, what });
        }
    }
}
