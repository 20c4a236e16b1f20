//! Jobs that are part of the program: those in Rust.

use crate::config::Config;
use std::sync::Arc;
use tidemark_jobs::flows;
use tidemark_jobs::hosted::Hosted;
use tidemark_spec::Problems;

/// The jobs that every process of the platform runs, besides those that were applied. A fold in Rust becomes a job of the
/// platform by a line here: `Arc::new(peaks::job()?)`. Its name cannot be taken by a file then.
///
/// # Errors
/// All that is wrong with one of them.
pub fn built_in(config: &Config) -> Result<Vec<Arc<dyn Hosted>>, Problems> {
    Ok(vec![Arc::new(flows::hourly(&config.flows.job())?)])
}
