//! `tidemark up` and `tidemark serve`: puts the parts of a process together, runs them, and stops them in order.

use crate::auth::{self, Guard};
use crate::config::Config;
use crate::open::{self, Schemas};
use crate::replica::Replica;
use crate::telemetry::Telemetry;
use crate::{demo, jobs, ops, server, topics, watchdog};
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
use tidemark_runtime::{Metrics, Running};
use tidemark_schemas::registry::Registry;
use tidemark_views::ViewStore;

/// A part that can run in processes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The write API: events in.
    Gateway,
    /// The jobs: folds and view writers.
    Jobs,
    /// The read API and the dashboard.
    QueryApi,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Jobs => "jobs",
            Self::QueryApi => "query-api",
        }
    }

    /// 0 is any free port: nobody but Prometheus asks the jobs.
    fn port(self) -> u16 {
        match self {
            Self::Gateway => 8080,
            Self::QueryApi => 8082,
            Self::Jobs => 0,
        }
    }
}

/// Everything in one process.
///
/// # Errors
/// A part cannot be opened, or the address is in use.
pub fn up(config: &Config, demo: bool) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let listen = config.listen_or(8080);
        let guard = Guard::open(config.auth.tokens.as_deref(), listen, "up")?;
        let replica = Replica::claim(&config.data_dir)?;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr()?;
        let mut process = Process::open(config, replica).await?;
        process.log.create_topics(&topics::sources(config, process.log.as_ref())?)?;
        let jobs = process.start_jobs()?;
        let gateway = process.start_gateway()?;
        let hello = Hello::new(config, &process, address, guard.own_authorization().is_some());
        let api = process.start_query_api()?;
        let mut router = tidemark_query_api::routes(&api).merge(tidemark_gateway::router(Arc::clone(&gateway)));
        if let Schemas::Embedded(registry) = &process.schemas {
            router = router.nest("/registry", crate::registry::router(Arc::clone(registry)));
        }
        let router = router.merge(jobs.router(&process)?).merge(process.records());
        let router = tidemark_query_api::finish(guard.protect(router), &api);
        tokio::spawn(Arc::clone(&guard).follow());
        tokio::spawn(say_hello(hello));
        if demo {
            let (clock, seeded) = (Arc::clone(&process.clock), process.replica.dir.join("demo-seeded"));
            let authorization = guard.own_authorization();
            let run = move || demo::run(address, authorization, &clock, &seeded);
            std::thread::Builder::new().name("demo".into()).spawn(run)?;
        }
        let closing = Arc::clone(&api);
        server::serve(listener, router, async move {
            stopped().await;
            closing.close();
        })
        .await;
        stop_in_order(Some(gateway), Some(jobs), process.telemetry).await
    })
}

/// One part against servers.
///
/// # Errors
/// An address is missing, a server cannot be reached, or the address is in use.
pub fn serve(config: &Config, part: Part) -> anyhow::Result<()> {
    let given = [
        (config.kafka.bootstrap.is_some(), "--kafka HOST:PORT"),
        (!config.cql.contact_points.is_empty() || part == Part::Gateway, "--cql HOST:PORT"),
        (config.registry.url.is_some() || part == Part::QueryApi, "--registry URL"),
    ];
    let missing: Vec<&str> = given.iter().filter(|(given, _)| !given).map(|(_, flag)| *flag).collect();
    anyhow::ensure!(missing.is_empty(), "`serve {}` runs against servers: give {}", part.name(), missing.join(" and "));
    runtime()?.block_on(async {
        let listen = config.listen_or(part.port());
        let guard = Guard::open(config.auth.tokens.as_deref(), listen, &format!("serve {}", part.name()))?;
        tokio::spawn(Arc::clone(&guard).follow());
        let replica = Replica::claim_one_of(&config.data_dir, part.name())?;
        let listener = server::bind(listen).await?;
        println!("tidemark {} on http://{}  (replica {})", part.name(), listener.local_addr()?, replica.id);
        match part {
            Part::Gateway => serve_gateway(config, replica, listener, &guard).await,
            Part::Jobs => serve_jobs(config, replica, listener, &guard).await,
            Part::QueryApi => serve_query_api(config, listener, &guard).await,
        }
    })
}

async fn serve_gateway(
    config: &Config,
    replica: Replica,
    listener: tokio::net::TcpListener,
    guard: &Arc<Guard>,
) -> anyhow::Result<()> {
    let clock = tidemark_log::system_clock();
    let mut process = Process::open_on(config, replica, open::kafka_later(config)?, clock)?;
    let gateway = process.start_gateway()?;
    let router = tidemark_gateway::router(Arc::clone(&gateway))
        .merge(process.records())
        .merge(ops::router(process.ops))
        .method_not_allowed_fallback(tidemark_gateway::method_not_allowed);
    server::serve(listener, guard.protect(router), stopped()).await;
    stop_in_order(Some(gateway), None, process.telemetry).await
}

async fn serve_jobs(
    config: &Config,
    replica: Replica,
    listener: tokio::net::TcpListener,
    guard: &Arc<Guard>,
) -> anyhow::Result<()> {
    let mut process = Process::open(config, replica).await?;
    process.log.create_topics(&topics::sources(config, process.log.as_ref())?)?;
    let jobs = process.start_jobs()?;
    let router = jobs.router(&process)?.merge(process.records()).merge(ops::router(std::mem::take(&mut process.ops)));
    server::serve(listener, guard.protect(router), stopped()).await;
    stop_in_order(None, Some(jobs), process.telemetry).await
}

async fn serve_query_api(config: &Config, listener: tokio::net::TcpListener, guard: &Arc<Guard>) -> anyhow::Result<()> {
    let clock = tidemark_log::system_clock();
    let views = open::views(config, &config.data_dir, &clock).await?;
    let parts = tidemark_query_api::Parts { docs: vec![auth::openapi()], ..tidemark_query_api::Parts::default() };
    let api = query_api(config, views, clock, parts)?;
    let closing = Arc::clone(&api);
    let router = tidemark_query_api::finish(guard.protect(tidemark_query_api::routes(&api)), &api);
    server::serve(listener, router, async move {
        stopped().await;
        closing.close();
    })
    .await;
    Ok(())
}

/// The jobs that are built in, and those that were applied.
struct Jobs {
    built_in: Vec<jobs::http::BuiltIn>,
    running: Vec<Running>,
    applied: Arc<platform::Jobs>,
    thread: std::thread::JoinHandle<()>,
}

impl Jobs {
    fn router(&self, process: &Process) -> anyhow::Result<axum::Router> {
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
    fn stop(self) {
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
struct Process {
    config: Config,
    replica: Replica,
    clock: Clock,
    log: Arc<dyn Log>,
    schemas: Schemas,
    views: Option<Arc<dyn ViewStore>>,
    ops: ops::Ops,
    telemetry: Telemetry,
}

impl Process {
    async fn open(config: &Config, replica: Replica) -> anyhow::Result<Self> {
        let clock = tidemark_log::system_clock();
        let log = open::log(config, &replica.dir, &clock)?;
        let mut process = Self::open_on(config, replica, log, clock)?;
        process.views = Some(open::views(config, &process.replica.dir, &process.clock).await?);
        Ok(process)
    }

    fn open_on(config: &Config, replica: Replica, log: Arc<dyn Log>, clock: Clock) -> anyhow::Result<Self> {
        let schemas = open::schemas(config, &log)?;
        let telemetry = Telemetry::start(config, &replica.id)?;
        let mut ops = ops::Ops::default();
        watchdog::start(&mut ops).context("watchdog thread")?;
        Ok(Self { config: config.clone(), replica, clock, log, schemas, views: None, ops, telemetry })
    }

    fn registry(&self) -> Arc<dyn Registry> {
        self.schemas.registry()
    }

    fn views(&self) -> anyhow::Result<Arc<dyn ViewStore>> {
        self.views.clone().context("the view store is not open")
    }

    /// The route that shows what is on topics.
    fn records(&self) -> axum::Router {
        let (log, registry) = (Arc::clone(&self.log), self.registry());
        topics::records_http::router(topics::records_http::Context { log, registry })
    }

    fn start_jobs(&mut self) -> anyhow::Result<Jobs> {
        let built_in = jobs::built_in::built_in(&self.config)?;
        let metrics: Vec<Arc<Metrics>> = built_in.iter().map(|_| Arc::new(Metrics::default())).collect();
        let parts = Parts {
            log: Arc::clone(&self.log),
            registry: self.registry(),
            views: self.views()?,
            handle: tokio::runtime::Handle::current(),
            clock: Arc::clone(&self.clock),
            metrics: Arc::new(Metrics::default()),
            spans: self.telemetry.spans(),
        };
        let settings = tidemark_runtime::Settings {
            replica: self.replica.id.clone(),
            threads: self.config.jobs.threads,
            commit_interval_ms: self.config.jobs.commit_interval_ms,
            session_timeout: Duration::from_millis(self.config.jobs.session_timeout_ms),
            state: Some(self.config.jobs.state(&self.replica.dir)),
        };
        let (running, applied, thread) = tokio::task::block_in_place(|| -> anyhow::Result<_> {
            let start = |(job, metrics): (&Arc<dyn Hosted>, &Arc<Metrics>)| {
                let parts = Parts { metrics: Arc::clone(metrics), ..parts.clone() };
                hosted::start_built_in(Arc::clone(job), &parts, &settings)
            };
            let running: Vec<Running> = built_in.iter().zip(&metrics).map(start).collect::<Result<_, _>>()?;
            let views = built_in.iter().map(|job| tidemark_spec::View::of(job.head())).collect();
            let (applied, thread) = platform::Jobs::start(parts.clone(), settings.clone(), views)?;
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
            let applied = all.metrics().into_iter().map(|((job, version), metrics)| (label(&job, &version), metrics));
            tidemark_runtime::metrics::join::render(&own.chain(applied).collect::<Vec<_>>(), out);
            all.render(out);
        }));
        Ok(Jobs { built_in, running, applied, thread })
    }

    fn start_gateway(&mut self) -> anyhow::Result<Arc<Gateway>> {
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

    fn start_query_api(&mut self) -> anyhow::Result<Arc<Api>> {
        let ops = std::mem::take(&mut self.ops);
        let parts = tidemark_query_api::Parts {
            checks: ops.checks,
            warnings: ops.warnings,
            metrics: ops.metrics,
            status: ops.status,
            docs: vec![tidemark_gateway::openapi(), auth::openapi(), jobs::openapi::openapi()],
        };
        query_api(&self.config, self.views()?, Arc::clone(&self.clock), parts)
    }
}

fn query_api(
    config: &Config,
    views: Arc<dyn ViewStore>,
    clock: Clock,
    parts: tidemark_query_api::Parts,
) -> anyhow::Result<Arc<Api>> {
    let view = flows::hourly(&config.flows.job())?.head().columns().view.clone();
    let query = QueryConfig::new(view, config.flows.grace_ms, config.flows.idle_after_ms);
    Ok(Api::new(views, query, clock, parts)?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}

/// Ready at Ctrl-C or SIGTERM; a second one ends the process at once.
async fn stopped() {
    wait_for_signal().await;
    eprintln!("\nstopping: committing what is folded (once more to stop at once)");
    tokio::spawn(async {
        wait_for_signal().await;
        std::process::exit(130);
    });
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM is not handled; Ctrl-C is");
            return drop(tokio::signal::ctrl_c().await);
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// First what takes records in, then what folds them: what was accepted is published, what was read is committed. Their last
/// spans are exported after that.
async fn stop_in_order(gateway: Option<Arc<Gateway>>, jobs: Option<Jobs>, telemetry: Telemetry) -> anyhow::Result<()> {
    let stop = move || {
        if let Some(gateway) = gateway {
            gateway.stop();
        }
        if let Some(jobs) = jobs {
            jobs.stop();
        }
        telemetry.stop();
    };
    tokio::task::spawn_blocking(stop).await.context("stopping")?;
    eprintln!("stopped; start again to go on from here");
    Ok(())
}

/// Says what runs on what, then waits for every part to be ready and says what to do first.
async fn say_hello(hello: Hello) {
    println!("\n  log       {}\n  views     {}\n  registry  {}", hello.log, hello.views, hello.registry);
    let (address, began) = (hello.address, std::time::Instant::now());
    let mut told = String::new();
    loop {
        let waiting =
            hello.checks.iter().find_map(|check| (check.check)().err().map(|why| format!("{}: {why}", check.name)));
        let Some(waiting) = waiting else { break };
        if waiting != told && began.elapsed() > Duration::from_secs(1) {
            println!("  waiting   {waiting}");
            told = waiting;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("\n  Tidemark is up:  http://{address}\n");
    println!("  Publish a flow, then read it back, marked as partial:\n");
    let token = if hello.needs_token { " -H \"authorization: Bearer $TOKEN\"" } else { "" };
    println!("    curl http://{address}/v1/flows{token} -H 'content-type: application/json' \\");
    let flow = r#"{"src_app":"shop","dest_app":"db","vpc_id":"vpc-1","hour":'$(($(date +%s)/3600))',"bytes_tx":10,"bytes_rx":20}"#;
    println!("      -d '{flow}'");
    println!("    curl{token} 'http://{address}/v1/flows?src_app=shop'\n");
    println!("  Ctrl-C stops; starting again goes on where it stopped.\n");
}

/// What a newcomer is told.
struct Hello {
    log: String,
    views: String,
    registry: String,
    address: std::net::SocketAddr,
    needs_token: bool,
    checks: Vec<tidemark_query_api::Check>,
}

impl Hello {
    fn new(config: &Config, process: &Process, address: std::net::SocketAddr, needs_token: bool) -> Self {
        let dir = process.replica.dir.display();
        let embedded = || format!("embedded, in {dir}");
        Self {
            log: config.kafka.bootstrap.as_ref().map_or_else(embedded, |kafka| format!("Kafka at {kafka}")),
            views: config.cql.contact_points.first().map_or_else(embedded, |cql| format!("CQL store at {cql}")),
            registry: config.registry.url.clone().unwrap_or_else(|| format!("embedded, at http://{address}/registry")),
            address,
            needs_token,
            checks: process.ops.checks.clone(),
        }
    }
}
