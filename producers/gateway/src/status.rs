//! What the gateway tells of its spool: for the status page, for health, and for Prometheus.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidemark_spool::{Histogram, Kind};

use crate::Gateway;

impl Gateway {
    /// `{"spool": {"records", "bytes", "bytes_max", "oldest_age_ms" (null when empty), "last_error" (null or text), "damage"}}`.
    /// Never blocks.
    pub fn status(&self) -> Value {
        let spool = &self.shared.spool;
        let (depth, (damage, _)) = (spool.depth(), spool.damage());
        let damage: Vec<Value> = damage
            .iter()
            .map(|damage| {
                json!({
                    "segment": damage.segment, "kind": damage.kind.name(), "from": damage.bytes.start,
                    "to": damage.bytes.end, "entries_max": damage.entries_max,
                })
            })
            .collect();
        json!({"spool": {
            "records": depth.records,
            "bytes": depth.bytes,
            "bytes_max": spool.limits().bytes_max,
            "oldest_age_ms": spool.oldest_age_ms(),
            "last_error": spool.last_error().or_else(|| self.shared.behind()),
            "damage": damage,
        }})
    }

    /// Why publishing is behind, if it is: no reason to be taken out of service.
    pub fn note(&self) -> Option<String> {
        let records = self.shared.spool.depth().records;
        self.shared.behind().map(|why| format!("publishing is behind by {records} records: {why}; trying again"))
    }

    /// Appends everything that was counted in the Prometheus text format.
    pub fn render(&self, out: &mut String) {
        self.shared.metrics.render(out);
        let spool = &self.shared.spool;
        let (depth, stats) = (spool.depth(), spool.stats());
        let gauges = [
            ("records", "Records in the spool that are not published.", depth.records),
            ("bytes", "Bytes of them.", depth.bytes),
            ("max_bytes", "Bytes that the spool may hold.", spool.limits().bytes_max),
        ];
        for (name, help, value) in gauges {
            one(out, name, help, "gauge", value);
        }
        let age_ms = spool.oldest_age_ms().unwrap_or(0);
        one(out, "oldest_age_seconds", "Age of the oldest of them.", "gauge", age_ms as f64 / 1e3);
        one(out, "entries_total", "Requests made durable.", "counter", stats.entries());
        one(out, "refused_total", "Requests not taken because the spool was full.", "counter", stats.refused());
        one(out, "disk_failures_total", "Writes and syncs that the disk failed.", "counter", stats.failures());
        head(out, "damaged_entries_total", "Most requests lost to the disk, by kind of damage.", "counter");
        for kind in [Kind::Torn, Kind::Damaged, Kind::Missing] {
            let entries = spool.lost(kind);
            let _ = writeln!(out, "tidemark_spool_damaged_entries_total{{kind=\"{}\"}} {entries}", kind.name());
        }
        histogram(out, "append_duration_seconds", "Time from a request's append to its being durable.", &stats.appends);
        histogram(out, "sync_duration_seconds", "Time of one fdatasync, for all that waited.", &stats.syncs);
    }
}

// Writing to a String cannot fail.
fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP tidemark_spool_{name} {help}\n# TYPE tidemark_spool_{name} {kind}");
}

fn one(out: &mut String, name: &str, help: &str, kind: &str, value: impl std::fmt::Display) {
    head(out, name, help, kind);
    let _ = writeln!(out, "tidemark_spool_{name} {value}");
}

fn histogram(out: &mut String, name: &str, help: &str, times: &Histogram) {
    head(out, name, help, "histogram");
    for (bound, count) in times.cumulative() {
        let _ = writeln!(out, "tidemark_spool_{name}_bucket{{le=\"{}\"}} {count}", bound as f64 / 1e6);
    }
    let (count, seconds) = (times.count(), times.seconds());
    let _ = writeln!(out, "tidemark_spool_{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "tidemark_spool_{name}_sum {seconds}\ntidemark_spool_{name}_count {count}");
}
