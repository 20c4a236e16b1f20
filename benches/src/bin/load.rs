//! Writes a workload to `flows.observed` and its expected results to a file.

use anyhow::Context;
use clap::Parser;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;
use tidemark_benches::servers::{self, Servers};
use tidemark_benches::workload::Settings;
use tidemark_benches::{Reference, Workload};
use tidemark_core::Job;

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    servers: Servers,
    /// Number of records.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..1 << 48))]
    records: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    /// Number of different keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Other seeds give other records.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Event time from the first record to the last, minutes.
    #[arg(long, default_value_t = 24 * 60, value_parser = clap::value_parser!(u32).range(1..))]
    span_min: u32,
    /// File for the expected results.
    #[arg(long)]
    expected: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let Args { records, partitions, keys, seed, span_min, .. } = args;
    let workload = Workload::new(Settings { records, keys, seed, span_ms: i64::from(span_min) * 60_000 });
    let reference = Reference::of(&workload, partitions, servers::job()?.spec());
    let (log, registry) = (args.servers.log()?, args.servers.registry());
    let began = Instant::now();
    tidemark_benches::load(log.as_ref(), registry.as_ref(), &workload, partitions)?;
    let seconds = began.elapsed().as_secs_f64();
    // Only now: a load that is refused leaves the file of the one before alone.
    let name = args.expected.display().to_string();
    let mut file = BufWriter::new(std::fs::File::create(&args.expected).with_context(|| name.clone())?);
    reference.write(&mut file).and_then(|()| file.flush()).context(name)?;
    let (cells, late) = (reference.cells.len(), reference.late.len());
    let rate = records as f64 / seconds;
    println!(
        "load records={records} partitions={partitions} keys={keys} seed={seed} cells={cells} late={late} seconds={seconds:.2} records_per_s={rate:.0}"
    );
    Ok(())
}
