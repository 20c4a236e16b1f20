//! The threads of a keyed process, and of what else reads and writes beside it.

use super::{COMMIT_INTERVAL_MS, KeyedStage, Plan, Spec};
use crate::run::{self, Running, Seat, Settings};
use crate::writer::{ReadRow, WriterStage};
use crate::{Error, Metrics};
use std::sync::Arc;
use tidemark_core::process::Process;
use tidemark_log::span::Spans;
use tidemark_log::{Clock, Log};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::Registry;
use tidemark_views::{ViewSpec, ViewStore};
use tokio::runtime::Handle;

/// What stages run on.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The schema registry.
    pub registry: Arc<dyn Registry>,
    /// Time.
    pub clock: Clock,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    /// Where spans of traced commits go.
    pub spans: Arc<dyn Spans>,
}

impl From<&run::Parts> for Parts {
    fn from(parts: &run::Parts) -> Self {
        let run::Parts { log, registry, clock, metrics, spans, .. } = parts.clone();
        Self { log, registry, clock, metrics, spans }
    }
}

/// A view of rows alone, without ledger and progress: a topic and the table that its records are put into.
#[derive(Clone)]
pub struct View {
    /// Its name: `documents.tasks` has the group `tidemark.documents.tasks.view-writer`.
    pub name: String,
    /// The topic; all of its records have the one schema. Tombstones are passed over.
    pub topic: String,
    /// Of its records.
    pub schema: Schema,
    /// A row from a record's datum. Of two rows with the same key the one that was read later may be the only one that is
    /// written, so its revision must be the higher.
    pub row: Arc<ReadRow>,
    /// The table.
    pub table: ViewSpec,
}

impl View {
    /// The consumer group of its writer.
    pub fn group(&self) -> String {
        format!("tidemark.{}.view-writer", self.name)
    }
}

/// Makes what the process needs and starts its threads, `settings.threads` of them, which share its partitions. `process` makes
/// the process of a partition, empty. Each thread keeps trying until it is told to stop or meets an error that another try cannot
/// mend; [`Metrics::ready`] says which.
///
/// # Errors
/// Topics, schemas or first offsets cannot be made.
pub fn start<P: Process + 'static>(
    spec: Spec,
    process: impl Fn(u32) -> P + Send + Sync + 'static,
    parts: &Parts,
    settings: &Settings,
) -> Result<Running, Error> {
    let mut plan = Plan::new(spec);
    plan.create(parts.log.as_ref(), parts.registry.as_ref())?;
    let (plan, process) = (Arc::new(plan), Arc::new(process));
    let mut running = Running::new();
    for thread in 0..settings.threads {
        let process = Arc::clone(&process);
        let stage = KeyedStage::new(Arc::clone(&plan), move |partition| process(partition), parts);
        let seat = Seat {
            name: format!("{} process", plan.spec.name),
            group: plan.group.clone(),
            topics: vec![plan.spec.input.name.clone()],
            thread,
            commit_interval_ms: settings.commit_interval_ms.min(COMMIT_INTERVAL_MS),
        };
        running.add(seat, Box::new(stage), parts, settings);
    }
    Ok(running)
}

impl Running {
    /// Adds the writer of a view of rows alone: one thread, which commits at the settings' interval. `handle` runs the store's
    /// futures.
    pub fn add_view(
        &mut self,
        view: &View,
        store: &Arc<dyn ViewStore>,
        handle: &Handle,
        parts: &Parts,
        settings: &Settings,
    ) {
        let writer = WriterStage::of_rows(view, store, handle, parts);
        let seat = Seat {
            name: format!("{} view-writer", view.name),
            group: view.group(),
            topics: vec![view.topic.clone()],
            thread: 0,
            commit_interval_ms: settings.commit_interval_ms,
        };
        self.add(seat, Box::new(writer), parts, settings);
    }
}
