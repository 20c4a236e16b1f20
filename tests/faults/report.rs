//! What a fault did, as a row of `docs/faults.md`: kept as JSON under `tests/faults/results`, one file a fault, so that runs can be cut
//! and resumed; `tidemark-trials table` puts them together.

use std::time::Duration;

use tidemark_harness::trials;

use crate::rest::Verdict;
use crate::world::World;

/// A fault, its trials, and what came out.
pub struct Row {
    pub fault: &'static str,
    pub recoveries: Vec<Duration>,
    /// Of this fault alone.
    pub records: u64,
    pub verdict: Verdict,
}

impl Row {
    /// One line for people.
    pub fn print(&self) {
        let Self { fault, recoveries, records, verdict } = self;
        let (lost, doubled, wrong) = (verdict.lost, verdict.doubled, &verdict.wrong);
        eprintln!(
            "{fault}: {records} records, lost {lost}, doubled {doubled}, recovered in {recoveries:.1?} {wrong:?}"
        );
    }

    /// Writes `tests/faults/results/<fault>.json`.
    pub fn save(&self, world: &World) {
        let dir = trials::results();
        std::fs::create_dir_all(&dir).unwrap();
        let millis: Vec<u64> = self.recoveries.iter().map(|recovery| recovery.as_millis() as u64).collect();
        let row = serde_json::json!({
            "fault": self.fault,
            "trials": self.recoveries.len(),
            "records": self.records,
            "lost": self.verdict.lost,
            "doubled": self.verdict.doubled,
            "wrong": self.verdict.wrong,
            "recovery_ms": millis,
            "seed": world.settings.seed,
            "stamp": trials::stamp(),
        });
        std::fs::write(dir.join(format!("{}.json", self.fault)), row.to_string()).unwrap();
    }
}
