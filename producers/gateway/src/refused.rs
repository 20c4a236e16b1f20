//! Events that the log refuses for good, set aside in a file: one JSON object a line.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::commit::flow;
use crate::plan::EventPlace;

/// In the spool's directory.
const FILE: &str = "refused.ndjson";

/// The file, and what this process has put there.
pub(crate) struct Refused {
    path: PathBuf,
    written: BTreeSet<EventPlace>,
}

impl Refused {
    pub(crate) fn new(spool_dir: &Path) -> Self {
        Self { path: spool_dir.join(FILE), written: BTreeSet::new() }
    }

    /// Appends an event, durable on return.
    pub(crate) fn write(&mut self, event: EventPlace, value: &[u8], why: &str, now: i64) -> io::Result<()> {
        if self.written.contains(&event) {
            return Ok(());
        }
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let event_id = flow(value).map(|flow| flow.event_id);
        let line = serde_json::json!({ "at": now, "event_id": event_id, "why": why, "value_hex": hex });
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "{line}")?;
        file.sync_all()?;
        self.written.insert(event);
        Ok(())
    }
}
