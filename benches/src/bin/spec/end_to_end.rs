//! The whole way: from the records on a broker to the rows on the view topic, exactly once.

use crate::{Args, FILE, Rounds, compiled};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_benches::observed::Results;
use tidemark_benches::servers::Servers;
use tidemark_benches::stages::Stages;
use tidemark_benches::{Outcome, Reference, Workload, load};
use tidemark_core::Job;
use tidemark_harness::{Kafka, Registry};
use tidemark_jobs::flows::{self, FlowsHourly};
use tidemark_jobs::platform;
use tidemark_runtime::run::Shape;
use tidemark_views::local::LocalViews;

/// Partitions of the source.
const PARTITIONS: u32 = 4;
/// A round takes no longer.
const DEADLINE: Duration = Duration::from_secs(300);

/// Alternates the jobs, each round as a version of its own that reads the source from its start, and compares every row, ledger
/// entry and late letter of each with the reference.
pub(crate) fn run(args: &Args, workload: &Workload) -> anyhow::Result<()> {
    let (kafka, registry) = (Kafka::start(&[])?, Registry::start()?);
    let servers = Servers { kafka: kafka.bootstrap().to_owned(), registry: registry.url().to_owned() };
    let reference = Reference::of(workload, PARTITIONS, flows_job(1)?.spec());
    load(servers.log()?.as_ref(), servers.registry().as_ref(), workload, PARTITIONS)?;
    let mut rounds = Rounds::default();
    // The first round warms up.
    for version in 1..=args.rounds + 1 {
        let rust = flows_job(version)?;
        let shape = platform::shape(rust.head());
        let rust = round(&servers, &reference, rust, &shape, args.threads)?;
        let file = compiled(FILE, version)?;
        let shape = platform::shape(&file);
        let file = round(&servers, &reference, file, &shape, args.threads)?;
        if version > 1 {
            rounds.add(rust, file);
        }
    }
    println!("spec end_to_end job=flows keys={} threads={} {}", args.keys, args.threads, rounds.told(args.records));
    Ok(())
}

fn flows_job(version: u32) -> anyhow::Result<FlowsHourly> {
    Ok(flows::hourly(&flows::Settings { version, ..flows::Settings::default() })?)
}

/// Seconds until everything is committed.
fn round<J: Job>(servers: &Servers, reference: &Reference, job: J, shape: &Shape, threads: u32) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let views = LocalViews::open(dir.path(), tidemark_log::system_clock())?;
    let (deadline, name) = (Instant::now() + DEADLINE, job.spec().internal(""));
    let results = Results::new(servers.log()?, servers.registry(), job.spec(), shape.row.clone());
    let stages = Stages::start(Arc::new(job), shape, servers.log()?, servers.registry(), views, threads)?;
    let seconds = stages.measure(&results, reference.records, deadline)?;
    let outcome = Outcome::of(reference, &results.read(deadline)?);
    stages.stop();
    anyhow::ensure!(outcome.is_exact(), "{name} {outcome}");
    Ok(seconds)
}
