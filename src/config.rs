//! Configuration: flag > environment > file > default. Unknown keys are refused; everything is checked before any
//! connection is opened. `tidemark.example.toml` shows every key with its default.

mod documents;
mod sections;

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use documents::{DocumentsConfig, MailConfig, MailTls, WorkerConfig};
pub use sections::{
    AuthConfig, CqlConfig, FlowsConfig, JobsConfig, KafkaConfig, LogConfig, LogFormat, RegistryConfig, SpoolConfig,
    TelemetryConfig,
};

/// Read when no other file is named.
const DEFAULT_FILE: &str = "tidemark.toml";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served; see [`Config::listen_or`].
    pub listen: Option<SocketAddr>,
    /// Embedded log and views, and each process's replica id. Two processes never share a replica.
    pub data_dir: PathBuf,
    /// Who may do what.
    pub auth: AuthConfig,
    /// How the process logs.
    pub log: LogConfig,
    /// Where traces go.
    pub telemetry: TelemetryConfig,
    /// The Kafka cluster; without a bootstrap address the log is embedded.
    pub kafka: KafkaConfig,
    /// The CQL store; without a contact point views are embedded.
    pub cql: CqlConfig,
    /// The schema registry; without a URL it is embedded.
    pub registry: RegistryConfig,
    /// The gateway's spool.
    pub spool: SpoolConfig,
    /// Stage threads.
    pub jobs: JobsConfig,
    /// The job `flows.hourly` and its source topic.
    pub flows: FlowsConfig,
    /// Upload, queue and results of documents.
    pub documents: DocumentsConfig,
    /// A worker of the document pipeline.
    pub worker: WorkerConfig,
    /// How mails go out.
    pub mail: MailConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            data_dir: PathBuf::from("tidemark-data"),
            auth: AuthConfig::default(),
            log: LogConfig::default(),
            telemetry: TelemetryConfig::default(),
            kafka: KafkaConfig::default(),
            cql: CqlConfig::default(),
            registry: RegistryConfig::default(),
            spool: SpoolConfig::default(),
            jobs: JobsConfig::default(),
            flows: FlowsConfig::default(),
            documents: DocumentsConfig::default(),
            worker: WorkerConfig::default(),
            mail: MailConfig::default(),
        }
    }
}

/// Flags and environment, which win over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Where HTTP is served [default: 127.0.0.1:8080; serve query-api: 127.0.0.1:8082; serve jobs: any free port].
    #[arg(long, global = true, env = "TIDEMARK_LISTEN", hide_env_values = true, value_name = "ADDR", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// File of tokens; without one HTTP is open, on loopback alone.
    #[arg(long, global = true, env = "TIDEMARK_TOKENS", hide_env_values = true, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Where the embedded log and views and the replica ids are kept [default: ./tidemark-data].
    #[arg(long, global = true, env = "TIDEMARK_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Bootstrap address of a Kafka cluster; without it the log is embedded.
    #[arg(long, global = true, env = "TIDEMARK_KAFKA", hide_env_values = true, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Contact point of ScyllaDB or Cassandra; without it views are embedded.
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_CQL",
        hide_env_values = true,
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    cql: Vec<String>,
    /// Keyspace of the views [default: tidemark].
    #[arg(long, global = true, env = "TIDEMARK_KEYSPACE", hide_env_values = true, value_name = "NAME")]
    keyspace: Option<String>,
    /// Base URL of a schema registry (Confluent REST API); without it the registry is embedded.
    #[arg(long, global = true, env = "TIDEMARK_REGISTRY", hide_env_values = true, value_name = "URL")]
    registry: Option<String>,
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP) for traces; without it none are exported.
    #[arg(long, global = true, env = "TIDEMARK_OTLP", hide_env_values = true, value_name = "URL")]
    otlp: Option<String>,
    /// How to log [default: text].
    #[arg(long, global = true, env = "TIDEMARK_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// An address to listen on: `127.0.0.1:8080`, or `localhost:8080`.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| "give address and port, for example 127.0.0.1:8080".into())
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there or cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has keys that do not exist.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, key and rule.
        source: toml::de::Error,
    },
    /// A value breaks a rule.
    #[error("{key} is {value}: it must be {rule}")]
    Value {
        /// Key, as in the file.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

impl Config {
    /// Reads `file` (or `tidemark.toml` when it is there), puts the flags over it and checks the whole.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or a value breaks a rule.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Error> {
        let default = Path::new(DEFAULT_FILE);
        let mut config = match file.or(default.exists().then_some(default)) {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
                toml::from_str(&text).map_err(|source| Error::Parse { path: path.into(), source })?
            }
        };
        config.put_over(overrides);
        config.check()?;
        Ok(config)
    }

    /// Where HTTP is served: on the loopback interface only, unless an address is given.
    pub fn listen_or(&self, port: u16) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn put_over(&mut self, flags: &Overrides) {
        let Overrides { listen, tokens, data_dir, kafka, cql, keyspace, registry, otlp, log_format } = flags.clone();
        self.listen = listen.or(self.listen);
        self.auth.tokens = tokens.or_else(|| self.auth.tokens.take());
        self.data_dir = data_dir.unwrap_or_else(|| std::mem::take(&mut self.data_dir));
        self.kafka.bootstrap = kafka.or_else(|| self.kafka.bootstrap.take());
        if !cql.is_empty() {
            self.cql.contact_points = cql;
        }
        self.cql.keyspace = keyspace.unwrap_or_else(|| std::mem::take(&mut self.cql.keyspace));
        self.registry.url = registry.or_else(|| self.registry.url.take());
        self.telemetry.otlp_endpoint = otlp.or_else(|| self.telemetry.otlp_endpoint.take());
        self.log.format = log_format.unwrap_or(self.log.format);
    }

    fn check(&self) -> Result<(), Error> {
        let rule = |ok: bool, key, value: &dyn std::fmt::Display, rule| {
            if ok { Ok(()) } else { Err(Error::Value { key, value: value.to_string(), rule }) }
        };
        let otlp = self.telemetry.otlp_endpoint.as_deref().unwrap_or("http://");
        let http = otlp.starts_with("http://") || otlp.starts_with("https://");
        rule(http, "telemetry.otlp_endpoint", &otlp, "a URL that begins with http:// or https://")?;
        let flows = &self.flows;
        rule(flows.version >= 1, "flows.version", &flows.version, "1 or more")?;
        rule((1..=10_000).contains(&flows.partitions), "flows.partitions", &flows.partitions, "1 to 10000")?;
        rule(
            (1..=1_000).contains(&flows.merge_partitions),
            "flows.merge_partitions",
            &flows.merge_partitions,
            "1 to 1000",
        )?;
        rule(flows.grace_ms >= 0, "flows.grace_ms", &flows.grace_ms, "0 or more")?;
        rule(flows.retention_ms >= 3_600_000, "flows.retention_ms", &flows.retention_ms, "3600000 (an hour) or more")?;
        rule(flows.idle_after_ms >= 1, "flows.idle_after_ms", &flows.idle_after_ms, "1 or more")?;
        rule(flows.max_future_ms >= 0, "flows.max_future_ms", &flows.max_future_ms, "0 or more")?;
        let spool = &self.spool;
        rule(spool.max_bytes >= 1 << 20, "spool.max_bytes", &spool.max_bytes, "1048576 (1 MiB) or more")?;
        rule(spool.max_age_ms >= 1_000, "spool.max_age_ms", &spool.max_age_ms, "1000 or more")?;
        rule(spool.keys_max >= 1, "spool.keys_max", &spool.keys_max, "1 or more")?;
        rule((1..=64).contains(&self.jobs.threads), "jobs.threads", &self.jobs.threads, "1 to 64")?;
        let interval = self.jobs.commit_interval_ms;
        rule((1..=60_000).contains(&interval), "jobs.commit_interval_ms", &interval, "1 to 60000")?;
        let interval = self.jobs.checkpoint_interval_ms;
        rule((100..=21_600_000).contains(&interval), "jobs.checkpoint_interval_ms", &interval, "100 to 21600000")?;
        let memory = self.jobs.state_memory_bytes;
        rule(memory >= 16 << 20, "jobs.state_memory_bytes", &memory, "at least 16777216 (16 MiB)")?;
        rule(
            self.jobs.session_timeout_ms >= 1_000,
            "jobs.session_timeout_ms",
            &self.jobs.session_timeout_ms,
            "1000 or more",
        )?;
        let documents = &self.documents;
        rule(documents.max_bytes >= 1, "documents.max_bytes", &documents.max_bytes, "1 or more")?;
        rule(documents.workers <= 64, "documents.workers", &documents.workers, "0 to 64")?;
        let timeout = documents.heartbeat_timeout_ms;
        rule(timeout >= 1_000, "documents.heartbeat_timeout_ms", &timeout, "1000 or more")?;
        rule(documents.accept_ms >= 100, "documents.accept_ms", &documents.accept_ms, "100 or more")?;
        rule(documents.lease_floor_ms >= 100, "documents.lease_floor_ms", &documents.lease_floor_ms, "100 or more")?;
        rule(documents.lease_factor >= 1, "documents.lease_factor", &documents.lease_factor, "1 or more")?;
        rule(documents.progress_every >= 1, "documents.progress_every", &documents.progress_every, "1 or more")?;
        let (url, capacity) = (&self.worker.url, self.worker.capacity);
        let http = url.starts_with("http://") || url.starts_with("https://");
        rule(http, "worker.url", url, "a URL that begins with http:// or https://")?;
        rule((1..=64).contains(&capacity), "worker.capacity", &capacity, "1 to 64")?;
        let heartbeat = self.worker.heartbeat_ms;
        rule(heartbeat >= 100, "worker.heartbeat_ms", &heartbeat, "100 or more")?;
        let timeout = u64::try_from(timeout).unwrap_or(0);
        let rare = "a third of documents.heartbeat_timeout_ms or less";
        rule(heartbeat.saturating_mul(3) <= timeout, "worker.heartbeat_ms", &heartbeat, rare)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_shows_the_defaults() {
        let example: Config = toml::from_str(include_str!("../tidemark.example.toml")).unwrap();
        assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn unknown_keys_and_broken_rules_are_refused() {
        let unknown = toml::from_str::<Config>("[flows]\ngrace = 1").unwrap_err();
        assert!(unknown.to_string().contains("unknown field `grace`"), "{unknown}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, "[flows]\npartitions = 0").unwrap();
        let error = Config::load(Some(&file), &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), "flows.partitions is 0: it must be 1 to 10000");
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\n[registry]\nurl = \"http://a\"").unwrap();
        let flags = Overrides { listen: Some("127.0.0.1:2".parse().unwrap()), ..Overrides::default() };
        let config = Config::load(Some(&file), &flags).unwrap();
        assert_eq!((config.listen_or(9).port(), config.registry.url.as_deref()), (2, Some("http://a")));
    }
}
