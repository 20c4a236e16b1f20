//! A log with mails in it, and a notifier that is stepped by hand.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidemark_log::simulated::{SimulatedLog, Time};
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Log, MemberConfig, Outgoing, TopicPartition};
use tidemark_notifier::plan::{DEAD_LETTERS, GROUP, HANDLED, MAILS};
use tidemark_notifier::settings::Setup;
use tidemark_notifier::transport::{Letter, Outcome, Transport};
use tidemark_notifier::{Delivery, Metrics, NotifierStage, Plan, Settings};
use tidemark_runtime::StageConfig;
use tidemark_runtime::drive::{Context, Stage};
use tidemark_runtime::metrics::{StageStatus, Thread};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog;
use tidemark_schemas::engine::DeadLetter;
use tidemark_schemas::notifications::{MailHandled, MailRequested};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

use crate::registry::MemoryRegistry;

/// Monday, 21 September 2026.
pub(crate) const NOW: i64 = 1_790_000_000_000;
/// Real time that a condition may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The log, time and registry that outlive every process.
pub(crate) struct World {
    pub(crate) log: Arc<SimulatedLog>,
    pub(crate) time: Arc<Time>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) plan: Arc<Plan>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let time = Time::new(NOW);
        let log = SimulatedLog::new(Arc::clone(&time), seed).unwrap();
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let plan = Arc::new(Plan::create(log.as_ref(), registry.as_ref()).unwrap());
        Self { log, time, registry, plan }
    }

    /// Appends mails, each to the partition of its place in the list.
    pub(crate) fn request(&self, mails: &[MailRequested]) {
        request(self.log.as_ref(), self.registry.as_ref(), mails);
    }

    pub(crate) fn append(&self, partition: u32, value: Option<&[u8]>) {
        let mut producer = self.log.producer("test").unwrap();
        let record = Outgoing { topic: MAILS, partition, key: Some(b"k"), value, headers: &[] };
        producer.commit(&mut |sink| sink.send(record)).unwrap();
    }

    /// What became of each mail, in order of the commits of each partition.
    pub(crate) fn handled(&self) -> Vec<MailHandled> {
        handled(self.log.as_ref(), &self.registry)
    }

    /// Rule and detail of each dead letter, with the partition and offset that it is about.
    pub(crate) fn dead_letters(&self) -> Vec<(String, String, i32, i64)> {
        let mut decoder = wire::Decoder::new(Arc::clone(&self.registry), [catalog::DEAD_LETTER]);
        let mut scratch = Vec::new();
        let read = |value: &Vec<u8>| {
            let (_, datum) = decoder.datum(value, &mut scratch).unwrap();
            let letter = DeadLetter::get(&mut Reader::new(datum)).unwrap();
            (letter.rule.to_owned(), letter.detail.to_owned(), letter.partition, letter.offset)
        };
        values(self.log.as_ref(), DEAD_LETTERS).iter().map(read).collect()
    }

    /// Committed offsets with their metadata.
    pub(crate) fn committed(&self) -> Vec<(i64, String)> {
        let partitions: Vec<_> = (0..4).map(|partition| TopicPartition::new(MAILS, partition)).collect();
        let committed = self.log.committed(GROUP, &partitions).unwrap();
        committed.into_iter().map(|at| at.map(|at| (at.offset, at.metadata)).unwrap()).collect()
    }

    pub(crate) fn notifier(&self, settings: &Settings) -> Notifier {
        let setup = settings.check().unwrap();
        let transport = setup.delivery().transport().unwrap();
        self.notifier_over(setup, transport)
    }

    pub(crate) fn notifier_over(&self, setup: Setup, transport: Box<dyn Transport>) -> Notifier {
        Notifier::new(self, setup, transport)
    }
}

pub(crate) fn request(log: &dyn Log, registry: &dyn Registry, mails: &[MailRequested]) {
    let id = registry.register(&format!("{MAILS}-value"), &catalog::MAIL_REQUESTED.avsc).unwrap();
    let mut producer = log.producer("test").unwrap();
    let mut send = |sink: &mut dyn tidemark_log::Sink| {
        for (at, mail) in mails.iter().enumerate() {
            let mut value = Vec::new();
            wire::put(id, mail, &mut value);
            let key = Some(mail.mail_id.as_bytes());
            sink.send(Outgoing { topic: MAILS, partition: at as u32 % 4, key, value: Some(&value), headers: &[] })?;
        }
        Ok(())
    };
    producer.commit(&mut send).unwrap();
}

pub(crate) fn handled(log: &dyn Log, registry: &Arc<dyn Registry>) -> Vec<MailHandled> {
    let mut decoder = wire::Decoder::new(Arc::clone(registry), [catalog::MAIL_HANDLED]);
    let mut scratch = Vec::new();
    let mut read = |value: &Vec<u8>| {
        let (_, datum) = decoder.datum(value, &mut scratch).unwrap();
        MailHandled::get(&mut Reader::new(datum)).unwrap()
    };
    values(log, HANDLED).iter().map(&mut read).collect()
}

/// All values of a topic as committed readers see them.
fn values(log: &dyn Log, topic: &str) -> Vec<Vec<u8>> {
    let partitions: Vec<_> =
        (0..log.partitions(topic).unwrap().unwrap()).map(|partition| TopicPartition::new(topic, partition)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<_> = partitions.iter().cloned().map(|partition| (partition, 0)).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut values = Vec::new();
    let is_read = |reader: &dyn tidemark_log::Reader| {
        partitions.iter().zip(&ends).all(|(partition, end)| reader.position(partition).unwrap() >= *end)
    };
    while !is_read(reader.as_ref()) {
        let mut take = |batch: tidemark_log::Batch<'_>| {
            values.extend(batch.records.iter().filter_map(|record| record.value.map(<[u8]>::to_vec)));
        };
        reader.poll(Duration::from_millis(10), &mut take).unwrap();
    }
    values
}

/// A process with one stage thread, stepped by hand. Dropping it is kill −9: nothing is committed and nobody is told.
pub(crate) struct Notifier {
    context: Context,
    config: StageConfig,
    status: StageStatus,
    operator: NotifierStage,
    metrics: Arc<Metrics>,
}

impl Notifier {
    fn new(world: &World, setup: Setup, transport: Box<dyn Transport>) -> Self {
        let (log, clock) = (Arc::clone(&world.log) as Arc<dyn Log>, world.time.clock());
        let runtime = Arc::new(tidemark_runtime::Metrics::default());
        let metrics = Arc::new(Metrics::default());
        let (plan, registry) = (Arc::clone(&world.plan), Arc::clone(&world.registry));
        let operator = NotifierStage::new(plan, setup, transport, Arc::clone(&log), registry, Arc::clone(&metrics));
        let member = MemberConfig {
            group: GROUP.to_owned(),
            topics: vec![MAILS.to_owned()],
            id: "notifier-0".to_owned(),
            session_timeout: Duration::from_secs(10),
        };
        let status = StageStatus::new("notifier 0".to_owned(), Arc::clone(&runtime));
        let stop = Arc::new(AtomicBool::new(false));
        Self {
            context: Context { log, clock, stop, metrics: runtime, spans: Arc::new(NoSpans) },
            config: StageConfig { member, commit_interval_ms: 200 },
            status,
            operator,
            metrics,
        }
    }

    /// What it counts and says.
    pub(crate) fn seen(&self) -> Seen {
        Seen { mails: Arc::clone(&self.metrics), stages: Arc::clone(&self.context.metrics) }
    }

    /// Steps until `done` says so, then goes on no further: as a process that is killed there. The number of steps.
    pub(crate) fn run(&mut self, mut done: impl FnMut(&Seen, u64) -> bool) -> Result<u64, tidemark_runtime::Error> {
        let (began, seen) = (Instant::now(), self.seen());
        let mut stage = Stage::join(&self.context, &mut self.operator, &self.config, &self.status)?;
        for steps in 1.. {
            stage.step()?;
            if done(&seen, steps) {
                return Ok(steps);
            }
            assert!(began.elapsed() < PATIENCE, "not done after {steps} steps: {:?} {:?}", seen.mails, seen.status());
        }
        unreachable!()
    }

    /// Steps until so many mails are handled, and stops as a process that is told to.
    pub(crate) fn finish(&mut self, handled: u64) {
        let (began, seen) = (Instant::now(), self.seen());
        let mut stage = Stage::join(&self.context, &mut self.operator, &self.config, &self.status).unwrap();
        while seen.handled() < handled {
            stage.step().unwrap();
            assert!(began.elapsed() < PATIENCE, "{:?} {:?}", seen.mails, seen.status());
        }
        stage.finish().unwrap();
    }
}

/// What a notifier counts and says, while it runs.
pub(crate) struct Seen {
    pub(crate) mails: Arc<Metrics>,
    stages: Arc<tidemark_runtime::Metrics>,
}

impl Seen {
    pub(crate) fn status(&self) -> Thread {
        self.stages.threads().remove(0).1
    }

    pub(crate) fn handled(&self) -> u64 {
        self.mails.sent() + self.mails.refused() + self.mails.dead_lettered()
    }
}

/// A progress mail to this address.
pub(crate) fn mail(mail_id: &str, to: &str) -> MailRequested {
    MailRequested {
        tenant: "default".to_owned(),
        mail_id: mail_id.to_owned(),
        at: NOW,
        to: to.to_owned(),
        template: "progress".to_owned(),
        data: data("plan.pdf"),
    }
}

/// Data that fits every built-in template, about a document of this name.
pub(crate) fn data(name: &str) -> String {
    serde_json::json!({
        "file_id": "ab12", "name": name, "type": "application/pdf", "bytes": 12_345, "owner": "Ann", "at": "2026-09-21T14:13:20Z",
        "step": "D2", "error": "no text", "attempts": 4, "first_owner": "Bob", "first_uploaded_at": "2026-09-20T10:00:00Z",
        "state": "DONE", "done": 1_000, "queue": "documents",
    })
    .to_string()
}

/// Settings over this delivery, with short pauses.
pub(crate) fn settings(delivery: Delivery) -> Settings {
    Settings {
        delivery,
        from: "Tidemark <tidemark@example.org>".to_owned(),
        base_url: "https://tidemark.example.org".to_owned(),
        ..Settings::default()
    }
}

/// What a mail server that lives in the test does with a letter: the letter, and how often it has come before.
pub(crate) type Judge = dyn FnMut(&Letter, usize) -> Outcome + Send;

/// A mail server that lives in the test and outlives every notifier.
#[derive(Clone)]
pub(crate) struct Scripted {
    judge: Arc<Mutex<Judge>>,
    tries: Arc<Mutex<BTreeMap<String, usize>>>,
    accepted: Arc<Mutex<Vec<Letter>>>,
}

impl Scripted {
    pub(crate) fn new(judge: impl FnMut(&Letter, usize) -> Outcome + Send + 'static) -> Self {
        Self { judge: Arc::new(Mutex::new(judge)), tries: Arc::default(), accepted: Arc::default() }
    }

    /// The letters that it took, in order.
    pub(crate) fn accepted(&self) -> Vec<Letter> {
        self.accepted.lock().unwrap().clone()
    }

    /// Until nothing is being handed over to it.
    pub(crate) fn wait(&self) {
        drop(self.judge.lock().unwrap());
    }

    pub(crate) fn tries(&self, name: &str) -> usize {
        self.tries.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Transport for Scripted {
    fn send(&mut self, letter: &Letter) -> Outcome {
        let before = {
            let mut tries = self.tries.lock().unwrap();
            let tries = tries.entry(letter.name.clone()).or_default();
            *tries += 1;
            *tries - 1
        };
        let mut judge = self.judge.lock().unwrap();
        let outcome = judge(letter, before);
        if outcome == Outcome::Sent {
            self.accepted.lock().unwrap().push(letter.clone());
        }
        outcome
    }
}
