//! The stage that sends mails: what it reads waits in order, one is under way, and each is committed before the next is begun.

mod records;
mod sending;

use std::sync::Arc;

use tidemark_log::{At, Batch, GroupOffset, Log, Member, Sink, TopicPartition};
use tidemark_runtime::Error;
use tidemark_runtime::drive::{Backlog, Due, Operator, Prepared};
use tidemark_runtime::trace::CommitTrace;
use tidemark_schemas::catalog::MAIL_REQUESTED;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

use self::records::Settled;
use self::sending::Sending;
use crate::metrics::Metrics;
use crate::plan::{GROUP, Plan};
use crate::settings::Setup;
use crate::transport::Transport;
use crate::waiting::Waiting;

/// Mails in memory at which reading rests, and bytes of their texts.
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Sends the mails of the partitions that it owns. See the promises of the crate.
pub struct NotifierStage {
    plan: Arc<Plan>,
    setup: Setup,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    /// What was assigned and has no offsets yet.
    assigned: Vec<TopicPartition>,
    owned: Vec<Waiting>,
    sending: Sending,
    /// Handled and not committed yet.
    settled: Vec<Settled>,
    /// No mail is begun any more.
    stopping: bool,
    now: i64,
    /// What the gauge of waiting mails counts of this stage.
    counted: i64,
    trace: CommitTrace,
    failed: Option<Error>,
}

impl NotifierStage {
    /// A stage over one transport, which gets a thread of its own with the first mail.
    pub fn new(
        plan: Arc<Plan>,
        setup: Setup,
        transport: Box<dyn Transport>,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let sending = Sending::new(transport, setup.backoff, setup.give_up_after_ms, Arc::clone(&metrics));
        Self {
            plan,
            setup,
            log,
            metrics,
            decoder: wire::Decoder::new(registry, [MAIL_REQUESTED]),
            scratch: Vec::new(),
            assigned: Vec::new(),
            owned: Vec::new(),
            sending,
            settled: Vec::new(),
            stopping: false,
            now: 0,
            counted: 0,
            trace: CommitTrace::default(),
            failed: None,
        }
    }

    fn count_waiting(&mut self) {
        let waiting = self.owned.iter().map(Waiting::len).sum::<usize>() as i64;
        self.metrics.add_waiting(waiting - self.counted);
        self.counted = waiting;
    }

    /// Whether a mail may be begun.
    fn has_due(&self) -> bool {
        let (now, backoff) = (self.now, self.setup.backoff);
        !self.stopping && self.owned.iter().any(|waiting| waiting.due(now, backoff).next().is_some())
    }

    /// Where reading of a partition begins. What is gone from the log before it could be sent is said aloud.
    fn waiting(committed: Option<GroupOffset>, partition: TopicPartition, start: i64) -> Waiting {
        let committed = committed.unwrap_or_else(|| GroupOffset { partition, offset: start, metadata: String::new() });
        if committed.offset < start {
            let (partition, offset) = (&committed.partition, committed.offset);
            tracing::error!(%partition, offset, start, "mails have expired before they could be sent: the topic does not hold them any more");
            return Waiting::restore(GroupOffset { offset: start, metadata: String::new(), ..committed });
        }
        Waiting::restore(committed)
    }
}

impl Drop for NotifierStage {
    fn drop(&mut self) {
        self.metrics.add_waiting(-self.counted);
    }
}

impl Operator for NotifierStage {
    fn stage(&self) -> &'static str {
        "notifier"
    }

    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.discard();
        self.assigned = owned.to_vec();
        self.now = now;
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        let committed = match self.log.committed(GROUP, &self.assigned) {
            Err(tidemark_log::Error::Unstable(_)) => return Ok(None),
            answer => answer?,
        };
        let starts = self.log.offsets(&self.assigned, At::Start)?;
        let assigned = std::mem::take(&mut self.assigned);
        self.owned = assigned
            .into_iter()
            .zip(committed)
            .zip(starts)
            .map(|((partition, committed), start)| Self::waiting(committed, partition, start))
            .collect();
        Ok(Some(self.owned.iter().map(|waiting| (waiting.partition.clone(), waiting.start())).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, _now: i64) {
        self.take(&batch);
        self.count_waiting();
    }

    fn backlog(&self) -> Backlog {
        let (mails, bytes) =
            self.owned.iter().fold((0, 0), |(mails, bytes), waiting| (mails + waiting.len(), bytes + waiting.bytes()));
        // While the server is away nothing is read anyway: to look for room all the time would be in vain.
        let is_full = mails >= WAITING_MAX || bytes >= WAITING_BYTES_MAX;
        if is_full && !self.sending.is_held_back() { Backlog::Full } else { Backlog::None }
    }

    fn waits_for(&self) -> &'static str {
        "so many mails wait that no more are read; see tidemark_mails_waiting and the mail server's speed"
    }

    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }

    fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn tick(&mut self, _member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.now = now;
        Ok(())
    }

    fn due(&self) -> Due {
        if !self.settled.is_empty() || self.owned.iter().any(|waiting| waiting.dead().is_some()) {
            Due::Now
        } else if self.sending.is_under_way() {
            // Reading goes on meanwhile.
            Due::AtInterval
        } else if self.has_due() {
            Due::Now
        } else {
            Due::Never
        }
    }

    fn prepare(&mut self, now: i64) -> Result<Prepared, Error> {
        self.now = now;
        self.settle_dead();
        if !self.settled.is_empty() {
            return Ok(Prepared::Done);
        }
        let step = self.send_one(now);
        self.count_waiting();
        step
    }

    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        self.settled.iter().try_for_each(|settled| settled.write(&self.plan, now, self.trace.header(), sink))
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        Ok(self.owned.iter().map(Waiting::offset).collect())
    }

    fn committed(&mut self, _now: i64) {
        for settled in self.settled.drain(..) {
            settled.count(&self.metrics);
            self.sending.forget(&settled);
        }
    }

    fn discard(&mut self) {
        self.assigned.clear();
        self.owned.clear();
        self.settled.clear();
        self.trace = CommitTrace::default();
        self.failed = None;
        self.sending.rest();
        self.count_waiting();
    }

    fn stopping(&mut self) {
        self.stopping = true;
    }
}
