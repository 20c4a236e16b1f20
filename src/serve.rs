//! `tidemark up` and `tidemark serve`: puts the parts of a process together, runs them, and stops them in order.

use crate::auth::{self, Guard};
use crate::config::Config;
use crate::documents::{self, Workers};
use crate::hello::{Hello, say_hello};
use crate::open::{self, Schemas};
use crate::process::{Jobs, Process, query_api};
use crate::replica::Replica;
use crate::telemetry::Telemetry;
use crate::{demo, ops, server, topics};
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use tidemark_documents::Documents;
use tidemark_gateway::Gateway;
use tidemark_runtime::Running;

/// A part that can run in processes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The write API: events in.
    Gateway,
    /// The jobs: folds and view writers.
    Jobs,
    /// The read API and the dashboard.
    QueryApi,
    /// Documents over HTTP: upload, queue, state, results, search, and their page.
    Documents,
    /// Takes documents from the queue of a running platform, by HTTP, and runs the steps on them.
    DocumentWorker,
    /// Sends mails.
    Notifier,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Jobs => "jobs",
            Self::QueryApi => "query-api",
            Self::Documents => "documents",
            Self::DocumentWorker => "document-worker",
            Self::Notifier => "notifier",
        }
    }

    /// 0 is any free port: nobody but Prometheus asks the jobs and the notifier.
    fn port(self) -> u16 {
        match self {
            Self::Gateway => 8080,
            Self::QueryApi => 8082,
            Self::Documents => 8083,
            Self::Jobs | Self::DocumentWorker | Self::Notifier => 0,
        }
    }
}

/// Everything in one process, but for the workers of documents, which are its children and read the configuration in `file`.
///
/// # Errors
/// A part cannot be opened, or the address is in use.
pub fn up(config: &Config, file: Option<&Path>, demo: bool) -> anyhow::Result<()> {
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
        let notifier = process.start_notifier()?;
        let documents = process.start_documents_api()?;
        let hello = Hello::new(config, &process, address, guard.own_authorization().is_some());
        let api = process.start_query_api()?;
        let mut router = tidemark_query_api::routes(&api).merge(tidemark_gateway::router(Arc::clone(&gateway)));
        if let Schemas::Embedded(registry) = &process.schemas {
            router = router.nest("/registry", crate::registry::router(Arc::clone(registry)));
        }
        let router = router.merge(jobs.router(&process)?).merge(process.records());
        let router = router.merge(tidemark_documents::router(&documents));
        let router = tidemark_query_api::finish(guard.protect(router), &api);
        tokio::spawn(Arc::clone(&guard).follow());
        tokio::spawn(say_hello(hello));
        if demo {
            let (clock, seeded) = (Arc::clone(&process.clock), process.replica.dir.join("demo-seeded"));
            let authorization = guard.own_authorization();
            let run = move || demo::run(address, authorization, &clock, &seeded);
            std::thread::Builder::new().name("demo".into()).spawn(run)?;
        }
        let token = guard.own_authorization().map(|header| header.trim_start_matches("Bearer ").to_owned());
        let workers = Workers::start(config, file, address, token, &process.replica).context("workers")?;
        let (closing, closing_documents) = (Arc::clone(&api), Arc::clone(&documents));
        server::serve(listener, router, async move {
            stopped().await;
            // While there is still somebody to take what they bring.
            let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
            closing.close();
            closing_documents.close();
        })
        .await;
        let parts = Parts {
            gateway: Some(gateway),
            documents: Some(documents),
            notifier: Some(notifier),
            jobs: Some(jobs),
            telemetry: process.telemetry,
        };
        parts.stop_in_order().await
    })
}

/// One part against servers.
///
/// # Errors
/// An address is missing, a server cannot be reached, or the address is in use.
pub fn serve(config: &Config, part: Part, parent: Option<u32>) -> anyhow::Result<()> {
    if part == Part::DocumentWorker {
        return documents::worker::serve(config, parent);
    }
    anyhow::ensure!(parent.is_none(), "--with-parent is for workers");
    let given = [
        (config.kafka.bootstrap.is_some(), "--kafka HOST:PORT"),
        (!config.cql.contact_points.is_empty() || [Part::Gateway, Part::Notifier].contains(&part), "--cql HOST:PORT"),
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
            Part::Documents => serve_documents(config, replica, listener, &guard).await,
            Part::Notifier => serve_notifier(config, replica, listener, &guard).await,
            Part::DocumentWorker => Ok(()), // above
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
    Parts { gateway: Some(gateway), ..Parts::of(process.telemetry) }.stop_in_order().await
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
    Parts { jobs: Some(jobs), ..Parts::of(process.telemetry) }.stop_in_order().await
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

async fn serve_documents(
    config: &Config,
    replica: Replica,
    listener: tokio::net::TcpListener,
    guard: &Arc<Guard>,
) -> anyhow::Result<()> {
    let mut process = Process::open(config, replica).await?;
    let documents = process.start_documents_api()?;
    let router = tidemark_documents::router(&documents).merge(ops::router(std::mem::take(&mut process.ops)));
    let closing = Arc::clone(&documents);
    server::serve(listener, guard.protect(router), async move {
        stopped().await;
        closing.close();
    })
    .await;
    Parts { documents: Some(documents), ..Parts::of(process.telemetry) }.stop_in_order().await
}

async fn serve_notifier(
    config: &Config,
    replica: Replica,
    listener: tokio::net::TcpListener,
    guard: &Arc<Guard>,
) -> anyhow::Result<()> {
    let (clock, log) = (tidemark_log::system_clock(), open::kafka_later(config)?);
    let mut process = Process::open_on(config, replica, log, clock)?;
    let notifier = process.start_notifier()?;
    let router = ops::router(std::mem::take(&mut process.ops));
    server::serve(listener, guard.protect(router), stopped()).await;
    Parts { notifier: Some(notifier), ..Parts::of(process.telemetry) }.stop_in_order().await
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

pub(crate) async fn wait_for_signal() {
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

/// What of a process is to be stopped.
struct Parts {
    gateway: Option<Arc<Gateway>>,
    documents: Option<Arc<Documents>>,
    notifier: Option<Running>,
    jobs: Option<Jobs>,
    telemetry: Telemetry,
}

impl Parts {
    /// None yet.
    fn of(telemetry: Telemetry) -> Self {
        Self { gateway: None, documents: None, notifier: None, jobs: None, telemetry }
    }

    /// First what takes records in, then what folds them: what was accepted is published, what was read is committed. Their last
    /// spans are exported after that.
    async fn stop_in_order(self) -> anyhow::Result<()> {
        let stop = move || {
            if let Some(documents) = self.documents {
                documents.stop();
            }
            if let Some(gateway) = self.gateway {
                gateway.stop();
            }
            if let Some(jobs) = self.jobs {
                jobs.stop();
            }
            if let Some(notifier) = self.notifier {
                notifier.stop();
            }
            self.telemetry.stop();
        };
        tokio::task::spawn_blocking(stop).await.context("stopping")?;
        eprintln!("stopped; start again to go on from here");
        Ok(())
    }
}
