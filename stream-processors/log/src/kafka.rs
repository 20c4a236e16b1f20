//! The log on a Kafka cluster, through librdkafka.
//!
//! Promises beyond those of [`Log`]:
//! - a commit is one transaction that is opened, filled, flushed and ended in one burst: a stalled process never holds
//!   readers back;
//! - a commit whose end got no definite answer is [`Error::Indefinite`] and never followed by an abort: librdkafka speaks
//!   EndTxn v1, so a delayed one could end a *later* transaction (KAFKA-17754). The next member under the same id fences it;
//! - a producer that has lost a connection is replaced before its next transaction: librdkafka has then sent some request again,
//!   unseen, and the first one may still arrive, also after a commit that has succeeded;
//! - dropping a member, reader or producer never blocks, commits nothing and does not leave the group.
//!
//! Membership is the classic protocol with eager rebalances. Members are static (`group.instance.id` is the member's id): one
//! that comes back after kill −9 takes its place at once instead of when the session of the dead one ends.
//! The consumer protocol (KIP-848) is not used: its sessions are the broker's to set, 45 s by default and at least, so that the
//! partitions of a process that does not come back would wait for so long instead of for 6 s; and what it saves, the stop of all
//! members at a rebalance, is short here, where a member gives its partitions up with a commit of some milliseconds.
//!
//! Every call into librdkafka that blocks is noted in [`crate::watch`].

mod member;
mod native;
mod producer;
mod protocol;
mod reader;
mod silence;
mod survey;
mod topics;
mod transaction;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use native::admin::Admin;
use native::{Conf, Fault, code};
use silence::Silence;

pub use native::NativeHeaders;
pub(crate) use native::end_process;
pub use survey::{OpenTransaction, open_transactions};

use crate::{
    At, Error, GroupOffset, Log, Member, MemberConfig, Producer, Reader, TopicPartition, TopicSpec, committed_within,
    members_left,
};

/// How long a call that only asks may wait for the cluster.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the first contact may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one question for committed offsets waits for an open transaction: a member has to poll in between.
const UNSTABLE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a request about a group waits for its coordinator, which may have to be made or to read what it keeps.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at something that is about to change.
const PAUSE: Duration = Duration::from_millis(20);
/// Offset metadata that fits under the broker's limit of 4,096 bytes.
const METADATA_MAX_BYTES: usize = 4_000;

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// Copies of each partition of topics that are made; −1 is the broker's default.
    pub replication_factor: i32,
    /// Further librdkafka properties for every client, such as `security.protocol` and `sasl.*`. Those that the log's promises
    /// rest on (isolation, offsets, transactions) win over these.
    pub properties: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// A cluster without security, with the broker's default replication.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), replication_factor: -1, properties: BTreeMap::new() }
    }
}

/// A log on a Kafka cluster.
pub struct KafkaLog {
    cluster: Cluster,
    admin: RwLock<Arc<Admin>>,
    silence: Mutex<Silence>,
}

/// What every client is made from.
#[derive(Debug, Clone)]
struct Cluster {
    bootstrap: String,
    replication_factor: i32,
    shared: BTreeMap<String, String>,
}

impl Cluster {
    /// A client's configuration: the user's properties, then those of its kind, which win.
    fn conf(&self, own: &[(&str, &str)]) -> Result<Conf, Error> {
        Conf::new(&self.shared, own).map_err(Error::Invalid)
    }

    fn admin(&self) -> Result<Admin, Error> {
        let name = "tidemark-admin";
        let own = [("client.id", name), ("group.id", name), ("allow.auto.create.topics", "false")];
        Admin::new(self.conf(&own)?).map_err(|reason| self.unusable(&reason))
    }

    /// What a failed request means, with the address in it.
    fn error(&self, doing: &str, fault: &Fault) -> Error {
        verdict::of_request(&self.bootstrap, doing, fault)
    }

    /// A client could not even be made.
    fn unusable(&self, reason: &str) -> Error {
        Error::Invalid(format!("kafka client for {}: {reason}", self.bootstrap))
    }
}

impl KafkaLog {
    /// Connects to a cluster: fails within 10 s when no broker answers.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a property that librdkafka does not take, [`Error::Retriable`] when no broker answers.
    pub fn connect(config: KafkaConfig) -> Result<Arc<Self>, Error> {
        let log = Self::open(config)?;
        log.ask("", |admin| admin.ping(CONNECT_TIMEOUT)).map_err(|fault| log.cluster.error("connecting", &fault))?;
        Ok(log)
    }

    /// A log on a cluster that need not be there yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a property that librdkafka does not take.
    pub fn open(config: KafkaConfig) -> Result<Arc<Self>, Error> {
        let cluster = Cluster {
            shared: shared_properties(&config),
            bootstrap: config.bootstrap,
            replication_factor: config.replication_factor,
        };
        let admin = RwLock::new(Arc::new(cluster.admin()?));
        Ok(Arc::new(Self { cluster, admin, silence: Mutex::default() }))
    }

    /// Makes a request about a group, or about the cluster (an empty name); makes it again while the group's coordinator changes.
    fn ask<T>(&self, of: &str, request: impl Fn(&Admin) -> Result<T, Fault>) -> Result<T, Fault> {
        let deadline = Instant::now() + COORDINATOR_PATIENCE;
        loop {
            match self.ask_once(of, &request) {
                Err(fault) if verdict::is_coordinator_changing(fault.code) && Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    fn ask_once<T>(&self, of: &str, request: impl Fn(&Admin) -> Result<T, Fault>) -> Result<T, Fault> {
        let admin = Arc::clone(&self.admin.read().unwrap_or_else(PoisonError::into_inner));
        let answer = request(&admin);
        let is_silent = answer.as_ref().is_err_and(|fault| verdict::is_silence(fault.code));
        let is_due = self.silence.lock().unwrap_or_else(PoisonError::into_inner).note(of, is_silent);
        if is_due && let Ok(anew) = self.cluster.admin() {
            tracing::info!(of, "no answers from kafka: asking with a new client");
            *self.admin.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(anew);
        }
        answer
    }

    /// Fails unless the topic exists.
    fn require_topic(&self, topic: &str) -> Result<u32, Error> {
        let missing = || Error::Invalid(format!("there is no topic {topic} on kafka at {}", self.cluster.bootstrap));
        self.partitions(topic)?.ok_or_else(missing)
    }

    fn require_topics<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Result<(), Error> {
        topics.into_iter().try_for_each(|topic| self.require_topic(topic).map(|_| ()))
    }

    fn require_partitions(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        partitions.iter().try_for_each(|partition| {
            let there = self.require_topic(&partition.topic)?;
            if partition.partition < there {
                return Ok(());
            }
            Err(Error::Invalid(format!("there is no partition {partition}: the topic has {there}")))
        })
    }

    /// Asks until the answer is stable, for a moment.
    fn stable(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        let deadline = Instant::now() + UNSTABLE_PATIENCE;
        loop {
            match self.ask(group, |admin| admin.group_offsets(group, partitions)) {
                Err(fault) if fault.code == code::UNSTABLE_OFFSET_COMMIT => {
                    if Instant::now() >= deadline {
                        return Err(Error::Unstable(format!(
                            "group {group} has an open transaction, most likely of a member that died; its offsets are known \
                             when the broker has ended it"
                        )));
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(fault) if fault.code == code::GROUP_ID_NOT_FOUND => {
                    return Ok(vec![None; partitions.len()]);
                }
                other => {
                    return other
                        .map_err(|fault| self.cluster.error(&format!("reading offsets of group {group}"), &fault));
                }
            }
        }
    }

    /// Asks again while a partition's leader changes.
    fn list_offsets(&self, partitions: &[TopicPartition], spec: i64, stable: bool) -> Result<Vec<i64>, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask("", |admin| admin.offsets(partitions, spec, stable)) {
                Err(fault) if leaderless(fault.code) && Instant::now() < deadline => {
                    self.require_partitions(partitions)?;
                    std::thread::sleep(PAUSE);
                }
                found => return found.map_err(|fault| self.cluster.error("reading offsets", &fault)),
            }
        }
    }
}

/// Whether a partition may just be getting its leader. librdkafka says "no entry" when it finds no leader at all.
fn leaderless(code: i32) -> bool {
    matches!(
        code,
        // A leader that came back has a new epoch, of which the client's metadata may not know.
        code::FENCED_LEADER_EPOCH
            | code::LEADER_NOT_AVAILABLE
            | code::LOCAL_NOENT
            | code::LOCAL_UNKNOWN_PARTITION
            | code::LOCAL_UNKNOWN_TOPIC
            | code::NOT_LEADER_FOR_PARTITION
            | code::UNKNOWN_LEADER_EPOCH
            | code::UNKNOWN_TOPIC_OR_PART
    )
}

fn shared_properties(config: &KafkaConfig) -> BTreeMap<String, String> {
    let mut shared = BTreeMap::from([
        // A commit is several small requests one after the other: none may wait for more bytes.
        ("socket.nagle.disable".to_owned(), "true".to_owned()),
        // Its farewell would only delay the end of a client.
        ("enable.metrics.push".to_owned(), "false".to_owned()),
        ("reconnect.backoff.max.ms".to_owned(), "1000".to_owned()),
    ]);
    shared.extend(config.properties.clone());
    shared.insert("bootstrap.servers".to_owned(), config.bootstrap.clone());
    shared
}

impl Log for KafkaLog {
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), Error> {
        let admin = Arc::clone(&self.admin.read().unwrap_or_else(PoisonError::into_inner));
        specs.iter().try_for_each(|spec| topics::apply(&admin, &self.cluster, spec))
    }

    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        let admin = Arc::clone(&self.admin.read().unwrap_or_else(PoisonError::into_inner));
        names.iter().try_for_each(|name| topics::delete(&admin, &self.cluster, name))
    }

    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        groups.iter().try_for_each(|group| match self.ask(group, |admin| admin.delete_group(group)) {
            Ok(()) => Ok(()),
            Err(fault) if fault.code == code::GROUP_ID_NOT_FOUND => Ok(()),
            Err(fault) if fault.code == code::NON_EMPTY_GROUP => Err(members_left(group, None)),
            Err(fault) => Err(self.cluster.error(&format!("deleting group {group}"), &fault)),
        })
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        let found = self.ask("", |admin| admin.partitions(topic));
        let found = found.map_err(|fault| self.cluster.error(&format!("describing topic {topic}"), &fault))?;
        Ok(found.map(|partitions| partitions.all))
    }

    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        match at {
            At::Start => self.list_offsets(partitions, native::admin::EARLIEST, false),
            At::End => self.list_offsets(partitions, native::admin::LATEST, false),
            At::StableEnd => self.list_offsets(partitions, native::admin::LATEST, true),
            At::Time(time) => {
                let found = self.list_offsets(partitions, time.max(0), false)?;
                let ends = self.list_offsets(partitions, native::admin::LATEST, false)?;
                Ok(found.into_iter().zip(ends).map(|(found, end)| if found < 0 { end } else { found }).collect())
            }
        }
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.stable(group, partitions)
    }

    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        check_metadata(offsets)?;
        let partitions: Vec<_> = offsets.iter().map(|offset| offset.partition.clone()).collect();
        let missing = || -> Result<Vec<GroupOffset>, Error> {
            let there = committed_within(self, group, &partitions, PATIENCE)?;
            Ok(offsets
                .iter()
                .zip(there)
                .filter(|(_, there)| there.is_none())
                .map(|(offset, _)| offset.clone())
                .collect())
        };
        let wanted = missing()?;
        if wanted.is_empty() {
            return Ok(());
        }
        match self.ask(group, |admin| admin.set_group_offsets(group, &wanted)) {
            Ok(()) => Ok(()),
            // Somebody else may have made the group and its members at the same time.
            Err(_) if missing()?.is_empty() => Ok(()),
            Err(fault) => Err(self.cluster.error(&format!("committing first offsets of group {group}"), &fault)),
        }
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.require_topics(config.topics.iter().map(String::as_str))?;
        Ok(Box::new(member::KafkaMember::join(&self.cluster, config)?))
    }

    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        self.require_topics(from.iter().map(|(partition, _)| &*partition.topic))?;
        Ok(Box::new(reader::KafkaReader::open(&self.cluster, from)?))
    }

    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(producer::KafkaProducer::open(&self.cluster, id)?))
    }
}

/// Fails before anything is sent when metadata would be refused by the broker.
fn check_metadata(offsets: &[GroupOffset]) -> Result<(), Error> {
    match offsets.iter().find(|offset| offset.metadata.len() > METADATA_MAX_BYTES) {
        None => Ok(()),
        Some(offset) => Err(Error::Invalid(format!(
            "offset metadata of {} is {} bytes: {METADATA_MAX_BYTES} are allowed",
            offset.partition,
            offset.metadata.len()
        ))),
    }
}
