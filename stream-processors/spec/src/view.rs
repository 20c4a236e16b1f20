//! Views as sources: what a job that reads one has to know of it.

use serde_json::{Map, Value as Json, json};
use tidemark_core::{Job, JobSpec, Windowing};

use crate::job::SpecJob;

/// The attribute of a row's schema that has what Avro has no place for.
const ATTRIBUTE: &str = "tidemark.view";

/// A version of a view, as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name, which is its job's.
    pub name: String,
    /// Version of the job.
    pub version: u32,
    /// Schema of its rows, Avro JSON.
    pub schema: String,
    /// The columns that, with `window_start`, tell its rows apart; tenant first.
    pub key: Vec<String>,
    /// Its windows.
    pub window: Windowing,
    /// So long after its end a window of it waits for stragglers.
    pub grace_ms: i64,
    /// So far may its watermark be behind when nothing comes.
    pub idle_after_ms: i64,
    /// So far ahead of its arrival may a record of it be.
    pub max_future_ms: i64,
}

impl View {
    /// Of a job whose rows are of this schema.
    pub fn new(spec: &JobSpec, schema: &str) -> Self {
        let session_start = spec.window.gap_ms().map(|_| "session_start".to_owned());
        Self {
            name: spec.name.clone(),
            version: spec.version,
            schema: schema.to_owned(),
            key: spec.key.iter().cloned().chain(session_start).collect(),
            window: spec.window,
            grace_ms: spec.grace_ms,
            idle_after_ms: spec.idle_after_ms,
            max_future_ms: spec.max_future_ms,
        }
    }

    /// Of a job from a file.
    pub fn of(job: &SpecJob) -> Self {
        let view = Self::new(job.spec(), &job.columns().schema.avsc);
        // What reads views itself is as late and as early as they are, and is told so by them.
        let idle_after_ms = job.views().map(|read| read.idle_after_ms).max().unwrap_or(view.idle_after_ms);
        let max_future_ms = job.views().map(|read| read.max_future_ms).max().unwrap_or(view.max_future_ms);
        Self { idle_after_ms, max_future_ms, ..view }
    }

    /// The topic with its rows.
    pub fn topic(&self) -> String {
        format!("view.{}.v{}", self.name, self.version)
    }

    /// Whether a column is the same in every revision of a row.
    pub fn is_fixed(&self, column: &str) -> bool {
        column == "window_start" || self.key.iter().any(|key| key == column)
    }

    /// So long after its own end a window over this view waits until the windows of the view that are in it are final: of windows
    /// that end where those of the view do, as days over hours, the view's grace; else the length of one more.
    ///
    /// Without windows: of event times that are not `window_start`. Sessions that go on beyond the hour that they begin in come
    /// later, and amend.
    pub fn wait_ms(&self, window: Option<Windowing>) -> i64 {
        let (size, hop) =
            (self.window.size_ms().saturating_add(self.window.gap_ms().unwrap_or(0)), self.window.hop_ms());
        let aligned = window.is_some_and(|window| window.size_ms() % hop == 0 && window.hop_ms() % hop == 0);
        self.grace_ms.saturating_add(size).saturating_sub(if aligned { hop } else { 0 })
    }

    /// The schema of its rows, with the rest of what is said here as an attribute: what a job version that reads it keeps.
    pub fn avsc(&self) -> String {
        let window = match self.window {
            Windowing::Tumbling { size_ms } => json!({"tumbling_ms": size_ms}),
            Windowing::Hopping { size_ms, hop_ms } => json!({"hopping_ms": size_ms, "every_ms": hop_ms}),
            Windowing::Session { gap_ms } => json!({"session_ms": gap_ms}),
        };
        let mut schema: Map<String, Json> = serde_json::from_str(&self.schema).unwrap_or_default();
        let said = json!({
            "name": self.name,
            "version": self.version,
            "key": self.key,
            "window": window,
            "grace_ms": self.grace_ms,
            "idle_after_ms": self.idle_after_ms,
            "max_future_ms": self.max_future_ms,
        });
        schema.insert(ATTRIBUTE.to_owned(), said);
        Json::Object(schema).to_string()
    }

    /// Reads [`View::avsc`] back; none when the attribute is not there.
    pub fn parse(avsc: &str) -> Option<Self> {
        let mut schema: Map<String, Json> = serde_json::from_str(avsc).ok()?;
        let said = schema.remove(ATTRIBUTE)?;
        let number = |of: &Json, key: &str| of.get(key).and_then(Json::as_i64);
        let window = said.get("window")?;
        let lengths = ["tumbling_ms", "hopping_ms", "every_ms", "session_ms"].map(|key| number(window, key));
        let window = match lengths {
            [Some(size_ms), None, None, None] => Windowing::Tumbling { size_ms },
            [None, Some(size_ms), Some(hop_ms), None] => Windowing::Hopping { size_ms, hop_ms },
            [None, None, None, Some(gap_ms)] => Windowing::Session { gap_ms },
            _ => return None,
        };
        let key = said.get("key")?.as_array()?.iter().map(|key| key.as_str().map(str::to_owned));
        Some(Self {
            name: said.get("name")?.as_str()?.to_owned(),
            version: number(&said, "version").and_then(|version| u32::try_from(version).ok())?,
            key: key.collect::<Option<_>>()?,
            window,
            grace_ms: number(&said, "grace_ms")?,
            idle_after_ms: number(&said, "idle_after_ms")?,
            max_future_ms: number(&said, "max_future_ms")?,
            schema: Json::Object(schema).to_string(),
        })
    }
}

/// A view that a file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Name of the job that reads it.
    pub by: &'a str,
    /// Its version: one that was applied goes on with what it has.
    pub by_version: u32,
    /// Name of the view.
    pub view: &'a str,
    /// Its version; none: the one that is current.
    pub version: Option<u32>,
}

/// A row as a test or a sample gives it, with what else a row has: a later one of the same row is a later revision.
pub fn completed(row: &Json, number: i64) -> Json {
    let Json::Object(given) = row else { return row.clone() };
    let mut whole = given.clone();
    let mut unless_given = |name: &str, value: Json| {
        whole.entry(name).or_insert(value);
    };
    unless_given("tenant", json!("default"));
    unless_given("records", json!(1));
    unless_given("epoch", json!(1));
    unless_given("revision", json!(number));
    Json::Object(whole)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const SCHEMA: &str = r#"{"type":"record","name":"Hourly","fields":[]}"#;

    fn view(window: Windowing) -> View {
        View {
            name: "access.hourly".into(),
            version: 2,
            schema: SCHEMA.into(),
            key: vec!["tenant".into(), "class".into()],
            window,
            grace_ms: 600_000,
            idle_after_ms: 30_000,
            max_future_ms: 600_000,
        }
    }

    #[test]
    fn what_is_kept_in_the_schema_comes_back() {
        for window in [
            Windowing::Tumbling { size_ms: HOUR },
            Windowing::Hopping { size_ms: HOUR, hop_ms: HOUR / 6 },
            Windowing::Session { gap_ms: HOUR / 2 },
        ] {
            let view = view(window);
            let back = View::parse(&view.avsc()).unwrap();
            let plain = |text: &str| serde_json::from_str::<Json>(text).unwrap();
            assert_eq!(plain(&back.schema), plain(SCHEMA));
            assert_eq!(View { schema: SCHEMA.into(), ..back }, view);
        }
        assert_eq!(View::parse(SCHEMA), None);
    }

    /// By hand: the last window of the view that begins in a day is final at its end and grace.
    #[test]
    fn a_window_waits_for_those_in_it() {
        let day = Windowing::Tumbling { size_ms: 24 * HOUR };
        assert_eq!(
            view(Windowing::Tumbling { size_ms: HOUR }).wait_ms(Some(day)),
            600_000,
            "23:00 to 24:00, and 10 minutes"
        );
        assert_eq!(
            view(Windowing::Tumbling { size_ms: 7 * HOUR }).wait_ms(Some(day)),
            7 * HOUR + 600_000,
            "one may begin just before midnight"
        );
        assert_eq!(
            view(Windowing::Hopping { size_ms: HOUR, hop_ms: HOUR / 6 }).wait_ms(Some(day)),
            HOUR - HOUR / 6 + 600_000,
            "23:50 to 00:50, and 10 minutes"
        );
        assert_eq!(
            view(Windowing::Session { gap_ms: HOUR / 2 }).wait_ms(Some(day)),
            HOUR / 2 + 600_000,
            "of the hour from 23:00 the last event, half an hour, and 10 minutes"
        );
        assert_eq!(
            view(Windowing::Tumbling { size_ms: HOUR }).wait_ms(None),
            HOUR + 600_000,
            "one may begin at any time"
        );
    }
}
