//! A log that fails on demand.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_gateway::GatewayConfig;
use tidemark_log::{
    At, Error, GroupOffset, Log, Member, MemberConfig, Produce, Producer, Reader, TopicPartition, TopicSpec,
};

use crate::support::*;

enum Fault {
    /// Nothing happens, and that is known.
    Refused,
    /// It happens, but the answer is lost.
    AnswerLost,
    /// Nothing happens, and the answer is lost.
    RequestLost,
    /// Somebody else has the id.
    Fenced,
    /// Waits for the other end to be dropped, then goes on.
    Held(Receiver<()>),
}

#[derive(Default)]
struct Faults {
    /// What the next commits meet, last first.
    commits: Mutex<Vec<Fault>>,
    /// Whether no producer can be made.
    cut: AtomicBool,
}

impl Faults {
    fn next(&self, fault: Fault) {
        self.commits.lock().unwrap().push(fault);
    }

    fn hold(&self) -> Sender<()> {
        let (release, held) = channel();
        self.next(Fault::Held(held));
        release
    }
}

struct FaultyLog {
    log: Arc<dyn Log>,
    faults: Arc<Faults>,
}

struct FaultyProducer {
    producer: Box<dyn Producer>,
    faults: Arc<Faults>,
}

impl Producer for FaultyProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        let fault = self.faults.commits.lock().unwrap().pop();
        match fault {
            None => self.producer.commit(produce),
            Some(Fault::Refused) => Err(Error::Retriable("refused".to_owned())),
            Some(Fault::RequestLost) => Err(Error::Indefinite("request lost".to_owned())),
            Some(Fault::Fenced) => Err(Error::Fenced("by another".to_owned())),
            Some(Fault::AnswerLost) => {
                self.producer.commit(produce)?;
                Err(Error::Indefinite("answer lost".to_owned()))
            }
            Some(Fault::Held(held)) => {
                let _ = held.recv();
                self.producer.commit(produce)
            }
        }
    }
}

impl Log for FaultyLog {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.log.create_topics(topics)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        self.log.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.log.committed(group, partitions)
    }
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.log.init_group(group, offsets)
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.log.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        self.log.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        if self.faults.cut.load(SeqCst) {
            return Err(Error::Retriable("cut off".to_owned()));
        }
        let producer = self.log.producer(id)?;
        Ok(Box::new(FaultyProducer { producer, faults: Arc::clone(&self.faults) }))
    }
}

fn bench() -> (Bench, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let given = Arc::clone(&faults);
    (Bench::over(|log| Arc::new(FaultyLog { log, faults: given })), faults)
}

#[tokio::test]
async fn a_failed_commit_is_made_good_exactly_once() {
    let (bench, faults) = bench();
    for (at, fault) in [Fault::Refused, Fault::AnswerLost, Fault::RequestLost, Fault::Fenced].into_iter().enumerate() {
        faults.next(fault);
        let answer = bench.post(JSON, flow().to_string()).await;
        assert_eq!(answer.ids().len(), 1, "fault {at}");
        assert_eq!(bench.stored().len(), at + 1, "fault {at}");
        assert!(bench.gateway.ready().is_ok());
    }
    assert!(bench.metrics().contains("tidemark_gateway_commits_failed_total 4\n"));
    assert!(bench.metrics().contains("tidemark_gateway_records_accepted_total 4\n"));
}

#[tokio::test]
async fn a_repeat_while_the_first_is_under_way_is_told_to_wait() {
    let (bench, faults) = bench();
    let release = faults.hold();
    let first = spawn(&bench, KEYED);
    held(&faults).await;
    let repeat = bench.send("/v1/flows", KEYED, flow().to_string()).await;
    assert_eq!((repeat.status.as_u16(), repeat.code()), (409, "in_flight"));
    assert_eq!(repeat.headers["retry-after"], "1");
    drop(release);
    assert_eq!(first.await.unwrap().ids().len(), 1);
    assert_eq!(bench.stored().len(), 1);
}

#[tokio::test]
async fn requests_that_wait_share_the_next_commit() {
    let (bench, faults) = bench();
    let release = faults.hold();
    let mut posts = vec![spawn(&bench, JUST_JSON)];
    held(&faults).await;
    posts.extend((0..9).map(|_| spawn(&bench, JUST_JSON)));
    wait_for(&bench, "tidemark_gateway_queue_requests 9\n").await;
    drop(release);
    for post in posts {
        assert_eq!(post.await.unwrap().status, 202);
    }
    assert!(bench.metrics().contains("tidemark_gateway_commit_duration_seconds_count 2\n"), "{}", bench.metrics());
}

const JUST_JSON: &[(&str, &str)] = &[("content-type", JSON)];
const KEYED: &[(&str, &str)] = &[("content-type", JSON), ("idempotency-key", "k")];

fn spawn(bench: &Bench, headers: &'static [(&str, &str)]) -> tokio::task::JoinHandle<Answer> {
    let gateway = Arc::clone(&bench.gateway);
    tokio::spawn(async move { send(&gateway, "/v1/flows", headers, flow().to_string()).await })
}

/// Waits until a commit has met the fault that was set for it.
async fn held(faults: &Faults) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !faults.commits.lock().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "no commit came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn wait_for(bench: &Bench, line: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !bench.metrics().contains(line) {
        assert!(std::time::Instant::now() < deadline, "{line} {}", bench.metrics());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_the_log_never_took_is_refused_for_sure_and_the_key_is_free_again() {
    never_taken(false).await;
}

#[tokio::test]
async fn a_gateway_cut_off_from_its_log_comes_back() {
    never_taken(true).await;
}

async fn never_taken(cut: bool) {
    let (bench, faults) = bench();
    let config = GatewayConfig {
        id: "impatient".to_owned(),
        answer_timeout: Duration::from_millis(400),
        ..GatewayConfig::default()
    };
    let gateway = start(&bench.log, &bench.registry, &bench.now, config);
    ready(&gateway);
    (0..100).for_each(|_| faults.next(Fault::Refused));
    faults.cut.store(cut, SeqCst);
    let refused = send(&gateway, "/v1/flows", KEYED, flow().to_string()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "not_stored"), "{}", refused.body);
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(bench.stored().len(), 0);
    faults.commits.lock().unwrap().clear();
    faults.cut.store(false, SeqCst);
    ready(&gateway);
    assert_eq!(send(&gateway, "/v1/flows", KEYED, flow().to_string()).await.status, 202);
    assert_eq!(bench.stored().len(), 1);
}

#[tokio::test]
async fn without_a_registry_the_gateway_is_not_ready_and_says_why() {
    let bench = Bench::new();
    let registry = Arc::new(TestRegistry::default());
    registry.down.store(true, SeqCst);
    let config = GatewayConfig { id: "early".to_owned(), ..GatewayConfig::default() };
    let gateway = start(&bench.log, &registry, &bench.now, config);
    until("the reason", || gateway.ready().is_err_and(|reasons| reasons.concat().contains("switched off")));
    let answer = send(&gateway, "/v1/flows", &[("content-type", JSON)], flow().to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "not_ready"));
    assert!(answer.body["detail"].as_str().unwrap().contains("registry"), "{}", answer.body);
    registry.down.store(false, SeqCst);
    ready(&gateway);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_settled_by_a_repeat_with_the_same_key() {
    for (fault, replayed) in [(Fault::AnswerLost, true), (Fault::RequestLost, false)] {
        let (bench, faults) = bench();
        faults.next(fault);
        faults.cut.store(true, SeqCst);
        let first = spawn(&bench, KEYED);
        wait_for(&bench, "tidemark_gateway_commits_failed_total 1\n").await;
        let repeat = bench.send("/v1/flows", KEYED, flow().to_string()).await;
        assert_eq!(repeat.status, 503, "not ready while in doubt");
        let gateway = Arc::clone(&bench.gateway);
        tokio::task::spawn_blocking(move || gateway.stop()).await.unwrap();
        let unknown = first.await.unwrap();
        assert_eq!((unknown.status.as_u16(), unknown.code()), (503, "outcome_unknown"));
        assert!(unknown.body["detail"].as_str().unwrap().contains("same Idempotency-Key"), "{}", unknown.body);
        faults.cut.store(false, SeqCst);
        let next = start(&bench.log, &bench.registry, &bench.now, GatewayConfig::default());
        ready(&next);
        let repeat = send(&next, "/v1/flows", KEYED, flow().to_string()).await;
        assert_eq!((repeat.status.as_u16(), repeat.headers.contains_key("idempotency-replayed")), (202, replayed));
        assert_eq!(bench.stored().len(), 1);
    }
}
