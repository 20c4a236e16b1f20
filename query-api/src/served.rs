//! One version of a view as it is read: where its rows are and what its windows mean.

use std::sync::Arc;

use tidemark_schemas::engine::Progress;
use tidemark_views::{Error, ViewStore, ViewVersion, Windowing};

use crate::facts::Facts;
use crate::instant;
use crate::scan::Source;

/// Windows looked at before the whole ledger is: the newest one with records is nearly always among them.
const RECENT_WINDOWS: i64 = 48;

/// A version of a view.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) source: Source,
    pub(crate) cut: Windowing,
    pub(crate) grace_ms: i64,
    pub(crate) idle_after_ms: i64,
}

impl Served {
    pub(crate) fn new(views: Arc<dyn ViewStore>, tenant: &str, version: &ViewVersion) -> Self {
        Self {
            source: Source::new(views, Arc::new(version.table.clone()), tenant.to_owned(), version.version),
            cut: version.window,
            grace_ms: version.grace_ms,
            idle_after_ms: version.idle_after_ms,
        }
    }

    /// Of the windows that start in `[from, to)`. Watermark first, then ledger: see [`crate::facts`].
    pub(crate) async fn facts(&self, from: i64, to: i64) -> Result<Facts, Error> {
        let progress: Vec<Progress> = self.source.views.progress(&self.source.view).await?;
        let ledgers = self.source.views.ledger(&self.source.view, from, to).await?;
        Ok(Facts::new(progress, ledgers, self.cut, self.grace_ms, self.source.view.retention_ms))
    }

    /// Of the newest windows there are; of all if there are none lately.
    pub(crate) async fn recent(&self, now: i64) -> Result<Facts, Error> {
        let from = now.saturating_sub(self.cut.step_ms().saturating_mul(RECENT_WINDOWS)).max(0);
        let facts = self.facts(from, instant::MAX_MS).await?;
        let found = facts.ledgers.iter().any(|l| l.rows > 0);
        if found || from == 0 { Ok(facts) } else { self.facts(0, instant::MAX_MS).await }
    }

    /// Start of the newest window that has rows, else of the current one.
    pub(crate) async fn newest(&self, now: i64) -> Result<i64, Error> {
        let facts = self.recent(now).await?;
        let newest = facts.ledgers.iter().filter(|l| l.rows > 0).map(|l| l.window_start).max();
        Ok(newest.unwrap_or(now - now.rem_euclid(self.cut.step_ms())))
    }
}
