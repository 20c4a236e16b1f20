//! What the parts of one process share, and how the parts are started on it.

use crate::auth;
use crate::config::Config;
use crate::open::{self, Schemas};
use crate::replica::Replica;
use crate::telemetry::Telemetry;
use crate::{documents, jobs, ops, topics, watchdog};
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use tidemark_core::Job;
use tidemark_gateway::{Gateway, GatewayConfig, SpoolConfig};
use tidemark_jobs::hosted::{self, Hosted};
use tidemark_jobs::{flows, platform};
use tidemark_log::{Clock, Log};
use tidemark_query_api::{Api, QueryConfig};
use tidemark_runtime::run::Parts;
use tidemark_runtime::state::StateConfig;
use tidemark_runtime::{Metrics, Running};
use tidemark_schemas::registry::Registry;
use tidemark_views::ViewStore;

/// The jobs that are built in, and those that were applied.
pub(crate) struct Jobs {
    built_in: Vec<jobs::http::BuiltIn>,
    running: Vec<Running>,
    pub(crate) applied: Arc<platform::Jobs>,
    thread: std::thread::JoinHandle<()>,
}

impl Jobs {
    pub(crate) fn router(&self, process: &Process) -> anyhow::Result<axum::Router> {
        let recompute = jobs::recompute_http::router(jobs::recompute_http::Context {
            jobs: Arc::clone(&self.applied),
            built_in: self.built_in.iter().map(|own| Arc::clone(&own.job)).collect(),
            log: Arc::clone(&process.log),
            registry: process.registry(),
            views: process.views()?,
            clock: Arc::clone(&process.clock),
        });
        let jobs = jobs::http::router(jobs::http::Context {
            jobs: Arc::clone(&self.applied),
            built_in: self.built_in.clone(),
            log: Arc::clone(&process.log),
            registry: process.registry(),
            views: process.views()?,
        });
        Ok(jobs.merge(recompute))
    }

    /// Commits what is folded and ends the threads.
    pub(crate) fn stop(self) {
        self.applied.stop();
        self.running.into_iter().for_each(Running::stop);
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread of the applied jobs panicked; what was not committed is read again at the next start"
            );
        }
    }
}

/// What the parts of one process share.
pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) replica: Replica,
    pub(crate) clock: Clock,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) schemas: Schemas,
    views: Option<Arc<dyn ViewStore>>,
    pub(crate) ops: ops::Ops,
    pub(crate) telemetry: Telemetry,
}

impl Process {
    pub(crate) async fn open(config: &Config, replica: Replica) -> anyhow::Result<Self> {
        let clock = tidemark_log::system_clock();
        let log = open::log(config, &replica.dir, &clock)?;
        let mut process = Self::open_on(config, replica, log, clock)?;
        process.views = Some(open::views(config, &process.replica.dir, &process.clock).await?);
        Ok(process)
    }

    pub(crate) fn open_on(config: &Config, replica: Replica, log: Arc<dyn Log>, clock: Clock) -> anyhow::Result<Self> {
        let schemas = open::schemas(config, &log)?;
        let telemetry = Telemetry::start(config, &replica.id)?;
        let mut ops = ops::Ops::default();
        watchdog::start(&mut ops).context("watchdog thread")?;
        Ok(Self { config: config.clone(), replica, clock, log, schemas, views: None, ops, telemetry })
    }

    pub(crate) fn registry(&self) -> Arc<dyn Registry> {
        self.schemas.registry()
    }

    pub(crate) fn views(&self) -> anyhow::Result<Arc<dyn ViewStore>> {
        self.views.clone().context("the view store is not open")
    }

    /// The route that shows what is on topics.
    pub(crate) fn records(&self) -> axum::Router {
        let (log, registry) = (Arc::clone(&self.log), self.registry());
        topics::records_http::router(topics::records_http::Context { log, registry })
    }

    /// What stages run on; the counters are to be replaced by those of whoever it is for.
    pub(crate) fn parts(&self) -> anyhow::Result<Parts> {
        Ok(Parts {
            log: Arc::clone(&self.log),
            registry: self.registry(),
            views: self.views()?,
            handle: tokio::runtime::Handle::current(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::new(Metrics::default()),
            spans: self.telemetry.spans(),
        })
    }

    /// How stages run; `state` is where they keep theirs.
    pub(crate) fn stages(&self, state: Option<StateConfig>) -> tidemark_runtime::Settings {
        tidemark_runtime::Settings {
            replica: self.replica.id.clone(),
            threads: self.config.jobs.threads,
            commit_interval_ms: self.config.jobs.commit_interval_ms,
            session_timeout: Duration::from_millis(self.config.jobs.session_timeout_ms),
            state,
        }
    }

    pub(crate) fn start_jobs(&mut self) -> anyhow::Result<Jobs> {
        let built_in = jobs::built_in::built_in(&self.config)?;
        let metrics: Vec<Arc<Metrics>> = built_in.iter().map(|_| Arc::new(Metrics::default())).collect();
        let (pipeline, pipeline_metrics) = self.start_documents()?;
        let (parts, settings) = (self.parts()?, self.stages(Some(self.config.jobs.state(&self.replica.dir))));
        let (running, applied, thread) = tokio::task::block_in_place(|| -> anyhow::Result<_> {
            let start = |(job, metrics): (&Arc<dyn Hosted>, &Arc<Metrics>)| {
                let parts = Parts { metrics: Arc::clone(metrics), ..parts.clone() };
                hosted::start_built_in(Arc::clone(job), &parts, &settings)
            };
            let mut running: Vec<Running> = built_in.iter().zip(&metrics).map(start).collect::<Result<_, _>>()?;
            running.push(pipeline);
            let views = built_in.iter().map(|job| tidemark_spec::View::of(job.head())).collect();
            let (applied, thread) = platform::Jobs::start(parts.clone(), settings.clone(), views)?;
            documents::apply_figures(&applied);
            Ok((running, applied, thread))
        })?;
        let named = |job: &Arc<dyn Hosted>| (job.head().spec().name.clone(), job.head().spec().version);
        let own: Vec<_> = built_in.iter().map(named).zip(metrics.iter().cloned()).collect();
        let here = |(job, metrics): (Arc<dyn Hosted>, &Arc<Metrics>)| {
            let metrics = Arc::clone(metrics);
            jobs::http::BuiltIn { job, metrics }
        };
        let built_in = built_in.into_iter().zip(&metrics).map(here).collect();
        // What is shown of the process at a glance is its first job, the flows'.
        let told = metrics.first().cloned().unwrap_or_default();
        let (troubles, warned) = (Arc::clone(&applied), Arc::clone(&applied));
        self.ops.status.push(tidemark_query_api::Status::new("jobs", move || {
            let mut status = told.status();
            let troubles: Vec<_> = troubles
                .troubles()
                .into_iter()
                .map(|((job, version), why)| serde_json::json!({"job": job, "version": version, "why": why}))
                .collect();
            status
                .as_object_mut()
                .into_iter()
                .for_each(|status| drop(status.insert("failed".into(), troubles.clone().into())));
            status
        }));
        self.ops.check("jobs", move || metrics.iter().try_for_each(|metrics| metrics.ready()));
        // The process does its other work: it stays in rotation.
        self.ops.warn("jobs", move || {
            let why = |((job, version), why)| format!("{job} version {version}: {why}");
            let all: Vec<String> = warned.troubles().into_iter().map(why).collect();
            if all.is_empty() { Ok(()) } else { Err(all.join("; ")) }
        });
        let all = Arc::clone(&applied);
        self.ops.metrics.push(Arc::new(move |out: &mut String| {
            let label = |job: &str, version: &dyn std::fmt::Display| format!("job=\"{job}\",version=\"{version}\"");
            let own = own.iter().map(|((job, version), metrics)| (label(job, version), Arc::clone(metrics)));
            let own = own.chain([(label("documents", &1), Arc::clone(&pipeline_metrics))]);
            let applied = all.metrics().into_iter().map(|((job, version), metrics)| (label(&job, &version), metrics));
            tidemark_runtime::metrics::join::render(&own.chain(applied).collect::<Vec<_>>(), out);
            all.render(out);
        }));
        Ok(Jobs { built_in, running, applied, thread })
    }

    pub(crate) fn start_gateway(&mut self) -> anyhow::Result<Arc<Gateway>> {
        let settings = &self.config.spool;
        let dir = settings.dir.clone().unwrap_or_else(|| self.replica.dir.join("spool"));
        let spool =
            SpoolConfig { dir, max_bytes: settings.max_bytes, max_age: Duration::from_millis(settings.max_age_ms) };
        let config = GatewayConfig {
            max_future: Duration::from_millis(u64::try_from(self.config.flows.max_future_ms).unwrap_or(0)),
            flows_topic: Some(topics::flows_topic(&self.config)),
            keys_max: settings.keys_max,
            ..GatewayConfig::new(spool)
        };
        let gateway = Gateway::start(
            Arc::clone(&self.log),
            self.registry(),
            config,
            Arc::clone(&self.clock),
            self.telemetry.spans(),
        )?;
        let (ready, counted, told) = (Arc::clone(&gateway), Arc::clone(&gateway), Arc::clone(&gateway));
        self.ops.status.push(tidemark_query_api::Status::new("gateway", move || told.status()));
        self.ops.check("gateway", move || ready.ready().map_err(|reasons| reasons.join("; ")));
        self.ops.metrics.push(Arc::new(move |out: &mut String| counted.render(out)));
        Ok(gateway)
    }

    pub(crate) fn start_query_api(&mut self) -> anyhow::Result<Arc<Api>> {
        let ops = std::mem::take(&mut self.ops);
        let parts = tidemark_query_api::Parts {
            checks: ops.checks,
            warnings: ops.warnings,
            metrics: ops.metrics,
            status: ops.status,
            docs: vec![
                tidemark_gateway::openapi(),
                auth::openapi(),
                jobs::openapi::openapi(),
                tidemark_documents::openapi(),
            ],
        };
        query_api(&self.config, self.views()?, Arc::clone(&self.clock), parts)
    }
}

/// The read API on views.
pub(crate) fn query_api(
    config: &Config,
    views: Arc<dyn ViewStore>,
    clock: Clock,
    parts: tidemark_query_api::Parts,
) -> anyhow::Result<Arc<Api>> {
    let view = flows::hourly(&config.flows.job())?.head().columns().view.clone();
    let query = QueryConfig::new(view, config.flows.grace_ms, config.flows.idle_after_ms);
    Ok(Api::new(views, query, clock, parts)?)
}
