//! HTTP out: windows, rows and how complete they are.
//!
//! Promise: every answer says how complete (open, final, amended, sealed), how fresh (watermark, as-of) and from which source
//! offsets it is, and its rows are never older than that says. Reads only: nothing here writes to the view.
//!
//! Limits: 10,000 rows per page, 31 days per range, 2,000,000 rows per grouping, 100 live streams; answers are kept in memory
//! up to [`QueryConfig::cache_bytes`].

use std::sync::Arc;

use tidemark_schemas::engine::Progress;
use tidemark_views::{Clock, ViewSpec, ViewStore};
use tokio::sync::{Semaphore, watch};

mod answer;
mod columns;
mod cursor;
mod dashboard;
mod facts;
mod flows;
mod health;
mod hours;
pub mod instant;
mod layers;
mod live;
mod metrics;
mod openapi;
mod params;
mod problem;
mod progress;
mod routes;
mod scan;
pub mod state;
mod status;
mod top;
mod totals;

pub use columns::{Flow, KEYS, Sums};
pub use facts::{Completeness, HourState, Source};
pub use flows::{FlowsAnswer, Window};
pub use health::Check;
pub use hours::{HourSummary, HoursAnswer};
pub use live::LiveEvent;
pub use openapi::openapi;
pub use params::RANGE_HOURS_MAX;
pub use problem::{Problem, Reason};
pub use progress::{Dropped, Holding, MergeProgress, ProgressAnswer, SourceCounts};
pub use routes::{ENDPOINTS, finish, router, routes};
pub use status::{Status, StatusAnswer};
pub use top::{Group, TopAnswer};

/// Appends Prometheus text to the answer of `/metrics`; called on each scrape, must not block.
pub type Render = Arc<dyn Fn(&mut String) + Send + Sync>;

/// What is served.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// The view of hourly flows: clustering columns `src_app`, `dest_app`, `vpc_id`; values `bytes_rx`, `bytes_tx`, `records`.
    pub view: ViewSpec,
    /// Whose data is served.
    pub tenant: String,
    /// The job's grace in milliseconds: an hour is open until every watermark is this far past its end.
    pub grace_ms: i64,
    /// The job's `idle_after` in milliseconds: from then on a silent source partition counts as read up to that long ago.
    pub idle_after_ms: i64,
    /// Memory for answers that are served again, in bytes; 0 keeps none.
    pub cache_bytes: u64,
}

impl QueryConfig {
    /// With tenant `default` and 64 MiB of cache.
    pub fn new(view: ViewSpec, grace_ms: i64, idle_after_ms: i64) -> Self {
        Self { view, tenant: "default".to_owned(), grace_ms, idle_after_ms, cache_bytes: 64 << 20 }
    }
}

/// What the process around the API adds to its answers.
#[derive(Clone, Default)]
pub struct Parts {
    /// Asked by `/v1/health`, besides whether the view store answers.
    pub checks: Vec<Check>,
    /// Asked by `/metrics`, besides the API's own.
    pub metrics: Vec<Render>,
    /// Asked by `/v1/status`.
    pub status: Vec<Status>,
    /// Merged into `/v1/openapi.json`.
    pub docs: Vec<utoipa::openapi::OpenApi>,
}

/// The configuration contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("view {view} cannot be served as hourly flows: {reason}")]
pub struct ConfigError {
    /// Name of the view.
    pub view: String,
    /// What is wrong.
    pub reason: String,
}

/// The read side of one view of hourly flows.
pub struct Api {
    source: scan::Source,
    config: QueryConfig,
    columns: columns::Columns,
    clock: Clock,
    parts: Parts,
    cache: answer::Cache,
    totals: totals::Totals,
    live: live::Live,
    metrics: metrics::Metrics,
    groupings: Semaphore,
    closing: watch::Sender<bool>,
}

/// Groupings that run at a time; the others wait. Each reads up to 2,000,000 rows.
const GROUPINGS_MAX: usize = 2;

impl Api {
    /// Checks that the view has the columns of hourly flows; opens nothing.
    pub fn new(
        views: Arc<dyn ViewStore>,
        config: QueryConfig,
        clock: Clock,
        parts: Parts,
    ) -> Result<Arc<Self>, ConfigError> {
        let columns = columns::Columns::of(&config.view)
            .map_err(|reason| ConfigError { view: config.view.name.clone(), reason })?;
        let source = scan::Source { views, view: Arc::new(config.view.clone()), tenant: config.tenant.clone() };
        Ok(Arc::new(Self {
            source,
            columns,
            clock,
            parts,
            cache: answer::cache(config.cache_bytes),
            totals: totals::Totals::default(),
            live: live::Live::default(),
            metrics: metrics::Metrics::default(),
            groupings: Semaphore::new(GROUPINGS_MAX),
            closing: watch::Sender::new(false),
            config,
        }))
    }

    /// Ends the live streams, so that a server that waits for open connections can stop.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Watermark first, then ledger: see [`facts`].
    async fn facts(&self, from: i64, to: i64) -> Result<facts::Facts, tidemark_views::Error> {
        let progress: Vec<Progress> = self.source.views.progress(&self.source.view).await?;
        let ledgers = self.source.views.ledger(&self.source.view, from, to).await?;
        Ok(facts::Facts::new(progress, ledgers, self.config.grace_ms, self.config.view.retention_ms))
    }
}
