//! The parts of the pipeline on a process: the keyed process with its tables and figures, the notifier, the API.

use super::settings;
use crate::process::Process;
use anyhow::Context;
use std::sync::Arc;
use tidemark_documents::Documents;
use tidemark_jobs::{documents, platform};
use tidemark_runtime::keyed;
use tidemark_runtime::run::Parts;
use tidemark_runtime::{Metrics, Running};

impl Process {
    /// The keyed process that decides, and the writers of its tables; what it counts is told with the jobs.
    ///
    /// # Errors
    /// Log or registry refuse or do not answer.
    pub(crate) fn start_documents(&mut self) -> anyhow::Result<(Running, Arc<Metrics>)> {
        let metrics = Arc::new(Metrics::default());
        let parts = Parts { metrics: Arc::clone(&metrics), ..self.parts()? };
        let (stages, process) = (self.stages(None), settings::process(&self.config.documents));
        let running =
            tokio::task::block_in_place(|| documents::start(&parts, &stages, process)).context("documents")?;
        let (ready, told) = (Arc::clone(&metrics), Arc::clone(&metrics));
        self.ops.check("documents", move || ready.ready());
        self.ops.status.push(tidemark_query_api::Status::new("documents", move || told.status()));
        Ok((running, metrics))
    }

    /// Whoever sends the mails.
    ///
    /// # Errors
    /// A setting or template is wrong; log or registry refuse or do not answer.
    pub(crate) fn start_notifier(&mut self) -> anyhow::Result<Running> {
        let (stage_metrics, metrics) = (Arc::new(Metrics::default()), Arc::new(tidemark_notifier::Metrics::default()));
        let parts = keyed::Parts {
            log: Arc::clone(&self.log),
            registry: self.registry(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&stage_metrics),
            spans: self.telemetry.spans(),
        };
        let stages = tidemark_runtime::Settings { threads: 1, ..self.stages(None) };
        let (settings, mut running) = (settings::mails(&self.config)?, Running::new());
        let start = || tidemark_notifier::start(&mut running, &settings, &parts, &stages, &metrics);
        tokio::task::block_in_place(start).context("notifier")?;
        self.ops.check("notifier", move || stage_metrics.ready());
        let (away, counted) = (Arc::clone(&metrics), metrics);
        self.ops.warn("mail", move || away.warning().map_or(Ok(()), Err));
        self.ops.metrics.push(Arc::new(move |out: &mut String| counted.render(out)));
        Ok(running)
    }

    /// Upload, queue, reads and search over HTTP.
    ///
    /// # Errors
    /// Store or index cannot be opened.
    pub(crate) fn start_documents_api(&mut self) -> anyhow::Result<Arc<Documents>> {
        let config = settings::api(&self.config, &self.replica.dir, &self.replica.id)?;
        let (log, registry, views, clock) =
            (Arc::clone(&self.log), self.registry(), self.views()?, Arc::clone(&self.clock));
        let start = || Documents::start(log, registry, views, config, clock);
        let api = tokio::task::block_in_place(start).context("documents")?;
        let (ready, counted) = (Arc::clone(&api), Arc::clone(&api));
        self.ops.check("documents-api", move || ready.ready());
        self.ops.metrics.push(Arc::new(move |out: &mut String| counted.render(out)));
        Ok(api)
    }
}

/// The jobs of the figures, unless they have been applied: what became of them since is the people's business. They are not worth
/// keeping a process from starting.
pub(crate) fn apply_figures(applied: &platform::Jobs) {
    for (name, text) in documents::JOBS {
        match applied.apply_new(name, text) {
            Ok(true) => tracing::info!(job = name, "applied"),
            Ok(false) => {}
            Err(error) => tracing::error!(job = name, %error, "the figures of documents cannot be applied"),
        }
    }
}
