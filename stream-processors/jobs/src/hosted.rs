//! Jobs as the platform holds them, whatever their fold is: one way to start them, from a file or built in.

use crate::platform::{shape, view_version};
use crate::recompute::report::Report;
use crate::recompute::{self, OnProgress, Recompute, Request};
use std::sync::Arc;
use tidemark_log::{Cleanup, Log, TopicSpec};
use tidemark_runtime::run::Parts;
use tidemark_runtime::{Error, Running, Settings};
use tidemark_schemas::registry::Registry;
use tidemark_spec::{SpecJob, Viewed};
use tidemark_views::{CatalogEntry, ViewStore};

/// Partitions of a source topic that is made because it is missing, and how long its records are kept: as for one that is
/// declared without saying.
const PARTITIONS: u32 = 4;
const RETENTION_MS: i64 = 7 * 86_400_000;

/// What a recomputation reads.
pub struct Ground<'g> {
    /// Has the source topics.
    pub log: &'g dyn Log,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
    /// Has the view.
    pub views: &'g dyn ViewStore,
    /// Runs the view store's futures; the caller's thread is none of its own.
    pub handle: tokio::runtime::Handle,
    /// Time, milliseconds.
    pub now: i64,
}

/// A job of any fold: every [`Viewed`] one.
pub trait Hosted: Send + Sync {
    /// The job but for its fold.
    fn head(&self) -> &SpecJob;

    /// Makes what the job needs and starts its stages: [`tidemark_runtime::run::start`].
    ///
    /// # Errors
    /// Topics, schemas or first offsets cannot be made.
    fn run(self: Arc<Self>, parts: &Parts, settings: &Settings) -> Result<Running, Error>;

    /// Computes figures of its view again and compares them: [`Recompute::run`].
    ///
    /// # Errors
    /// As there.
    fn recompute(
        &self,
        ground: Ground<'_>,
        request: Request,
        on_progress: OnProgress<'_>,
    ) -> Result<Report, recompute::Error>;
}

impl<J: Viewed> Hosted for J {
    fn head(&self) -> &SpecJob {
        Viewed::head(self)
    }

    fn run(self: Arc<Self>, parts: &Parts, settings: &Settings) -> Result<Running, Error> {
        let shape = shape(Viewed::head(self.as_ref()));
        tidemark_runtime::run::start(self, &shape, parts, settings)
    }

    fn recompute(
        &self,
        ground: Ground<'_>,
        request: Request,
        on_progress: OnProgress<'_>,
    ) -> Result<Report, recompute::Error> {
        let head = Viewed::head(self);
        let (shape, columns) = (shape(head), recompute::columns(head));
        let Ground { log, registry, views, handle, now } = ground;
        Recompute { job: self, shape: &shape, columns, log, registry, views, handle, now }.run(request, on_progress)
    }
}

/// Starts a job that is built into the program: source topics that are missing are made from its schemas, then what every job
/// needs, its stages, its table; and it is listed, its version the current one.
///
/// # Errors
/// The log, the registry or the view store refuses or does not answer.
pub fn start_built_in(job: Arc<dyn Hosted>, parts: &Parts, settings: &Settings) -> Result<Running, Error> {
    let head = job.head();
    make_sources(head, parts)?;
    // Settings may have changed since the last start.
    let listed = catalog_entry(head, (parts.clock)());
    let table = head.columns().view.clone();
    let running = job.run(parts, settings)?;
    let told = parts.handle.block_on(async {
        // The table first: whoever finds the view listed can read it.
        parts.views.create(&table).await?;
        parts.views.put_catalog(&listed).await
    });
    match told {
        Ok(()) => Ok(running),
        Err(error) => {
            running.stop();
            Err(error.into())
        }
    }
}

/// What the catalogue of views says of a job with one version; of two revisions the higher stays.
pub fn catalog_entry(head: &SpecJob, revision: i64) -> CatalogEntry {
    use tidemark_core::Job;
    let spec = head.spec();
    let (view, current) = (spec.name.clone(), Some(spec.version));
    CatalogEntry { view, revision, current, previous: None, versions: vec![view_version(head)] }
}

/// Makes the topics that there are not, with the schemas that the job was built with.
fn make_sources(head: &SpecJob, parts: &Parts) -> Result<(), Error> {
    use tidemark_core::Job;
    let streams = head.topics().iter().map(|(topic, schema)| (topic.as_str(), schema.clone(), Some(RETENTION_MS)));
    // What a table had counts for as long as records are read again that met it.
    let tables = head.tables().iter().map(|table| (table.topic(), table.schema().avsc.to_string(), None));
    for (topic, schema, retention_ms) in streams.chain(tables) {
        if parts.log.partitions(topic)?.is_some() {
            continue;
        }
        // The schema first: a topic without one takes no events.
        parts.registry.register(&format!("{topic}-value"), &schema)?;
        let (name, cleanup) = (topic.to_owned(), Cleanup::Delete);
        parts.log.create_topics(&[TopicSpec { name, partitions: PARTITIONS, cleanup, retention_ms }])?;
        tracing::info!(topic, job = head.spec().name, "the topic was missing and is made");
    }
    Ok(())
}
