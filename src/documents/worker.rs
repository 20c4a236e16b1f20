//! `tidemark serve document-worker`: takes documents from the queue of a running platform and runs the steps on them.

use crate::auth::Guard;
use crate::config::Config;
use crate::ops::{self, Ops};
use crate::server;
use anyhow::Context;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidemark_document_worker::{Pipeline, Settings, Status, Stop, Token, Worker, end_with_parent};
use tidemark_query_api::Status as Told;

/// Works until it is told to stop. It serves `/v1/health`, `/v1/status` and `/metrics` only where it is told to listen: as a child
/// of `tidemark up` it does not. `parent` is the process that it is to end with.
///
/// # Errors
/// A setting or the pipeline file is wrong; there is no place to work.
pub fn serve(config: &Config, parent: Option<u32>) -> anyhow::Result<()> {
    if let Some(parent) = parent {
        anyhow::ensure!(
            end_with_parent(parent).context("cannot tell the parent process")?,
            "the parent process {parent} is gone"
        );
    }
    let guard = config.listen.map(|listen| Guard::open(config.auth.tokens.as_deref(), listen, "serve document-worker"));
    let guard = guard.transpose()?;
    let stop = Stop::new();
    let worker = Worker::new(settings(config)?, &stop)?;
    // One thread is enough for signals and a question now and then: a worker that is small shows what its steps take.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let (told, asked) = (worker.clone(), stop.clone());
    let place = config.listen.zip(guard);
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(answer(place, told, asked)))?;
    worker.run()?;
    Ok(())
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    let worker = &config.worker;
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let token = worker.token_file.clone().map(Token::File).or_else(|| set("TIDEMARK_TOKEN").map(Token::Text));
    let pipeline = worker.pipeline.as_deref().map(Pipeline::load).transpose()?.unwrap_or_default();
    Ok(Settings {
        token,
        worker: set("TIDEMARK_WORKER_NAME").or_else(|| worker.name.clone()).map(|name| own(&name)),
        capacity: usize::try_from(worker.capacity).unwrap_or(1),
        pipeline,
        heartbeat: Duration::from_millis(worker.heartbeat_ms),
        ..Settings::new(set("TIDEMARK_URL").unwrap_or_else(|| worker.url.clone()))
    })
}

/// A name that no worker had before: one that is started again must not be taken for the one that died, whose leases it would be
/// said to hold.
fn own(name: &str) -> String {
    let random = uuid::Uuid::now_v7().simple().to_string(); // its end is random, its beginning the time
    format!("{name}-{}", random.get(26..).unwrap_or_default())
}

/// Serves the operator's questions, and hands signals on: the second one ends what is in hand at once.
async fn answer(place: Option<(SocketAddr, Arc<Guard>)>, worker: Worker, stop: Stop) {
    let signals = async {
        loop {
            crate::serve::wait_for_signal().await;
            stop.ask();
        }
    };
    let Some((listen, guard)) = place else { return signals.await };
    tokio::spawn(Arc::clone(&guard).follow());
    let listener = match server::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the worker cannot be asked how it is; it works all the same");
            return signals.await;
        }
    };
    tokio::join!(signals, server::serve(listener, guard.protect(ops::router(ops(worker))), std::future::pending()));
}

fn ops(worker: Worker) -> Ops {
    let mut ops = Ops::default();
    let (away, counted) = (worker.clone(), worker.clone());
    ops.check("worker", || Ok(()));
    ops.warn("platform", move || away.status().away.map_or(Ok(()), Err));
    ops.metrics.push(Arc::new(move |out: &mut String| render(&counted.status(), out)));
    ops.status.push(Told::new("worker", move || told(&worker.status())));
    ops
}

fn told(status: &Status) -> serde_json::Value {
    let in_hand: Vec<_> = status
        .in_hand
        .iter()
        .map(|task| serde_json::json!({"task_id": task.task_id, "token": task.token, "step": task.step}))
        .collect();
    serde_json::json!({
        "worker": status.worker, "capacity": status.capacity, "in_hand": in_hand, "done": status.done, "failed": status.failed,
        "infrastructure_failures": status.infrastructure_failures, "revoked": status.revoked,
    })
}

fn render(status: &Status, out: &mut String) {
    let counters = [
        ("done", "Documents whose results were taken.", status.done),
        ("failed", "Documents whose error was taken.", status.failed),
        ("infrastructure_failures", "Documents given back for no fault of their own.", status.infrastructure_failures),
        ("revoked", "Leases that were lost while they were worked on.", status.revoked),
    ];
    for (name, help, value) in counters {
        let name = format!("tidemark_worker_{name}_total");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
}
