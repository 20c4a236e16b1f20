//! The busiest minute of every hour, by status class: a fold that no aggregate of a job file gives.
//!
//! `cargo test -p tidemark-spec --example peaks` runs its test; `cargo run -p tidemark-spec --example peaks < sample.ndjson`
//! shows the rows of a sample.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;
use tidemark_core::value::Place;
use tidemark_core::{Accumulator, Reject};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_spec::builder::Late;
use tidemark_spec::trial::Trial;
use tidemark_spec::{Builder, Fold, Problems, RustJob};

/// Bytes of each minute of the hour that has any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Minutes(Vec<i64>);

/// Adding goes minute by minute, so that neither the order of records nor their split over partitions changes anything.
impl Accumulator for Minutes {
    /// The minute, and its bytes.
    type Item<'a> = (usize, i64);

    fn add(&mut self, (minute, bytes): &(usize, i64)) {
        if self.0.len() <= *minute {
            self.0.resize(*minute + 1, 0);
        }
        if let Some(sum) = self.0.get_mut(*minute) {
            *sum += bytes;
        }
    }
    fn merge(&mut self, other: &Self) {
        other.0.iter().enumerate().for_each(|(minute, bytes)| self.add(&(minute, *bytes)));
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Avro::get(reader).map(Self)
    }
}

impl Fold for Minutes {
    const READS: &'static [&'static str] = &["bytes"];
    type Input<'a> = (Option<i64>,);

    fn item<'a>((bytes,): Self::Input<'a>, place: Place) -> Result<Self::Item<'a>, Reject> {
        let bytes = bytes.unwrap_or(0);
        if bytes < 0 {
            return Err(Reject { rule: "negative", detail: format!("bytes is {bytes}; a body has 0 or more") });
        }
        let minute = place.time.div_euclid(60_000).rem_euclid(60);
        Ok((minute as usize, bytes))
    }
}

impl Minutes {
    /// The busiest minute, the first of several, and its bytes.
    fn peak(&self) -> (i64, i64) {
        let minutes = (0..).zip(self.0.iter().copied());
        minutes.max_by_key(|(minute, bytes)| (*bytes, -*minute)).unwrap_or_default()
    }
}

/// The job. Every method is a key of a job file.
pub fn job() -> Result<RustJob<Minutes>, Problems> {
    Builder::new("access.peaks")
        .description("Busiest minute of every hour by status class.")
        .source("logs.access", include_str!("logs.access.avsc"))
        .time("at")
        .key_as("class", "string(status / 100) + 'xx'")
        .tumbling(Duration::from_hours(1))
        .late(Late::AmendFor(Duration::from_hours(24)))
        .column("peak_minute", "minute of the hour with the most bytes", |minutes: &Minutes| minutes.peak().0)
        .column("peak_bytes", "bytes of that minute", |minutes| minutes.peak().1)
        .build()
}

/// Shows the rows of a sample, a record in JSON on each line.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut trial = Trial::new(Arc::new(job()?), 1)?;
    for line in std::io::stdin().lock().lines() {
        trial.push(0, &serde_json::from_str(&line?)?, None)?;
    }
    for (_, row) in trial.rows() {
        let cells: Vec<String> = row.iter().map(|(column, value)| format!("{column}={value}")).collect();
        println!("{}", cells.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_busiest_minute_is_found() -> Result<(), Box<dyn std::error::Error>> {
        let mut trial = Trial::new(Arc::new(job()?), 1)?;
        for (at, status, bytes) in [("10:05:00", 200, 300), ("10:30:10", 200, 200), ("10:30:50", 204, 200)] {
            let at = format!("2026-01-01T{at}Z");
            trial.push(0, &json!({"at": at, "status": status, "bytes": bytes}), None)?;
        }
        trial.expect(&json!({
            "window": "2026-01-01T10:00:00Z",
            "state": "open",
            "rows": [{"class": "2xx", "records": 3, "peak_minute": 30, "peak_bytes": 400}],
        }))?;
        trial.advance(7_200_000)?;
        trial.expect(&json!({"window": "2026-01-01T10:00:00Z", "state": "final"}))?;
        Ok(())
    }
}
