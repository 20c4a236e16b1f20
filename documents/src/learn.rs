//! How long steps are expected to run, learned from the figures of the last day: read from the view store now and then, and told to
//! the queue when they have changed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tidemark_schemas::dispatch::{RunTime, RunTimesLearned};
use tidemark_views::{Row, RowPartition, RowQuery, ViewSpec};

use crate::Documents;
use crate::commands::Type;
use crate::problem::Problem;
use crate::topics::QUEUE;

/// The view of runs of steps by hour, step and media type.
const VIEW: &str = "documents.steps_hourly";
/// How far back figures count, milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;
/// Rows that are read of one hour and merge partition; steps times media types are far fewer.
const ROWS_MAX: usize = 10_000;
/// Run times that a queue keeps.
const TIMES_MAX: usize = 1_000;

/// How run times are learned: whoever folds the figures says how they are read.
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// How often the figures are looked at.
    pub every: Duration,
    /// Run times of the rows of the view with this table.
    pub run_times: fn(&ViewSpec, &[Row]) -> Vec<RunTime>,
    /// Whether the second are so different from the first that the queue is to know.
    pub differs: fn(&[RunTime], &[RunTime]) -> bool,
}

/// Learns until the service is gone.
async fn run(documents: Weak<Documents>, learning: Learning) {
    let mut told = Vec::new();
    loop {
        tokio::time::sleep(learning.every).await;
        let Some(documents) = documents.upgrade().filter(|documents| !documents.stop.stopping()) else { return };
        if let Err(problem) = documents.learn(&learning, &mut told).await {
            tracing::warn!(problem.detail, "run times could not be learned; trying again");
        }
    }
}

impl Documents {
    async fn learn(&self, learning: &Learning, told: &mut Vec<RunTime>) -> Result<(), Problem> {
        let Some(table) = self.figures().await? else { return Ok(()) };
        let rows = self.last_day(&table).await?;
        let mut times = (learning.run_times)(&table, &rows);
        times.truncate(TIMES_MAX);
        if !(learning.differs)(told, &times) {
            return Ok(());
        }
        let (tenant, queue) = (self.config.tenant.clone(), QUEUE.to_owned());
        let learned = RunTimesLearned { tenant: tenant.clone(), queue, times: times.clone() };
        self.commands.send(&tenant, QUEUE, Type::Learned, &learned).await?;
        tracing::info!(times = times.len(), "the queue is told what run times to expect");
        *told = times;
        Ok(())
    }

    /// The table of the view, when there is one.
    async fn figures(&self) -> Result<Option<ViewSpec>, Problem> {
        let catalog = self.views.catalog().await?;
        let entry = catalog.into_iter().find(|entry| entry.view == VIEW);
        Ok(entry.and_then(|entry| Some(entry.version(entry.current?)?.table.clone())))
    }

    /// The rows of the hours that began within the last day. The ledger says where there are some.
    async fn last_day(&self, table: &ViewSpec) -> Result<Vec<Row>, Problem> {
        let now = (self.clock)();
        let mut rows = Vec::new();
        for held in self.views.ledger(table, now - DAY_MS, now + 1).await? {
            let partition = RowPartition {
                tenant: self.config.tenant.clone(),
                window_start: held.window_start,
                merge_partition: held.merge_partition,
            };
            let query = RowQuery { partition, prefix: Vec::new(), after: None, limit: ROWS_MAX };
            rows.extend(self.views.rows(table, &query).await?);
        }
        Ok(rows)
    }
}

/// Begins to learn, if that is wanted.
pub(crate) fn start(documents: &Arc<Documents>, runtime: &tokio::runtime::Handle) {
    if let Some(learning) = documents.config.learning {
        runtime.spawn(run(Arc::downgrade(documents), learning));
    }
}
