//! The pipeline at work on the embedded log: commands in, rows in the tables out, over a restart.

use crate::registry::MemoryRegistry;
use crate::world::{Command, World, file, read, uuid};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_core::dispatch;
use tidemark_jobs::documents::plan::{self, topic};
use tidemark_jobs::documents::{self, Settings};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Log, Outgoing, TopicPartition, system_clock};
use tidemark_runtime::keyed::partition_of;
use tidemark_runtime::run::Parts;
use tidemark_runtime::{Metrics, Running};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::dispatch::Answered;
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};
use tidemark_schemas::notifications::MailRequested;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_views::documents::{Tabled, of_file};
use tidemark_views::local::LocalViews;
use tidemark_views::{Row, ViewSpec, ViewStore};

const PATIENCE: Duration = Duration::from_secs(30);

/// One life of a process.
struct Life {
    log: Arc<EmbeddedLog>,
    views: Arc<LocalViews>,
    registry: Arc<MemoryRegistry>,
    running: Running,
    runtime: tokio::runtime::Runtime,
}

impl Life {
    fn begin(dir: &Path, registry: &Arc<MemoryRegistry>) -> Self {
        let log = EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap();
        let views = LocalViews::open(&dir.join("views"), system_clock()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = Parts {
            log: Arc::clone(&log) as Arc<dyn Log>,
            registry: Arc::clone(registry) as Arc<dyn Registry>,
            views: Arc::clone(&views) as Arc<dyn ViewStore>,
            handle: runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let at_work = tidemark_runtime::Settings {
            replica: "r".into(),
            threads: 1,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: None,
        };
        let dispatch = dispatch::Settings { accept_ms: 300, ..dispatch::Settings::default() };
        let running = documents::start(&parts, &at_work, Settings { dispatch, ..Settings::default() }).unwrap();
        Self { log, views, registry: Arc::clone(registry), running, runtime }
    }

    fn end(self) {
        self.running.stop();
    }

    fn give(&self, command: &Command) {
        let (schema, datum) = command.datum();
        let declared = &plan::spec().inputs[schema];
        let subject = format!("{}-{}", topic::COMMANDS, declared.name);
        let mut value = Vec::new();
        wire::put_header(self.registry.register(&subject, &declared.avsc).unwrap(), &mut value);
        value.extend(datum);
        let key = b"default/documents";
        let outgoing = Outgoing {
            topic: topic::COMMANDS,
            partition: partition_of(key, plan::PARTITIONS),
            key: Some(key),
            value: Some(&value),
            ..Outgoing::default()
        };
        self.log.producer("people").unwrap().commit(&mut |sink| sink.send(outgoing)).unwrap();
    }

    /// All that is on a topic.
    fn records<T: for<'a> Avro<'a>>(&self, topic: &str) -> Vec<T> {
        let partitions: Vec<_> = (0..plan::PARTITIONS).map(|n| TopicPartition::new(topic, n)).collect();
        let starts = self.log.offsets(&partitions, At::Start).unwrap();
        let ends = self.log.offsets(&partitions, At::End).unwrap();
        let from: Vec<_> = partitions.iter().cloned().zip(starts).collect();
        let (mut reader, mut records) = (self.log.reader(&from).unwrap(), vec![]);
        while partitions.iter().zip(&ends).any(|(partition, end)| reader.position(partition).unwrap() < *end) {
            let mut take = |batch: tidemark_log::Batch<'_>| {
                let values = batch.records.iter().filter_map(|record| record.value);
                records.extend(values.map(|value| read::<T>(wire::split(value).unwrap().1)));
            };
            reader.poll(Duration::from_millis(10), &mut take).unwrap();
        }
        records
    }

    fn rows<T: Tabled>(&self, n: u64) -> Vec<T> {
        let rows: Vec<Row> = self.runtime.block_on(async {
            let table: ViewSpec = T::spec();
            self.views.rows(&table, &of_file("default", &file(n), None, 1_000)).await.unwrap_or_default()
        });
        rows.into_iter().map(|row| T::record(row).unwrap()).collect()
    }

    fn answer(&self, request_id: &str) -> Answered {
        until(|| self.records::<Answered>(topic::ANSWERS).into_iter().find(|answer| answer.request_id == request_id))
    }

    fn row(&self, n: u64, state: &str) -> Document {
        until(|| self.rows::<Document>(n).into_iter().find(|row| row.state == state))
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn commands_become_rows_over_a_restart() {
    let (dir, registry) = (TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    // Makes commands; its own process is not asked.
    let mut commands = World::new(Settings::default());
    let life = Life::begin(dir.path(), &registry);
    let (first, second) = (commands.upload(1, "ann"), commands.upload(1, "bob"));
    for upload in [&first, &second] {
        life.give(&Command::Upload(upload.clone()));
    }
    assert_eq!(life.answer(&first.request_id).outcome, "CREATED");
    assert_eq!(life.answer(&second.request_id).outcome, "DUPLICATE");
    life.give(&Command::Lease(asked(1)));
    let lost = life.answer(&uuid(1));
    assert_eq!((lost.outcome.as_str(), lost.token), ("ASSIGNED", Some(1)));
    // Nobody takes it up: only a tick can bring it back.
    let row = until(|| Some(life.row(1, "UPLOADED")).filter(|row| row.infrastructure_failures == 1));
    assert_eq!((row.duplicates, row.task_id.as_str(), row.attempt), (1, first.request_id.as_str(), 1));
    life.end();

    let life = Life::begin(dir.path(), &registry);
    life.give(&Command::Lease(asked(2)));
    let lease = life.answer(&uuid(2));
    assert_eq!((lease.outcome.as_str(), lease.token, lease.attempt), ("ASSIGNED", Some(2), Some(2)));
    for (lease, outcome) in [(&lost, "REJECTED"), (&lease, "ACCEPTED")] {
        let report = commands.report("w", lease, "COMPLETED");
        life.give(&Command::Report(report.clone()));
        assert_eq!(life.answer(&report.request_id).outcome, outcome);
    }
    let row = life.row(1, "DONE");
    let log = until(|| Some(life.rows::<TaskChanged>(1)).filter(|log| log.len() as i64 == row.seq));
    let events: Vec<_> = log.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events, ["UPLOADED", "DUPLICATE", "ASSIGNED", "REQUEUED", "ASSIGNED", "REFUSED", "DONE"]);
    let runs = until(|| Some(life.rows::<StepAttempted>(1)).filter(|runs| !runs.is_empty()));
    assert_eq!((runs.len(), runs[0].token, runs[0].step.as_str()), (1, 2, "D1"));
    let mails = life.records::<MailRequested>(topic::MAILS);
    assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["bob@example.org"]);
    life.end();
}

fn asked(n: u64) -> tidemark_schemas::dispatch::LeaseRequested {
    tidemark_schemas::dispatch::LeaseRequested {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: uuid(n),
        worker: "w".into(),
        capacity: 1,
        wait_until: 0,
    }
}
