//! Runs the job's stages until a loaded workload is committed, and says how fast that was and which threads it took.
//! The clock runs from the first partial thread's first poll until every merge partition has committed every record.

use clap::Parser;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_benches::servers::{Servers, job};
use tidemark_benches::stages::Stages;
use tidemark_benches::usage;
use tidemark_jobs::platform;
use tidemark_views::local::LocalViews;

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    servers: Servers,
    /// Number of records loaded.
    #[arg(long)]
    records: u64,
    /// Threads for each stage.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Given up after so many seconds.
    #[arg(long, default_value_t = 600)]
    wait: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    let dir = tempfile::tempdir()?;
    let views = LocalViews::open(dir.path(), tidemark_log::system_clock())?;
    let job = Arc::new(job()?);
    let shape = platform::shape(job.head());
    let stages = Stages::start(job, &shape, args.servers.log()?, args.servers.registry(), views, args.threads)?;
    let seconds = stages.measure(&args.servers.results()?, args.records, deadline)?;
    let cpu = usage::cpu_seconds()?;
    let (records, threads, total) = (args.records, args.threads, cpu.values().sum::<f64>());
    let rate = records as f64 / seconds;
    println!("run records={records} threads={threads} seconds={seconds:.2} records_per_s={rate:.0} cpu_s={total:.2}");
    cpu.iter()
        .filter(|(_, seconds)| **seconds >= 0.05)
        .for_each(|(name, seconds)| println!("  {seconds:6.2} s  {name}"));
    let mut metrics = String::new();
    stages.metrics().render(&mut metrics);
    let commits = |line: &&str| line.starts_with("tidemark_stage_commit_seconds_") && !line.contains("_bucket");
    metrics.lines().filter(commits).for_each(|line| println!("  {line}"));
    stages.stop();
    Ok(())
}
