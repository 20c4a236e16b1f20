//! A window in figures.

use serde::Serialize;
use tidemark_schemas::engine::Ledger;
use utoipa::ToSchema;

use crate::facts::{Counts, Facts};
use crate::instant;
use crate::state::State as WindowState;

/// A window and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WindowSummary {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339, not in it.
    pub end: String,
    /// How complete it is.
    pub state: WindowState,
    /// Distinct keys.
    pub rows: i64,
    /// Records in the rows.
    pub records: i64,
    /// Records that came late: the three below together.
    pub late: i64,
    /// Late, and in the rows.
    pub late_folded: i64,
    /// Late, and not in the rows.
    pub late_held: i64,
    /// Came after sealing; not in the rows.
    pub sealed_out: i64,
    /// When its first record was folded, RFC 3339.
    pub opened_at: Option<String>,
    /// When its last change was, RFC 3339.
    pub updated_at: Option<String>,
    /// When it became final, RFC 3339; null while it is open.
    pub closed_at: Option<String>,
    /// When it was recomputed from its records and written anew, RFC 3339; null while it is as it was streamed.
    pub recomputed_at: Option<String>,
}

impl WindowSummary {
    /// Of a window's ledger entries, of which there is one at least.
    pub(crate) fn of(facts: &Facts, window: &[Ledger]) -> Self {
        let start = window.first().map_or(0, |l| l.window_start);
        let (count, state) = (Counts::of(window), facts.state(start));
        Self {
            start: instant::rfc3339(start),
            end: instant::rfc3339(facts.end(start)),
            state,
            rows: count.rows,
            records: count.records,
            late: count.late(),
            late_folded: count.late_folded,
            late_held: count.late_held,
            sealed_out: count.sealed_out,
            opened_at: window.iter().map(|l| l.opened_at).min().map(instant::rfc3339),
            updated_at: window.iter().map(|l| l.updated_at).max().map(instant::rfc3339),
            closed_at: closed_at(window).filter(|_| state != WindowState::Open).map(instant::rfc3339),
            recomputed_at: recomputed_at(window).map(instant::rfc3339),
        }
    }
}

/// Rows as they were streamed have this epoch or a lower one; each recomputation that is written has the next.
const STREAMED_EPOCH: i32 = 1;

/// When a merge partition last took a recomputation in.
pub(crate) fn recomputed_at(window: &[Ledger]) -> Option<i64> {
    window.iter().filter(|l| l.epoch > STREAMED_EPOCH).map(|l| l.updated_at).max()
}

/// When the last merge partition that has records of it closed it; `None` while one has not.
pub(crate) fn closed_at(window: &[Ledger]) -> Option<i64> {
    let closed = window.iter().map(|l| l.closed_at).collect::<Option<Vec<_>>>();
    closed.and_then(|all| all.into_iter().max())
}
