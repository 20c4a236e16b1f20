//! Opens what a process runs on: servers where an address is given, embedded parts where not.

use crate::config::Config;
use crate::registry::EmbeddedRegistry;
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{Clock, Log};
use tidemark_schemas::registry::{HttpRegistry, Registry};
use tidemark_views::ViewStore;
use tidemark_views::cql::{CqlConfig, CqlViews};
use tidemark_views::local::LocalViews;

/// The log: Kafka, or embedded under `dir`.
///
/// # Errors
/// It cannot be reached or opened.
pub fn log(config: &Config, dir: &Path, clock: &Clock) -> anyhow::Result<Arc<dyn Log>> {
    match &config.kafka.bootstrap {
        Some(bootstrap) => Ok(KafkaLog::connect(kafka(config, bootstrap))?),
        None => Ok(EmbeddedLog::open(&dir.join("log"), Arc::clone(clock)).context("embedded log")?),
    }
}

fn kafka(config: &Config, bootstrap: &str) -> KafkaConfig {
    KafkaConfig {
        replication_factor: config.kafka.replication_factor,
        properties: config.kafka.properties.clone(),
        ..KafkaConfig::new(bootstrap)
    }
}

/// The log of a process that works without it for a while: Kafka, which need not be there.
///
/// # Errors
/// No address is given, or a property is not one of librdkafka's.
pub fn kafka_later(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let bootstrap = config.kafka.bootstrap.as_deref();
    Ok(KafkaLog::open(kafka(config, bootstrap.context(NEEDS_KAFKA)?))?)
}

const NEEDS_KAFKA: &str = "this command needs a Kafka cluster: give --kafka HOST:PORT";

/// The log of a command that needs Kafka.
///
/// # Errors
/// No address is given, or it cannot be reached.
pub fn kafka_only(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let bootstrap = config.kafka.bootstrap.as_deref();
    Ok(KafkaLog::connect(kafka(config, bootstrap.context(NEEDS_KAFKA)?))?)
}

/// The view store: CQL, or embedded under `dir`.
///
/// # Errors
/// It cannot be reached or opened.
pub async fn views(config: &Config, dir: &Path, clock: &Clock) -> anyhow::Result<Arc<dyn ViewStore>> {
    if config.cql.contact_points.is_empty() {
        return Ok(LocalViews::open(&dir.join("views"), Arc::clone(clock)).context("embedded views")?);
    }
    let cql = CqlConfig {
        keyspace: config.cql.keyspace.clone(),
        ..CqlConfig::new(config.cql.contact_points.clone(), config.cql.replication_factor)
    };
    Ok(CqlViews::connect(cql).await?)
}

/// The schema registry of a process.
pub enum Schemas {
    /// A server.
    Http(Arc<HttpRegistry>),
    /// In this process, kept on the log.
    Embedded(Arc<EmbeddedRegistry>),
}

impl Schemas {
    /// As the engine takes it.
    pub fn registry(&self) -> Arc<dyn Registry> {
        match self {
            Self::Http(registry) => Arc::clone(registry) as Arc<dyn Registry>,
            Self::Embedded(registry) => Arc::clone(registry) as Arc<dyn Registry>,
        }
    }
}

/// The schema registry: a server, or embedded on the log.
///
/// # Errors
/// The log cannot hold it.
pub fn schemas(config: &Config, log: &Arc<dyn Log>) -> anyhow::Result<Schemas> {
    Ok(match &config.registry.url {
        Some(url) => Schemas::Http(Arc::new(HttpRegistry::new(url))),
        None => {
            Schemas::Embedded(Arc::new(EmbeddedRegistry::open(Arc::clone(log)).context("embedded schema registry")?))
        }
    })
}
