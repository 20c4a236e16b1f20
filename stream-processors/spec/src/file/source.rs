//! `source`: what is read, and how its time goes.

use super::Placed;
use super::read::{Keys, Reader};
use crate::problem::Problem;
use tidemark_core::NEVER_MS;

/// A view that is read: `access.hourly`, or `access.hourly@2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewName {
    /// Name of the view.
    pub name: String,
    /// Of its job; the one that is current when the file is applied unless it is given.
    pub version: Option<u32>,
}

/// The keys under `source`.
pub(super) struct Source {
    pub(super) topics: Vec<Placed<String>>,
    pub(super) views: Vec<Placed<ViewName>>,
    pub(super) time: Placed<String>,
    pub(super) grace: Placed<i64>,
    pub(super) grace_given: bool,
    pub(super) idle_after_ms: i64,
    pub(super) max_future_ms: i64,
    pub(super) dedupe: Option<(Placed<String>, i64)>,
}

impl Reader {
    pub(super) fn source(&mut self, keys: &Keys<'_>) -> Option<Source> {
        let (topics, views) = match (keys.get("topics"), keys.get("views")) {
            (Some(node), None) => (self.texts(node, "source.topics"), Vec::new()),
            (None, Some(node)) => {
                let names = self.texts(node, "source.views");
                (Vec::new(), names.into_iter().filter_map(|name| self.view_name(name)).collect())
            }
            (Some(_), Some(views)) => {
                let what = "`source` has both `topics` and `views`: their records do not fit together, as a row of a view replaces \
                            the one before it";
                self.fail(Problem::new(views.at, what).fix("read one of them, or make two jobs"));
                (Vec::new(), Vec::new())
            }
            (None, None) => {
                self.missing(
                    keys,
                    "topics",
                    "name the topic that is read: `topics: flows.observed`, or a view: `views: flows.hourly`",
                );
                (Vec::new(), Vec::new())
            }
        };
        let of_views = keys.get("views").is_some();
        let time = match keys.get("time") {
            None if of_views => Some(Placed { at: keys.at, value: "window_start".to_owned() }),
            _ => self.required(keys, "time", "name the field of the schema that is the event time"),
        };
        let (grace, idle, future) =
            (self.duration(keys, "grace"), self.positive(keys, "idle_after"), self.duration(keys, "max_future"));
        let dedupe = match keys.get("dedupe") {
            None => None,
            Some(node) => {
                let keys = self.keys(node, "source.dedupe")?;
                let by = self.required(&keys, "by", "name the field that is unique to a record");
                let for_ms = self.positive(&keys, "for");
                Some((by?, for_ms?.value))
            }
        };
        let (mut idle_after_ms, mut max_future_ms) = (idle?.value, future?.value);
        if of_views {
            self.not_of_views(keys);
            (idle_after_ms, max_future_ms) = (NEVER_MS, NEVER_MS);
        }
        let grace_given = keys.get("grace").is_some();
        Some(Source { topics, views, time: time?, grace: grace?, grace_given, idle_after_ms, max_future_ms, dedupe })
    }

    fn not_of_views(&mut self, keys: &Keys<'_>) {
        let why = [
            ("idle_after", "a view says by itself how far its rows are complete, also when nothing comes"),
            ("max_future", "the job of a view has judged its records by that already"),
            ("dedupe", "of each row of a view its latest revision counts, however often it comes"),
        ];
        for (key, why) in why {
            if let Some(node) = keys.get(key) {
                self.fail(Problem::new(node.at, format!("`source.{key}` is not of views: {why}")).fix("leave it out"));
            }
        }
    }

    fn view_name(&mut self, placed: Placed<String>) -> Option<Placed<ViewName>> {
        let Placed { at, value } = placed;
        let parsed = match value.split_once('@') {
            None => Some(ViewName { name: value.clone(), version: None }),
            Some((name, version)) => version
                .parse()
                .ok()
                .filter(|version| *version >= 1)
                .map(|version| ViewName { name: name.to_owned(), version: Some(version) }),
        };
        if parsed.is_none() {
            let fix = "write `access.hourly` for the version that is current, or `access.hourly@2`";
            self.fail(Problem::new(at, format!("`source.views` names `{value}`, whose version is no number")).fix(fix));
        }
        parsed.map(|value| Placed { at, value })
    }
}
