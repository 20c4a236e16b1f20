//! Events that the log refuses for good, set aside in a file: one JSON object a line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tidemark_log::Error as LogError;
use uuid::Uuid;

use crate::commit::{Commit, flow};
use crate::plan::EventPlace;

/// In the spool's directory.
const FILE: &str = "refused.ndjson";

/// The file, and what this process has put there.
pub(crate) struct Refused {
    path: PathBuf,
    written: BTreeSet<EventPlace>,
}

/// An event to be set aside.
pub(crate) struct SetAside<'e> {
    pub(crate) place: EventPlace,
    pub(crate) topic: &'e str,
    /// Of flows it is in the value.
    pub(crate) id: Option<Uuid>,
    pub(crate) value: &'e [u8],
    pub(crate) why: &'e str,
}

impl Refused {
    pub(crate) fn new(spool_dir: &Path) -> Self {
        Self { path: spool_dir.join(FILE), written: BTreeSet::new() }
    }

    /// Appends events, durable on return, and says how many were not there yet.
    pub(crate) fn write<'e>(&mut self, events: impl Iterator<Item = SetAside<'e>>, now: i64) -> io::Result<usize> {
        let (mut lines, mut places) = (String::new(), Vec::new());
        for event in events.filter(|event| !self.written.contains(&event.place)) {
            let SetAside { place, topic, id, value, why } = event;
            let hex = value.iter().fold(String::with_capacity(value.len() * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}"); // to a String it cannot fail
                hex
            });
            let event_id = id.map(|id| id.to_string()).or_else(|| flow(value).map(|flow| flow.event_id.to_owned()));
            let line =
                serde_json::json!({ "at": now, "topic": topic, "event_id": event_id, "why": why, "value_hex": hex });
            lines.push_str(&line.to_string());
            lines.push('\n');
            places.push(place);
        }
        if places.is_empty() {
            return Ok(0);
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        let count = places.len();
        self.written.extend(places);
        Ok(count)
    }

    /// Sets aside the events of a commit whose topics are gone, durable before the commit passes over them.
    pub(crate) fn strand(&mut self, commit: &Commit<'_>, now: i64) -> Result<usize, LogError> {
        let stranded = commit.stranded()?;
        let why = "its topic is gone";
        let events = stranded.iter().map(|event| SetAside {
            place: event.place,
            topic: event.topic,
            id: event.id,
            value: event.value,
            why,
        });
        let count = self.write(events, now).map_err(|error| {
            LogError::Retriable(format!("events of a topic that is gone cannot be set aside: {error}"))
        })?;
        if count > 0 {
            let topics: std::collections::BTreeSet<&str> = stranded.iter().map(|event| event.topic).collect();
            tracing::error!(
                events = count,
                ?topics,
                "topics are gone; their events are set aside in refused.ndjson of the spool"
            );
        }
        Ok(count)
    }
}
