//! HTTP out: windows, rows and how complete they are.
//!
//! Promise: every answer says how complete (open, final, amended, sealed), how fresh (watermark, as-of) and from which source
//! offsets it is, and its rows are never older than that says. Reads only: nothing here writes to the view.
//!
//! Limits: 10,000 rows per page, 31 days and 10,000 windows per range, 2,000,000 rows per grouping, 100 live streams; answers are kept in memory
//! up to [`QueryConfig::cache_bytes`].

use std::sync::Arc;

use tidemark_views::{Clock, ViewSpec, ViewStore, ViewVersion};
use tokio::sync::{Semaphore, watch};

mod answer;
mod cached;
mod catalog;
mod columns;
mod cursor;
mod dashboard;
mod facts;
mod flows;
mod health;
mod holding;
mod hours;
pub mod instant;
mod layers;
mod live;
mod metrics;
mod openapi;
mod pages;
mod params;
mod problem;
mod progress;
mod range;
mod routes;
mod scan;
mod served;
pub mod state;
mod status;
mod summary;
mod top;
mod totals;
mod values;
mod view;
mod views;
mod why;
mod windows;

pub use columns::{Flow, KEYS, Sums};
pub use facts::{Completeness, HourState, Source, WindowState};
pub use flows::{FlowsAnswer, Window};
pub use health::Check;
pub use holding::Holding;
pub use hours::{HourSummary, HoursAnswer};
pub use live::LiveEvent;
pub use openapi::openapi;
pub use problem::{Problem, Reason};
pub use progress::{Dropped, MergeProgress, ProgressAnswer, SourceCounts};
pub use range::{RANGE_HOURS_MAX, RANGE_WINDOWS_MAX};
pub use routes::{ENDPOINTS, finish, router, routes};
pub use status::{Status, StatusAnswer};
pub use summary::WindowSummary;
pub use top::{Group, TopAnswer};
pub use view::{ViewAnswer, ViewRow, ViewWindow};
pub use views::{KeyColumn, ValueColumn, VersionSummary, ViewSummary, ViewsAnswer};
pub use why::{Behind, HeldBy, MergeWindow, WhyAnswer};
pub use windows::WindowsAnswer;

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
    /// Asked by `/v1/health` too: what does not hold is told, and the process is ready all the same.
    pub warnings: Vec<Check>,
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

/// The read side: the hourly flows, and every view of the store's catalogue.
pub struct Api {
    flows: served::Served,
    catalog: catalog::Catalog,
    config: QueryConfig,
    columns: columns::Columns,
    clock: Clock,
    parts: Parts,
    cache: answer::Cache,
    totals: totals::Totals,
    live: live::Live,
    /// The answer of `/v1/views`.
    listed: cached::Cached<Arc<str>>,
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
        let source = scan::Source::new(views.clone(), Arc::new(config.view.clone()), config.tenant.clone(), 0);
        let (grace_ms, idle_after_ms) = (config.grace_ms, config.idle_after_ms);
        Ok(Arc::new(Self {
            flows: served::Served { source, cut: range::HOURS, grace_ms, idle_after_ms },
            catalog: catalog::Catalog::new(views),
            columns,
            clock,
            parts,
            cache: answer::cache(config.cache_bytes),
            totals: totals::Totals::default(),
            live: live::Live::default(),
            listed: cached::Cached::default(),
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

    /// A version of a view, to be read.
    fn served(&self, version: &ViewVersion) -> served::Served {
        served::Served::new(self.flows.source.views.clone(), &self.config.tenant, version)
    }
}
