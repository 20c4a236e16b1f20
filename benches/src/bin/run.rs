//! Runs the job's stages until a loaded workload is committed, and says how fast that was and which threads it took.
//! The clock runs from the first partial thread's first poll until every merge partition has committed every record.

use anyhow::Context;
use clap::Parser;
use std::time::{Duration, Instant};
use tidemark_benches::servers::Servers;
use tidemark_benches::stages::Stages;
use tidemark_benches::usage;
use tidemark_runtime::metrics::Thread;
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
    let stages = Stages::start(args.servers.log()?, args.servers.registry(), views, args.threads)?;
    let began = first_poll(&stages, deadline)?;
    let done = args.servers.results()?.wait(args.records, deadline)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = usage::cpu_seconds()?;
    anyhow::ensure!(done, "not committed in {} s: {:?}", args.wait, stages.metrics().threads());
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

/// When the first partial thread has its partitions and begins to read them.
fn first_poll(stages: &Stages, deadline: Instant) -> anyhow::Result<Instant> {
    let reads = |(name, thread): &(String, Thread)| name.contains("partial") && *thread == Thread::Running;
    while !stages.metrics().threads().iter().any(reads) {
        let left = deadline.checked_duration_since(Instant::now());
        left.with_context(|| format!("no partition is read: {:?}", stages.metrics().threads()))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Instant::now())
}
