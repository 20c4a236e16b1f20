//! The servers a command works on.

use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::flows::{self, FlowsHourly, Settings};
use tidemark_log::Log;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_schemas::catalog;
use tidemark_schemas::registry::{HttpRegistry, Registry};

use crate::Error;
use crate::observed::Results;

/// Flags of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Servers {
    /// Kafka.
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: String,
    /// Schema registry.
    #[arg(long, value_name = "URL")]
    pub registry: String,
}

impl Servers {
    /// Connects to Kafka.
    ///
    /// # Errors
    /// No broker answers.
    pub fn log(&self) -> Result<Arc<dyn Log>, Error> {
        Ok(KafkaLog::connect(KafkaConfig::new(&self.kafka))?)
    }

    /// The registry; nothing is asked of it yet.
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::new(HttpRegistry::new(&self.registry))
    }

    /// Where the job's results are read.
    ///
    /// # Errors
    /// No broker answers.
    pub fn results(&self) -> Result<Results, Error> {
        Ok(Results::new(self.log()?, self.registry(), job()?.spec(), catalog::FLOW_HOURLY))
    }
}

/// The job that is measured, with the platform's defaults.
///
/// # Errors
/// None, with these settings.
pub fn job() -> Result<FlowsHourly, tidemark_spec::Problems> {
    flows::hourly(&Settings::default())
}
