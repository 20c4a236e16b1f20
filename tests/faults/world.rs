//! Everything a fault is injected into: a broker and a view store behind proxies, a registry, two processes that run the job,
//! and a publisher that never stops. All of it real and shipped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_benches::Workload;
use tidemark_benches::observed::Results;
use tidemark_benches::workload::Settings as WorkloadSettings;
use tidemark_core::{Job, JobSpec};
use tidemark_harness::{Kafka, Program, Proxy};
use tidemark_jobs::flows::{self, FlowsHourly, TOPIC};
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{Cleanup, Log, TopicPartition, TopicSpec};
use tidemark_schemas::catalog;
use tidemark_schemas::registry::{HttpRegistry, Registry};
use tidemark_views::ViewSpec;
use tidemark_views::cql::{CqlConfig, CqlViews};

use crate::content::Content;
use crate::publisher::{Load, Publisher};
use crate::random::Random;
use crate::reference::Rules;
use crate::target::Target;
use crate::trap::Trap;

const MERGE_PARTITIONS: u32 = 4;
/// Records of an hour of event time.
const RECORDS_PER_HOUR: u64 = 6_000;
/// Far more than a run publishes.
const RECORDS_MAX: u64 = 100_000_000;
/// How long anything may take that is to happen.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
pub const SESSION: Duration = Duration::from_secs(6);
const GRACE_MS: i64 = 600_000;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub keys: u32,
    pub load: Load,
    /// Repeats count once.
    pub dedupe: bool,
    /// Records go through a gateway; else straight to Kafka.
    pub gateway: bool,
    /// Of the source topic. All but the last have records; the last is idle throughout, and windows close nevertheless.
    pub partitions: u32,
    /// Every stage works again in every partition so long after a kill.
    pub recovery_max: Duration,
}

pub struct World {
    // First, so that it stops before what it publishes to.
    pub publisher: Publisher,
    pub jobs: Vec<Program>,
    pub gateway: Option<Gateway>,
    pub settings: Settings,
    pub random: Random,
    pub log: Arc<dyn Log>,
    pub results: Results,
    pub views: Arc<CqlViews>,
    pub runtime: tokio::runtime::Runtime,
    pub trap: Arc<Trap>,
    pub kafka_proxy: Proxy,
    pub cql_proxy: Proxy,
    pub kafka: Kafka,
    places: Places,
}

/// Where processes find everything.
struct Places {
    dir: tempfile::TempDir,
    flags: [(&'static str, String); 4],
}

impl Places {
    fn config(&self) -> PathBuf {
        self.dir.path().join("tidemark.toml")
    }

    /// A part of the platform with a data directory of its own, not started yet.
    fn program(&self, part: &str, name: &str, listen: &str) -> Program {
        let shown = |path: PathBuf| path.display().to_string();
        let data = shown(self.dir.path().join(name));
        let mut args = ["serve", part, "--listen", listen, "--data-dir", &data].map(str::to_owned).to_vec();
        args.extend(["--config".to_owned(), shown(self.config())]);
        args.extend(self.flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]));
        Program::new(env!("CARGO_BIN_EXE_tidemark"), args, self.dir.path().join(format!("{name}.log")))
    }
}

/// The gateway, when records go through it.
pub struct Gateway {
    pub program: Program,
    /// `host:port`, the same for every process.
    pub address: String,
}

impl Gateway {
    fn start(places: &Places) -> Self {
        let address = format!("127.0.0.1:{}", tidemark_harness::free_port().unwrap());
        let mut gateway = Self { program: places.program("gateway", "gateway", &address), address };
        gateway.program.start(&[]).unwrap();
        gateway.await_ready();
        gateway
    }

    /// Waits until it takes records.
    pub fn await_ready(&self) {
        let until = Instant::now() + PATIENCE;
        let url = format!("http://{}/v1/health", self.address);
        while ureq::get(&url).call().is_err() {
            assert!(Instant::now() < until, "the gateway is not ready:\n{}", self.program.log_tail());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl World {
    pub fn start(settings: Settings) -> Self {
        let seed = settings.seed;
        eprintln!("seed {seed} (repeat with TIDEMARK_FAULTS_SEED={seed})");
        let (kafka_proxy, cql_proxy, trap) = (Proxy::bind().unwrap(), Proxy::bind().unwrap(), Trap::new());
        let kafka = Kafka::start_behind(&kafka_proxy, &[]).unwrap();
        trap.set_broker(kafka.bootstrap());
        let deciding = Arc::clone(&trap);
        kafka_proxy.intercept(move |request| deciding.decide(request));
        let cassandra = tidemark_harness::cassandra();
        cql_proxy.forward_to(&cassandra);
        let keyspace = tidemark_harness::unique("faults");
        let places = Places {
            dir: tempfile::tempdir().unwrap(),
            flags: [
                ("--kafka", kafka_proxy.address()),
                ("--cql", cql_proxy.address()),
                ("--keyspace", keyspace.clone()),
                ("--registry", tidemark_harness::registry()),
            ],
        };
        std::fs::write(places.config(), configuration(settings)).unwrap();

        let log: Arc<dyn Log> = KafkaLog::connect(KafkaConfig::new(kafka.bootstrap())).unwrap();
        let registry: Arc<dyn Registry> = Arc::new(HttpRegistry::new(&tidemark_harness::registry()));
        let content = content(settings, log.as_ref(), registry.as_ref());
        let gateway = settings.gateway.then(|| Gateway::start(&places));
        let target = gateway.as_ref().map(|gateway| Target::gateway(&gateway.address));
        let target = target.unwrap_or_else(|| Target::log(Arc::clone(&log)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cql = CqlConfig { keyspace, ..CqlConfig::new(vec![cassandra], 1) };
        let views = runtime.block_on(CqlViews::connect(cql)).unwrap();
        let mut world = Self {
            publisher: Publisher::start(target, content, settings.load),
            jobs: Vec::new(),
            gateway,
            random: Random::new(seed),
            results: Results::new(
                Arc::clone(&log),
                registry,
                job(settings).spec(),
                tidemark_schemas::catalog::FLOW_HOURLY,
            ),
            settings,
            log,
            views,
            runtime,
            trap,
            kafka_proxy,
            cql_proxy,
            kafka,
            places,
        };
        for name in ["a", "b"] {
            let mut program = world.program(name);
            program.start(&[]).unwrap();
            world.jobs.push(program);
        }
        world.await_commits(Instant::now(), &HashMap::new());
        world
    }

    pub fn spec(&self) -> JobSpec {
        job(self.settings).spec().clone()
    }

    /// Its view.
    pub fn view(&self) -> ViewSpec {
        job(self.settings).head().columns().view.clone()
    }

    pub fn rules(&self) -> Rules {
        Rules { grace_ms: GRACE_MS, dedupe: self.settings.dedupe }
    }

    /// A process of the job with a data directory of its own.
    pub fn program(&self, name: &str) -> Program {
        self.places.program("jobs", name, "127.0.0.1:0")
    }

    /// Local state of a process that does not run, as on a new machine: all but its replica id goes.
    pub fn forget_local_state(&self, at: usize) {
        let name = ["a", "b"][at];
        remove_dirs_named("state", &self.places.dir.path().join(name));
    }

    /// One of the processes, by number.
    pub fn any_job(&mut self) -> usize {
        self.random.below(self.jobs.len() as u64) as usize
    }

    pub fn sleep_ms(&mut self, from: u64, to: u64) {
        std::thread::sleep(Duration::from_millis(from + self.random.below(to - from)));
    }

    /// The committed offset of every partition that is being written, by group and partition. Waits until there is an answer.
    pub fn commits(&self) -> HashMap<(String, TopicPartition), i64> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(commits) = self.try_commits() {
                return commits;
            }
            assert!(Instant::now() < until, "offsets cannot be read:\n{}", self.logs());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn try_commits(&self) -> Option<HashMap<(String, TopicPartition), i64>> {
        let spec = self.spec();
        let stages = [
            ("partial", TOPIC.to_owned(), self.settings.partitions - 1),
            ("merge", spec.internal("partials"), MERGE_PARTITIONS),
            ("view-writer", spec.view_topic(), MERGE_PARTITIONS),
        ];
        let mut all = HashMap::new();
        for (stage, topic, partitions) in stages {
            let group = spec.internal(stage);
            let partitions: Vec<_> =
                (0..partitions).map(|partition| TopicPartition::new(topic.as_str(), partition)).collect();
            let committed = self.log.committed(&group, &partitions).ok()?;
            for (partition, offset) in partitions.into_iter().zip(committed) {
                all.insert((group.clone(), partition), offset.map_or(0, |at| at.offset));
            }
        }
        Some(all)
    }

    /// How long after `since` every stage has committed anew in every partition, compared with `before`.
    pub fn await_commits(&self, since: Instant, before: &HashMap<(String, TopicPartition), i64>) -> Duration {
        loop {
            let now = self.try_commits();
            let moved = now
                .is_some_and(|now| now.iter().all(|(place, offset)| *offset > before.get(place).copied().unwrap_or(0)));
            if moved {
                return since.elapsed();
            }
            assert!(since.elapsed() < PATIENCE, "no progress in {PATIENCE:?}:\n{}{}", self.left(), self.logs());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Records of the source topic that are not folded yet, as the processes' metrics say; 0 when none can be asked.
    pub fn lag(&self) -> u64 {
        let metrics = self.jobs.iter().find_map(metrics).unwrap_or_default();
        let source = |line: &&str| line.starts_with("tidemark_lag_records{") && line.contains("partial");
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        metrics.lines().filter(source).filter_map(value).sum::<f64>() as u64
    }

    /// What is left to read, partition by partition, as the processes' metrics say, and what their threads do.
    pub fn left(&self) -> String {
        let all = self.jobs.iter().filter_map(metrics).collect::<String>();
        let tells = |line: &&str| {
            let lag = line.starts_with("tidemark_lag_records{") && !line.ends_with(" 0");
            lag || line.starts_with("tidemark_stage_up{") || line.starts_with("tidemark_source_watermark")
        };
        all.lines().filter(tells).map(|line| format!("{line}\n")).collect()
    }

    /// The end of every process's log.
    pub fn logs(&self) -> String {
        let programs = self.jobs.iter().chain(self.gateway.iter().map(|gateway| &gateway.program));
        programs.map(|program| format!("--- {:?} ---\n{}\n", program.pid(), program.log_tail())).collect()
    }
}

/// What a process answers to `GET /metrics`; its address is the last that its log names.
fn metrics(job: &Program) -> Option<String> {
    let log = job.log_tail();
    let address = log.rsplit_once(" on http://")?.1.split_whitespace().next()?;
    let mut answer = ureq::get(&format!("http://{address}/metrics")).call().ok()?;
    answer.body_mut().read_to_string().ok()
}

/// What is published, with its topic and schema made.
fn content(settings: Settings, log: &dyn Log, registry: &dyn Registry) -> Content {
    let (name, cleanup, retention_ms) = (TOPIC.to_owned(), Cleanup::Delete, Some(7 * 24 * flows::HOUR_MS));
    log.create_topics(&[TopicSpec { name, partitions: settings.partitions, cleanup, retention_ms }]).unwrap();
    let schema = registry.register(&format!("{TOPIC}-value"), &catalog::FLOW_OBSERVED.avsc).unwrap();
    let span_ms = (RECORDS_MAX / RECORDS_PER_HOUR) as i64 * flows::HOUR_MS;
    let Settings { seed, keys, .. } = settings;
    let workload = Workload::new(WorkloadSettings { records: RECORDS_MAX, keys, seed, span_ms });
    Content { workload, schema, active: settings.partitions - 1 }
}

fn job(settings: Settings) -> FlowsHourly {
    let job = flows::Settings {
        merge_partitions: MERGE_PARTITIONS,
        grace_ms: GRACE_MS,
        dedupe_ms: if settings.dedupe { 24 * flows::HOUR_MS } else { 0 },
        ..flows::Settings::default()
    };
    flows::hourly(&job).unwrap()
}

fn configuration(settings: Settings) -> String {
    let partitions = settings.partitions;
    let (session, dedupe) = (SESSION.as_millis(), if settings.dedupe { 24 * flows::HOUR_MS } else { 0 });
    format!(
        "[jobs]\ncommit_interval_ms = 100\nsession_timeout_ms = {session}\n\
         [flows]\npartitions = {partitions}\nmerge_partitions = {MERGE_PARTITIONS}\ngrace_ms = {GRACE_MS}\n\
         idle_after_ms = 2000\ndedupe_ms = {dedupe}\n"
    )
}

fn remove_dirs_named(name: &str, under: &Path) {
    for entry in std::fs::read_dir(under).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() == name {
            std::fs::remove_dir_all(&path).unwrap();
        } else if path.is_dir() {
            remove_dirs_named(name, &path);
        }
    }
}
