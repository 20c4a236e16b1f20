//! Lets a stage's operator outlive the stage, as it does on a stage thread that goes on after an error.

use std::sync::{Arc, Mutex};

use tidemark_log::{Batch, GroupOffset, Member, Sink, TopicPartition};
use tidemark_runtime::Error;
use tidemark_runtime::drive::{Backlog, Context, Due, Operator, Prepared, StageConfig};
use tidemark_runtime::metrics::StageStatus;
use tidemark_runtime::trace::CommitTrace;

/// A production operator, shared by the stages that run it one after the other.
pub(crate) type Shared = Arc<Mutex<Box<dyn Operator>>>;

/// Hands every call on to the operator.
pub(crate) struct Seat {
    operator: Shared,
    trace: CommitTrace,
}

impl Seat {
    pub(crate) fn new(operator: &Shared) -> Self {
        Self { operator: Arc::clone(operator), trace: CommitTrace::default() }
    }
}

/// What one stage borrows from.
pub(crate) struct Slot {
    pub(crate) context: Context,
    pub(crate) seat: Seat,
    pub(crate) config: StageConfig,
    pub(crate) status: StageStatus,
}

impl Operator for Seat {
    fn stage(&self) -> &'static str {
        self.operator.lock().unwrap().stage()
    }
    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.operator.lock().unwrap().assign(owned, now)
    }
    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        self.operator.lock().unwrap().restore()
    }
    fn fold(&mut self, batch: Batch<'_>, now: i64) {
        self.operator.lock().unwrap().fold(batch, now);
    }
    fn backlog(&self) -> Backlog {
        self.operator.lock().unwrap().backlog()
    }
    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }
    fn check(&mut self) -> Result<(), Error> {
        self.operator.lock().unwrap().check()
    }
    fn tick(&mut self, member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.operator.lock().unwrap().tick(member, now)
    }
    fn due(&self) -> Due {
        self.operator.lock().unwrap().due()
    }
    fn prepare(&mut self, now: i64) -> Result<Prepared, Error> {
        self.operator.lock().unwrap().prepare(now)
    }
    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        self.operator.lock().unwrap().produce(now, sink)
    }
    fn offsets(&self, member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        self.operator.lock().unwrap().offsets(member)
    }
    fn committed(&mut self, now: i64) {
        self.operator.lock().unwrap().committed(now);
    }
    fn discard(&mut self) {
        self.operator.lock().unwrap().discard();
    }
    fn stopping(&mut self) {
        self.operator.lock().unwrap().stopping();
    }
    fn left(&mut self) {
        self.operator.lock().unwrap().left();
    }
}
