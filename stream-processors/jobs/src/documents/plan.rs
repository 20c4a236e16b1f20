//! The topics, tables and threads of the pipeline.

use super::{Documents, Settings};
use std::sync::Arc;
use tidemark_log::{Cleanup, TopicSpec};
use tidemark_runtime::keyed::{self, Output, Spec, View};
use tidemark_runtime::run::Parts;
use tidemark_runtime::{Error, Running};
use tidemark_schemas::avro;
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};
use tidemark_views::documents::{self as tables, Tabled};
use tidemark_views::{Row, ViewSpec};

/// Names of the topics.
pub mod topic {
    /// What people and workers want; keyed by tenant and queue (`default/documents`).
    pub const COMMANDS: &str = "documents.commands";
    /// What they are answered, by request_id.
    pub const ANSWERS: &str = "documents.answers";
    /// The task log, by tenant/queue/file_id.
    pub const TASKS: &str = "documents.tasks";
    /// Runs of steps, by tenant/queue/file_id.
    pub const STEPS: &str = "documents.steps";
    /// Rows of documents, by tenant/queue/file_id.
    pub const ROWS: &str = "view.documents.v1";
    /// Workers, by tenant, queue and worker.
    pub const WORKERS: &str = "documents.workers";
    /// Mails to be sent, by mail_id.
    pub const MAILS: &str = "notifications.mails";
}

/// Partitions of each topic. Those of the commands never change: a queue stays where it is.
pub const PARTITIONS: u32 = 4;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What the process reads and writes, with its topics.
pub fn spec() -> Spec {
    use topic::{ANSWERS, COMMANDS, MAILS, ROWS, STEPS, TASKS, WORKERS};
    let (delete, compact) = (Cleanup::Delete, Cleanup::Compact);
    let output = |name: &str, schema: Schema, cleanup, kept_ms| Output { topic: made(name, cleanup, kept_ms), schema };
    Spec {
        name: "documents".to_owned(),
        version: 1,
        input: made(COMMANDS, delete, Some(7 * DAY_MS)),
        inputs: vec![
            catalog::DOCUMENT_UPLOADED,
            catalog::LEASE_REQUESTED,
            catalog::HEARTBEAT,
            catalog::TASK_REPORTED,
            catalog::TASK_ACTED,
            catalog::RUN_TIMES_LEARNED,
        ],
        // The order of `super::output`.
        outputs: vec![
            output(ANSWERS, catalog::ANSWERED, delete, Some(HOUR_MS)),
            output(TASKS, catalog::TASK_CHANGED, delete, None),
            output(STEPS, catalog::STEP_ATTEMPTED, delete, None),
            output(ROWS, catalog::DOCUMENT, compact, None),
            output(WORKERS, catalog::WORKER_CHANGED, compact, None),
            output(MAILS, catalog::MAIL_REQUESTED, delete, Some(30 * DAY_MS)),
        ],
        // The order of `super::lane`.
        entries: vec![
            catalog::QUEUE_ENTRY,
            catalog::TASK_ENTRY,
            catalog::WORKER_ENTRY,
            catalog::REQUEST_ENTRY,
            catalog::DOCUMENT,
            catalog::UPLOAD_ENTRY,
            catalog::COUNT_ENTRY,
        ],
    }
}

fn made(name: &str, cleanup: Cleanup, retention_ms: Option<i64>) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: PARTITIONS, cleanup, retention_ms }
}

/// The three tables, each with the topic that its rows are on.
pub fn views() -> [View; 3] {
    [
        view("documents", topic::ROWS, catalog::DOCUMENT, document, tables::documents()),
        view("documents.log", topic::TASKS, catalog::TASK_CHANGED, line, tables::log()),
        view("documents.steps", topic::STEPS, catalog::STEP_ATTEMPTED, run, tables::steps()),
    ]
}

fn view(name: &str, topic: &str, schema: Schema, row: fn(&[u8]) -> Result<Row, avro::Error>, table: ViewSpec) -> View {
    View { name: name.to_owned(), topic: topic.to_owned(), schema, row: Arc::new(row), table }
}

fn document(datum: &[u8]) -> Result<Row, avro::Error> {
    super::lane::read::<Document>(datum).map(|document| document.row())
}

fn line(datum: &[u8]) -> Result<Row, avro::Error> {
    super::lane::read::<TaskChanged>(datum).map(|line| line.row())
}

fn run(datum: &[u8]) -> Result<Row, avro::Error> {
    super::lane::read::<StepAttempted>(datum).map(|run| run.row())
}

/// Makes what the pipeline needs and starts it: the process, `at_work.threads` threads of it, and a thread for each table.
///
/// # Errors
/// Topics, schemas or first offsets cannot be made.
pub fn start(parts: &Parts, at_work: &tidemark_runtime::Settings, settings: Settings) -> Result<Running, Error> {
    let keyed_parts = keyed::Parts::from(parts);
    let process = move |_partition| Documents::new(settings.clone());
    let mut running = keyed::start(spec(), process, &keyed_parts, at_work)?;
    for view in views() {
        running.add_view(&view, &parts.views, &parts.handle, &keyed_parts, at_work);
    }
    Ok(running)
}
