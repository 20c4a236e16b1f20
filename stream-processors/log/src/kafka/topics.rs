//! Brings a topic in line with its declaration, and takes one away.

use std::collections::BTreeMap;
use std::time::Instant;

use super::native::admin::{Admin, LATEST};
use super::native::code;
use super::{Cluster, PATIENCE, PAUSE};
use crate::{Cleanup, Error, TopicPartition, TopicSpec};

/// A tombstone is kept for a day.
const DELETE_RETENTION_MS: i64 = 24 * 60 * 60 * 1_000;

/// Makes the topic, or changes the one there is where that loses nothing; on return every partition has a leader.
pub(super) fn apply(admin: &Admin, cluster: &Cluster, spec: &TopicSpec) -> Result<(), Error> {
    check(spec)?;
    let doing = format!("topic {}", spec.name);
    let found = admin.partitions(&spec.name).map_err(|fault| cluster.error(&doing, &fault))?;
    let there = match found {
        Some(partitions) => Some(partitions.all),
        None => create(admin, cluster, spec)?,
    };
    if let Some(there) = there {
        align(admin, cluster, spec, there)?;
    }
    await_leaders(admin, cluster, spec)
}

fn check(spec: &TopicSpec) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if spec.name.is_empty()
        || spec.name.len() > 249
        || !spec.name.chars().all(legal)
        || matches!(&*spec.name, "." | "..")
    {
        return Err(Error::Invalid(format!(
            "{:?} is no topic name: 1 to 249 letters, digits, '.', '_' and '-'",
            spec.name
        )));
    }
    if !(1..=10_000).contains(&spec.partitions) {
        return Err(Error::Invalid(format!(
            "topic {}: {} partitions: 1 to 10,000 are allowed",
            spec.name, spec.partitions
        )));
    }
    Ok(())
}

/// `Some(partitions)` when somebody else has made it meanwhile.
fn create(admin: &Admin, cluster: &Cluster, spec: &TopicSpec) -> Result<Option<u32>, Error> {
    match admin.create_topic(&spec.name, spec.partitions, cluster.replication_factor, &properties(spec)) {
        Ok(()) => Ok(None),
        Err(fault) if fault.code == code::TOPIC_ALREADY_EXISTS => {
            let found =
                admin.partitions(&spec.name).map_err(|fault| cluster.error(&format!("topic {}", spec.name), &fault))?;
            Ok(found.map(|partitions| partitions.all))
        }
        Err(fault) => Err(cluster.error(&format!("creating topic {}", spec.name), &fault)),
    }
}

fn align(admin: &Admin, cluster: &Cluster, spec: &TopicSpec, partitions: u32) -> Result<(), Error> {
    let error = |fault| cluster.error(&format!("topic {}", spec.name), &fault);
    let config = admin.topic_config(&spec.name).map_err(error)?;
    let changes = changes(spec, partitions, &config).map_err(Error::Invalid)?;
    if !changes.is_empty() {
        admin.set_topic_config(&spec.name, &changes).map_err(error)?;
    }
    if partitions < spec.partitions {
        admin.grow_topic(&spec.name, spec.partitions).map_err(error)?;
    }
    Ok(())
}

/// A new partition takes requests only once its leader has heard that it is.
fn await_leaders(admin: &Admin, cluster: &Cluster, spec: &TopicSpec) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let partitions: Vec<_> =
        (0..spec.partitions).map(|partition| TopicPartition::new(&*spec.name, partition)).collect();
    let mut led = 0;
    while Instant::now() < deadline {
        let found = admin.partitions(&spec.name);
        led = found.map_err(|fault| cluster.error("waiting for leaders", &fault))?.map_or(0, |found| found.led);
        if led >= spec.partitions && admin.offsets(&partitions, LATEST, false).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::Retriable(format!(
        "topic {}: {led} of {} partitions have a leader after {} s",
        spec.name,
        spec.partitions,
        PATIENCE.as_secs()
    )))
}

/// Deletes a topic, and waits until the cluster knows it no more: only then is one that is made under its name a new one.
pub(super) fn delete(admin: &Admin, cluster: &Cluster, topic: &str) -> Result<(), Error> {
    match admin.delete_topic(topic) {
        Ok(()) => {}
        Err(fault) if fault.code == code::UNKNOWN_TOPIC_OR_PART => {}
        Err(fault) if fault.code == code::TOPIC_DELETION_DISABLED => {
            let fix = "set delete.topic.enable=true on the brokers, or delete the topic by hand";
            return Err(Error::Invalid(format!(
                "deleting topic {topic}: kafka at {}: {}; {fix}",
                cluster.bootstrap, fault.text
            )));
        }
        Err(fault) => return Err(cluster.error(&format!("deleting topic {topic}"), &fault)),
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let found = admin.partitions(topic);
        if found.map_err(|fault| cluster.error(&format!("waiting for the end of topic {topic}"), &fault))?.is_none() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::Retriable(format!(
        "topic {topic} is deleted, and kafka at {} still lists it after {} s: a broker that holds it may be down; try again",
        cluster.bootstrap,
        PATIENCE.as_secs()
    )))
}

/// A topic's properties as Kafka names them.
fn properties(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let cleanup = match spec.cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactAndDelete => "compact,delete",
    };
    vec![
        ("cleanup.policy", cleanup.to_owned()),
        ("retention.ms", spec.retention_ms.unwrap_or(-1).to_string()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("delete.retention.ms", DELETE_RETENTION_MS.to_string()),
    ]
}

/// What a policy removes: whether older records of a key, and records beyond which age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Removes {
    older_of_key: bool,
    /// `None`: none for their age.
    beyond_ms: Option<i64>,
}

impl Removes {
    fn of(cleanup: &str, retention_ms: Option<i64>) -> Self {
        let has = |policy| cleanup.split(',').any(|part| part.trim() == policy);
        let kept = retention_ms.filter(|ms| *ms >= 0);
        Self { older_of_key: has("compact"), beyond_ms: if has("delete") { kept } else { None } }
    }

    /// Whether `new` removes a record that this one keeps.
    fn loses_to(self, new: Self) -> bool {
        let sooner = match (self.beyond_ms, new.beyond_ms) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => new < old,
        };
        sooner || (new.older_of_key && !self.older_of_key)
    }
}

/// Properties to change on a topic that exists, or why it is left alone.
fn changes(
    spec: &TopicSpec,
    partitions: u32,
    config: &BTreeMap<String, String>,
) -> Result<Vec<(&'static str, String)>, String> {
    if partitions > spec.partitions {
        return Err(format!(
            "topic {} has {partitions} partitions and {} are declared: partitions cannot be taken away; declare {partitions}",
            spec.name, spec.partitions
        ));
    }
    let wanted = properties(spec);
    let new = |name: &str| wanted.iter().find(|(wanted, _)| *wanted == name).map_or("", |(_, value)| value.as_str());
    let old = |name: &str| config.get(name).map_or("", String::as_str);
    let before = Removes::of(old("cleanup.policy"), old("retention.ms").parse().ok());
    let after = Removes::of(new("cleanup.policy"), new("retention.ms").parse().ok());
    if before.loses_to(after) {
        return Err(format!(
            "topic {} is kept with cleanup.policy={} and retention.ms={}; the declared {} and {} would delete records that are \
             kept now: change the topic by hand if that is meant",
            spec.name,
            old("cleanup.policy"),
            old("retention.ms"),
            new("cleanup.policy"),
            new("retention.ms")
        ));
    }
    Ok(wanted.into_iter().filter(|(name, value)| old(name) != value).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn spec(cleanup: Cleanup, retention_ms: Option<i64>) -> TopicSpec {
        TopicSpec { name: "t".to_owned(), partitions: 4, cleanup, retention_ms }
    }

    fn config(cleanup: &str, retention: &str) -> BTreeMap<String, String> {
        let pairs =
            [("cleanup.policy", cleanup), ("retention.ms", retention), ("message.timestamp.type", "LogAppendTime")];
        pairs
            .into_iter()
            .chain([("delete.retention.ms", "86400000")])
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn what_loses_nothing_is_changed_and_the_rest_refused() {
        use Cleanup::{Compact, CompactAndDelete, Delete};
        let rows = [
            (("delete", "1000"), (Delete, Some(1_000)), true),
            (("delete", "1000"), (Delete, Some(2_000)), true),
            (("delete", "1000"), (Delete, None), true),
            (("delete", "1000"), (Delete, Some(999)), false),
            (("delete", "-1"), (Delete, Some(1_000)), false),
            (("delete", "-1"), (Compact, None), false),
            (("compact", "1000"), (Delete, None), true),
            (("compact", "1000"), (Delete, Some(5_000)), false),
            (("compact", "1000"), (CompactAndDelete, Some(5_000)), false),
            (("compact,delete", "1000"), (Compact, None), true),
            (("compact,delete", "1000"), (Delete, Some(1_000)), true),
            (("compact,delete", "1000"), (CompactAndDelete, Some(2_000)), true),
        ];
        for ((old, retention), (cleanup, retention_ms), allowed) in rows {
            let result = changes(&spec(cleanup, retention_ms), 4, &config(old, retention));
            assert_eq!(result.is_ok(), allowed, "{old} {retention} -> {cleanup:?} {retention_ms:?}: {result:?}");
        }
    }

    #[test]
    fn only_differences_are_sent_and_partitions_never_shrink() {
        let declared = spec(Cleanup::Delete, Some(2_000));
        assert_eq!(changes(&declared, 4, &config("delete", "2000")), Ok(vec![]));
        assert_eq!(changes(&declared, 3, &config("delete", "1000")).unwrap(), [("retention.ms", "2000".to_owned())]);
        assert!(changes(&declared, 5, &config("delete", "2000")).unwrap_err().contains("declare 5"));
    }

    #[test]
    fn names_and_counts_are_checked_before_anything_is_sent() {
        for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(check(&TopicSpec { name: name.to_owned(), ..spec(Cleanup::Delete, None) }).is_err(), "{name:?}");
        }
        assert!(check(&TopicSpec { partitions: 0, ..spec(Cleanup::Delete, None) }).is_err());
        assert!(check(&spec(Cleanup::Delete, None)).is_ok());
    }
}
