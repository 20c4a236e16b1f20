//! Fills the merge state of the job with open rows, and says how long it takes to come back: on a new machine, which reads the
//! whole changelog, and on the same one, which has a checkpoint. On a log of its own, or on Kafka where addresses are given.

use anyhow::Context as _;
use clap::Parser;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tidemark_benches::memory::Schemas;
use tidemark_core::{Accumulator, Job};
use tidemark_jobs::flows::{self, FlowSums, FlowsHourly, HOUR_MS};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Cleanup, Log, MemberConfig, Outgoing, Sink, TopicPartition, TopicSpec, system_clock};
use tidemark_runtime::drive::{Context, Stage};
use tidemark_runtime::merge::MergeStage;
use tidemark_runtime::metrics::{StageStatus, Thread};
use tidemark_runtime::state::{StateDir, StateSettings};
use tidemark_runtime::{Metrics, Plan, StageConfig};
use tidemark_schemas::avro::{Avro, put_bytes};
use tidemark_schemas::engine::{Marker, Partial, PartialRow, PartialWindow, SourceMark, TopicPartitions};
use tidemark_schemas::registry::{HttpRegistry, Registry};
use tidemark_schemas::wire;

/// Rows of one partial.
const PARTIAL_ROWS: u32 = 1_000;
/// Start of the first window.
const BASE: i64 = 480_000 * HOUR_MS;

#[derive(Debug, Parser)]
struct Args {
    /// Kafka; without it the log is embedded, in a directory of its own.
    #[arg(long, value_name = "HOST:PORT", env = "TIDEMARK_TEST_KAFKA")]
    kafka: Option<String>,
    /// Schema registry, with Kafka.
    #[arg(long, value_name = "URL", env = "TIDEMARK_TEST_REGISTRY")]
    registry: Option<String>,
    /// Open rows.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Windows that they are in.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    windows: u32,
}

struct Bench {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    job: Arc<FlowsHourly>,
    plan: Arc<Plan>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    let kind = if args.kafka.is_some() { "kafka" } else { "embedded" };
    let bench = Bench::open(&args, dir.path())?;
    bench.load(&args)?;
    let (same, new) = (dir.path().join("same"), dir.path().join("new"));
    let first = bench.run(&same, Some(i64::from(args.rows)))?;
    for (machine, path) in [("new", &new), ("same", &same)] {
        let again = bench.run(path, None)?;
        anyhow::ensure!(again.rows == first.rows, "{} rows came back of {}", again.rows, first.rows);
        println!(
            "restore log={kind} machine={machine} rows={} windows={} entries={} seconds={:.2} until_running_s={:.2}",
            again.rows, args.windows, again.entries, again.restored_s, again.running_s
        );
    }
    println!("restore log={kind} checkpoint_at_stop_s={:.2}", first.stop_s);
    Ok(())
}

/// What a life of the stage took.
struct Life {
    rows: i64,
    entries: f64,
    restored_s: f64,
    running_s: f64,
    stop_s: f64,
}

impl Bench {
    fn open(args: &Args, dir: &Path) -> anyhow::Result<Self> {
        let (log, registry): (Arc<dyn Log>, Arc<dyn Registry>) = match (&args.kafka, &args.registry) {
            (Some(kafka), Some(registry)) => {
                (KafkaLog::connect(KafkaConfig::new(kafka))?, Arc::new(HttpRegistry::new(registry)))
            }
            (Some(_), None) => anyhow::bail!("give --registry URL with --kafka"),
            (None, _) => (EmbeddedLog::open(&dir.join("log"), system_clock())?, Arc::new(Schemas::default())),
        };
        // A version that nothing has run before: what it finds on the log is its own.
        let version = u32::try_from((system_clock())() / 1000 % 1_000_000_000)?;
        let job = Arc::new(flows::hourly(&flows::Settings { version, ..flows::Settings::default() })?);
        let (name, cleanup) = (flows::TOPIC.to_owned(), Cleanup::Delete);
        if log.partitions(&name)?.is_none() {
            log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }])?;
        }
        let mut plan = Plan::new(job.spec().clone())?;
        plan.create(log.as_ref(), registry.as_ref(), &job.head().columns().schema)?;
        Ok(Self { log, registry, job, plan: Arc::new(plan) })
    }

    /// Writes partials of one record for each row.
    fn load(&self, args: &Args) -> anyhow::Result<()> {
        let mut producer = self.log.producer("restore-bench")?;
        let partitions = self.plan.spec.merge_partitions;
        let mut next = 0;
        while next < args.rows {
            let until = (next + 50 * PARTIAL_ROWS).min(args.rows);
            producer.commit(&mut |sink| {
                (next..until).step_by(PARTIAL_ROWS as usize).try_for_each(|first| {
                    let rows = first..(first + PARTIAL_ROWS).min(until);
                    self.partial(rows, first / PARTIAL_ROWS, args, partitions, sink)
                })
            })?;
            next = until;
        }
        producer.commit(&mut |sink| (0..partitions).try_for_each(|partition| self.marker(partition, args, sink)))?;
        Ok(())
    }

    fn partial(
        &self,
        rows: std::ops::Range<u32>,
        number: u32,
        args: &Args,
        partitions: u32,
        sink: &mut dyn Sink,
    ) -> Result<(), tidemark_log::Error> {
        let mut accumulator = Vec::new();
        FlowSums { bytes_tx: 123_456_789, bytes_rx: 987_654_321_000 }.put(&mut accumulator);
        let (first_offset, last_offset) = (i64::from(rows.start), i64::from(rows.end) - 1);
        let keys: Vec<Vec<u8>> = rows.map(key).collect();
        let rows = keys.iter().map(|key| PartialRow { key, records: 1, accumulator: &accumulator }).collect();
        let start = BASE + i64::from(number / partitions % args.windows) * HOUR_MS;
        let windows = vec![PartialWindow { start, first_offset, last_offset, late: 0, held: 0, rows }];
        let fingerprint = self.plan.spec.fingerprint();
        let partial = Partial { fingerprint, topic: flows::TOPIC, partition: 0, windows };
        self.send(self.plan.ids.partial, &partial, number % partitions, sink)
    }

    fn marker(&self, partition: u32, args: &Args, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        let mark = SourceMark {
            topic: flows::TOPIC.into(),
            partition: 0,
            next_offset: i64::from(args.rows),
            watermark: Some(BASE),
            idle_at: None,
            records: i64::from(args.rows),
            late: 0,
            held: 0,
            filtered: 0,
            dead_lettered: 0,
            duplicates: 0,
        };
        let fingerprint = self.plan.spec.fingerprint();
        let partition_counts = vec![TopicPartitions { topic: flows::TOPIC.into(), partitions: 1 }];
        let marker = Marker { fingerprint, at: BASE, oldest_append: None, sources: vec![mark], partition_counts };
        self.send(self.plan.ids.marker, &marker, partition, sink)
    }

    fn send<'a>(
        &self,
        id: u32,
        record: &impl Avro<'a>,
        partition: u32,
        sink: &mut dyn Sink,
    ) -> Result<(), tidemark_log::Error> {
        let mut value = Vec::new();
        wire::put(id, record, &mut value);
        sink.send(Outgoing { topic: &self.plan.partials, partition, value: Some(&value), ..Outgoing::default() })
    }

    /// Runs the merge stage until it is at work, or has folded everything; stops it gracefully.
    fn run(&self, state: &Path, rows: Option<i64>) -> anyhow::Result<Life> {
        let metrics = Arc::new(Metrics::default());
        let mut stage = MergeStage::new(
            Arc::clone(&self.job),
            Arc::clone(&self.plan),
            Arc::clone(&self.log),
            Arc::clone(&self.registry),
            Arc::clone(&metrics),
        )
        .kept_in(Some(StateDir::open(state, StateSettings::default())));
        let context = Context {
            log: Arc::clone(&self.log),
            clock: system_clock(),
            stop: Arc::new(AtomicBool::new(false)),
            metrics: Arc::clone(&metrics),
            spans: Arc::new(NoSpans),
        };
        let (group, topics) = (self.plan.group("merge"), vec![self.plan.partials.clone()]);
        let session_timeout = Duration::from_secs(10);
        let member = MemberConfig { group, topics, id: "restore-bench-merge".into(), session_timeout };
        let config = StageConfig { member, commit_interval_ms: 200 };
        let status = StageStatus::new("merge".into(), Arc::clone(&metrics));
        let began = Instant::now();
        let mut driven = Stage::join(&context, &mut stage, &config, &status)?;
        let running = |metrics: &Metrics| metrics.threads().iter().all(|(_, thread)| *thread == Thread::Running);
        while !running(&metrics) {
            driven.step()?;
        }
        let running_s = began.elapsed().as_secs_f64();
        while rows.is_some_and(|rows| sum(&metrics, "tidemark_state_rows") < rows as f64) || self.behind()? {
            driven.step()?;
        }
        let began = Instant::now();
        driven.finish()?;
        let rows = match rows {
            Some(_) => sum(&metrics, "tidemark_state_rows"),
            None => sum(&metrics, "tidemark_restored_rows"),
        };
        Ok(Life {
            rows: rows as i64,
            entries: sum(&metrics, "tidemark_restore_entries"),
            restored_s: max(&metrics, "tidemark_restore_seconds"),
            running_s,
            stop_s: began.elapsed().as_secs_f64(),
        })
    }

    /// Whether there are partials that are not committed.
    fn behind(&self) -> anyhow::Result<bool> {
        let place = |partition| TopicPartition::new(self.plan.partials.as_str(), partition);
        let places: Vec<TopicPartition> = (0..self.plan.spec.merge_partitions).map(place).collect();
        let ends = self.log.offsets(&places, At::StableEnd)?;
        let committed = match self.log.committed(&self.plan.group("merge"), &places) {
            Err(tidemark_log::Error::Unstable(_)) => return Ok(true),
            committed => committed.context("offsets of the merge stage")?,
        };
        // A control marker may stand behind the last record.
        Ok(committed.iter().zip(ends).any(|(at, end)| at.as_ref().map_or(0, |at| at.offset) + 1 < end))
    }
}

fn key(row: u32) -> Vec<u8> {
    let mut key = Vec::new();
    for name in ["default", &format!("service-{row:07}"), "payments-database", "vpc-0a1b2c3d"] {
        put_bytes(&mut key, name.as_bytes());
    }
    key
}

fn values<'t>(text: &'t str, name: &str) -> impl Iterator<Item = f64> + 't {
    let start = format!("{name}{{");
    text.lines().filter(move |line| line.starts_with(&start)).filter_map(|line| line.rsplit(' ').next()?.parse().ok())
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    values(&text(metrics), name).sum()
}

fn max(metrics: &Metrics, name: &str) -> f64 {
    values(&text(metrics), name).fold(0.0, f64::max)
}

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.render(&mut text);
    text
}
