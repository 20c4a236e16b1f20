//! The sections of the configuration file, with their defaults.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who may do what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// File of tokens, made by `tidemark token new` and read again when it changes. Without one everything is open, and an
    /// address other than loopback is refused.
    pub tokens: Option<PathBuf>,
}

/// How the process logs, to standard error.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// What is logged, in `tracing`'s filter syntax, for example `info,tidemark_log=debug`. By default text leaves out the
    /// access log, which JSON has.
    pub filter: Option<String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: None }
    }
}

/// See [`LogConfig::format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where traces go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is
    /// added. Without it nothing is exported. Secrets belong in the environment: `OTEL_EXPORTER_OTLP_HEADERS`.
    pub otlp_endpoint: Option<String>,
}

/// The Kafka cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap: Option<String>,
    /// Copies of each partition of topics that are made; −1 is the broker's default.
    pub replication_factor: i32,
    /// Further librdkafka properties, such as `security.protocol` and `sasl.*`.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self { bootstrap: None, replication_factor: -1, properties: BTreeMap::new() }
    }
}

/// The CQL store.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CqlConfig {
    /// `host:port` of some nodes.
    pub contact_points: Vec<String>,
    /// Made if it is missing.
    pub keyspace: String,
    /// Copies in each data centre, when the keyspace is made: 3 in production.
    pub replication_factor: u32,
}

impl Default for CqlConfig {
    fn default() -> Self {
        Self { contact_points: Vec::new(), keyspace: "tidemark".into(), replication_factor: 1 }
    }
}

/// The schema registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Base URL of its Confluent REST API.
    pub url: Option<String>,
}

/// The gateway's spool: what was answered 202 is kept there until the log has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Its directory, of one process at a time; by default `spool` in the process's own directory under `data_dir`. On a disk
    /// that is lost, what was not published is lost.
    pub dir: Option<PathBuf>,
    /// Most bytes that wait, 1 MiB or more; the disk needs 128 MiB more. Beyond them requests are answered 507. At 50,000 flows
    /// a second (98 bytes each) 4 GiB last for some 14 minutes without the log, and an hour takes 18 GB: both computed.
    pub max_bytes: u64,
    /// When the oldest record has waited for longer, requests are answered 507, milliseconds.
    pub max_age_ms: u64,
    /// `Idempotency-Key`s remembered, of all publishers together, for 24 hours each, 1 or more; beyond them new keys are answered
    /// 503. 130 to 220 bytes of memory each (measured), some 100 more while the log has not got the record: the default takes
    /// 250 MB and is enough for 20 requests with a key a second.
    pub keys_max: usize,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { dir: None, max_bytes: 4 << 30, max_age_ms: 24 * 3_600_000, keys_max: tidemark_gateway::KEYS_MAX }
    }
}

/// Stage threads.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Threads for each stage, 1 to 64; more than the topics have partitions are idle.
    pub threads: u32,
    /// Longest time between two commits while there is something to commit, milliseconds. Shorter is fresher, longer does
    /// more with each commit.
    pub commit_interval_ms: i64,
    /// A process that is silent for longer is taken out of its groups and another takes over, milliseconds. Kafka accepts
    /// what `group.min.session.timeout.ms` and `group.max.session.timeout.ms` allow (6 s to 30 min by default).
    pub session_timeout_ms: u64,
    /// Longest time between two checkpoints of state that changes, milliseconds, 100 to 21,600,000 (6 h: a checkpoint of more
    /// than 12 h is not used). Shorter makes a restart read less of the changelog, and writes changed windows more often.
    pub checkpoint_interval_ms: i64,
    /// Memory of the process for rows of open windows, bytes, at least 16 MiB; the job versions that run in it have equal parts.
    /// Windows over it are kept on disk alone until they change; at twice as much, reading waits for a checkpoint.
    pub state_memory_bytes: u64,
    /// Follow the state of partitions that other processes own, so that taking them over takes no time. Costs the memory and
    /// disk of all state in each process.
    pub standby: bool,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            commit_interval_ms: 200,
            session_timeout_ms: 6_000,
            checkpoint_interval_ms: 30_000,
            state_memory_bytes: 1 << 30,
            standby: false,
        }
    }
}

impl JobsConfig {
    /// Where the jobs keep their state, in the locked directory of the replica.
    pub fn state(&self, replica: &Path) -> tidemark_runtime::state::StateConfig {
        let settings = tidemark_runtime::state::StateSettings {
            checkpoint_interval_ms: self.checkpoint_interval_ms,
            memory_bytes: usize::try_from(self.state_memory_bytes).unwrap_or(usize::MAX),
            ..Default::default()
        };
        tidemark_runtime::state::StateConfig {
            path: replica.join("state"),
            settings,
            sharers: tidemark_runtime::state::Sharers::default(),
            standby: self.standby,
        }
    }
}

/// The job `flows.hourly` and its source topic.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowsConfig {
    /// Version of the job. Give it a new one together with a change of `merge_partitions`, `grace_ms`, `retention_ms` or `dedupe_ms`: the
    /// new version reads the topic from its start into a view of its own. With the old number the job would stop.
    pub version: u32,
    /// Partitions of `flows.observed` when it is made, 1 to 10,000. It can grow later.
    pub partitions: u32,
    /// Partitions of the job's own topics, 1 to 1,000. Part of the job version: never changes for a version.
    pub merge_partitions: u32,
    /// How long an hour waits for stragglers, event-time milliseconds.
    pub grace_ms: i64,
    /// How long events and rows are kept and hours can be amended, milliseconds.
    pub retention_ms: i64,
    /// A partition that is silent for so long no longer holds hours open, milliseconds.
    pub idle_after_ms: i64,
    /// An event further ahead of its arrival is refused, milliseconds.
    pub max_future_ms: i64,
    /// Events with one `event_id` count once within so much time, milliseconds; 0 counts each. For publishers that repeat
    /// themselves. Part of the job version. Costs 40 to 80 bytes of memory for each event of that time.
    pub dedupe_ms: i64,
}

impl Default for FlowsConfig {
    fn default() -> Self {
        let job = tidemark_jobs::flows::Settings::default();
        Self {
            version: job.version,
            partitions: 4,
            merge_partitions: job.merge_partitions,
            grace_ms: job.grace_ms,
            retention_ms: job.retention_ms,
            idle_after_ms: job.idle_after_ms,
            max_future_ms: job.max_future_ms,
            dedupe_ms: job.dedupe_ms,
        }
    }
}

impl FlowsConfig {
    /// As the job takes them.
    pub fn job(&self) -> tidemark_jobs::flows::Settings {
        tidemark_jobs::flows::Settings {
            version: self.version,
            merge_partitions: self.merge_partitions,
            grace_ms: self.grace_ms,
            retention_ms: self.retention_ms,
            idle_after_ms: self.idle_after_ms,
            max_future_ms: self.max_future_ms,
            dedupe_ms: self.dedupe_ms,
        }
    }
}
