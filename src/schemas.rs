//! `tidemark schemas check`.

use crate::config::Config;
use std::process::ExitCode;
use tidemark_schemas::catalog;
use tidemark_schemas::registry::{HttpRegistry, check};

/// Compares the built-in schemas with the released ones, or with a registry's latest, and prints every breaking change
/// with schema, field and reason. Fails (1) when there is one.
///
/// # Errors
/// The registry does not answer.
pub fn check(config: &Config) -> anyhow::Result<ExitCode> {
    let earlier = match &config.registry.url {
        Some(url) => check::registered(&HttpRegistry::new(url))?,
        None => check::baseline(),
    };
    let report = check::check(catalog::ALL, &earlier)?;
    println!("{report}");
    Ok(if report.is_breaking() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
