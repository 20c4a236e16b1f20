//! Structured logs on standard error.

use crate::config::{Config, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged when nothing else is asked for.
fn default_filter(format: LogFormat) -> &'static str {
    match format {
        // Calls to Kafka say themselves what failed; librdkafka repeats it for each broker and second.
        LogFormat::Text => "warn,librdkafka=off",
        LogFormat::Json => "info,fjall=warn,lsm_tree=warn,scylla=warn",
    }
}

/// Starts logging as configured. An invalid filter is said, and the default is used.
pub fn init(config: &Config) {
    let default = default_filter(config.log.format);
    let filter = EnvFilter::try_new(config.log.filter.as_deref().unwrap_or(default)).unwrap_or_else(|error| {
        eprintln!("tidemark: log.filter is not understood ({error}); using {default:?}");
        EnvFilter::new(default)
    });
    let to_people = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(to_people);
    match config.log.format {
        LogFormat::Text => builder.with_target(false).compact().init(),
        LogFormat::Json => builder.json().init(),
    }
}
