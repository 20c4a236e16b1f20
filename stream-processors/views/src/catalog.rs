//! The catalogue: which views there are, their versions, and which version a bare name means. It is kept in the view store, so
//! that a process that serves queries needs nothing but the store.

use serde::{Deserialize, Serialize};

use crate::{Error, ViewSpec};

/// Longest name of a view.
pub const NAME_BYTES_MAX: usize = 128;
/// Highest revision of an entry: below the microseconds of today, as for rows.
pub const REVISION_MAX: i64 = 1 << 50;

/// A view: its versions, and the one that its name means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// Name: letters, digits, `.`, `_` and `-`, 1 to [`NAME_BYTES_MAX`] bytes; `access.hourly`.
    pub view: String,
    /// Of two entries of one view the higher stays; 0 to [`REVISION_MAX`]. Equal revisions have equal contents.
    pub revision: i64,
    /// The version that is served under the bare name, one of `versions`; none while the first one catches up.
    pub current: Option<u32>,
    /// The version that was current before, one of `versions`: what a rollback goes back to.
    pub previous: Option<u32>,
    /// All that can be read. With none the view is not listed any more.
    pub versions: Vec<ViewVersion>,
}

impl CatalogEntry {
    /// A version by its number.
    pub fn version(&self, version: u32) -> Option<&ViewVersion> {
        self.versions.iter().find(|v| v.version == version)
    }

    /// What both stores refuse before they write.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let ensure = |ok: bool, reason: &str| {
            let refused = || Error::Invalid { view: self.view.clone(), reason: reason.to_owned() };
            if ok { Ok(()) } else { Err(refused()) }
        };
        let plain = self.view.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        ensure(
            plain && (1..=NAME_BYTES_MAX).contains(&self.view.len()),
            "a view's name in the catalogue is letters, digits, `.`, `_` and `-`, 1 to 128 bytes",
        )?;
        ensure((0..=REVISION_MAX).contains(&self.revision), "`revision` of a catalogue entry is 0 to 2^50")?;
        let known = |version: Option<u32>| version.is_none_or(|v| self.version(v).is_some());
        ensure(known(self.current), "`current` is none of `versions`; name one of them or null")?;
        ensure(known(self.previous), "`previous` is none of `versions`; name one of them or null")?;
        let twice = |(at, v): (usize, &ViewVersion)| self.versions.iter().take(at).any(|w| w.version == v.version);
        ensure(!self.versions.iter().enumerate().any(twice), "two of `versions` have one number; give each its own")?;
        let cut = self.versions.iter().all(|v| v.window.lengths().into_iter().all(|ms| ms >= 1));
        ensure(cut, "a length of a `window` is not positive; give 1 ms or more")?;
        self.versions.iter().try_for_each(|version| crate::check::spec(&version.table))
    }
}

/// A version of a view: where it is and how it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewVersion {
    /// Of the job.
    pub version: u32,
    /// Its table.
    pub table: ViewSpec,
    /// Its windows.
    pub window: Windowing,
    /// A window is open until every watermark is this many milliseconds past its end.
    pub grace_ms: i64,
    /// Milliseconds after that for which late records still change it; then it is sealed.
    pub amend_for_ms: i64,
    /// A silent source partition counts as read up to so many milliseconds ago.
    pub idle_after_ms: i64,
    /// Source topics.
    pub sources: Vec<String>,
    /// How far the view may lag behind before an alarm; none without one.
    pub freshness_ms: Option<i64>,
    /// In words, for people; may be empty.
    pub description: String,
    /// What is to be said of its value columns.
    pub columns: Vec<ColumnNote>,
    /// The key, in order: the names of the clustering columns.
    pub key: Vec<String>,
    /// The job's YAML; may be empty.
    pub spec: String,
}

impl ViewVersion {
    /// What is said of a value column.
    pub fn note(&self, column: &str) -> Option<&ColumnNote> {
        self.columns.iter().find(|note| note.name == column)
    }
}

/// What is to be said of a value column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnNote {
    /// Name of the column.
    pub name: String,
    /// In words; may be empty.
    pub description: String,
    /// The relative error that is stated for it, 0.01 for one percent; none when it is exact.
    pub error: Option<f64>,
}

/// How time is cut, in milliseconds. Windows are half-open, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Windowing {
    /// One after the other, from the epoch.
    Tumbling {
        /// Length.
        size_ms: i64,
    },
    /// Overlapping: one starts each `hop_ms`.
    Hopping {
        /// Length.
        size_ms: i64,
        /// From one start to the next.
        hop_ms: i64,
    },
    /// By key, until nothing comes for `gap_ms`; kept under the start of the bucket that the session starts in.
    Session {
        /// Silence that ends a session.
        gap_ms: i64,
        /// Length of a bucket.
        bucket_ms: i64,
    },
}

impl Windowing {
    /// Milliseconds from one start to the next, at least 1: every window start is a multiple of it.
    pub fn step_ms(self) -> i64 {
        let step_ms = match self {
            Self::Tumbling { size_ms } => size_ms,
            Self::Hopping { hop_ms, .. } => hop_ms,
            Self::Session { bucket_ms, .. } => bucket_ms,
        };
        step_ms.max(1)
    }

    fn lengths(self) -> [i64; 2] {
        match self {
            Self::Tumbling { size_ms } => [size_ms, size_ms],
            Self::Hopping { size_ms, hop_ms } => [size_ms, hop_ms],
            Self::Session { gap_ms, bucket_ms } => [gap_ms, bucket_ms],
        }
    }

    /// Milliseconds from a start to its end; of a session bucket without the session that outlasts it.
    pub fn size_ms(self) -> i64 {
        match self {
            Self::Tumbling { size_ms } | Self::Hopping { size_ms, .. } => size_ms,
            Self::Session { bucket_ms, .. } => bucket_ms,
        }
    }
}

/// The entry as it is kept.
pub(crate) fn write(entry: &CatalogEntry) -> Result<String, Error> {
    let invalid = |e: serde_json::Error| Error::Invalid { view: entry.view.clone(), reason: e.to_string() };
    serde_json::to_string(entry).map_err(invalid)
}

/// An entry that was kept.
pub(crate) fn read(view: &str, text: &[u8]) -> Result<CatalogEntry, Error> {
    serde_json::from_slice(text).map_err(|e| Error::Invalid {
        view: view.to_owned(),
        reason: format!("its catalogue entry cannot be read: {e}; apply the job again"),
    })
}

/// The views that are listed, by name.
pub(crate) fn listed(mut entries: Vec<CatalogEntry>) -> Vec<CatalogEntry> {
    entries.retain(|entry| !entry.versions.is_empty());
    entries.sort_by(|a, b| a.view.cmp(&b.view));
    entries
}
