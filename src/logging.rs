//! Structured logs on standard error.

use crate::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging as configured. An invalid filter is said and `info` is used.
pub fn init(config: &Config) {
    let filter = EnvFilter::try_new(&config.log.filter).unwrap_or_else(|error| {
        eprintln!("tidemark: log.filter {:?} is not understood ({error}); using \"info\"", config.log.filter);
        EnvFilter::new("info")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_target(false).compact().init(),
        LogFormat::Json => builder.json().init(),
    }
}
