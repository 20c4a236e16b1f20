//! What a topic may be called and how it may change.

use crate::{Cleanup, Error, TopicSpec};

/// Most bytes in the name of a topic, a group or a member.
const NAME_BYTES_MAX: usize = 249;
/// Most partitions of a topic.
const PARTITIONS_MAX: u32 = 10_000;

/// Refuses what no topic may be.
pub(crate) fn check(spec: &TopicSpec) -> Result<(), Error> {
    let name = &spec.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(allowed) || name.is_empty() || name.len() > NAME_BYTES_MAX || name == "." || name == ".." {
        return Err(Error::Invalid(format!(
            "topic name {name:?}: use 1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'"
        )));
    }
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        let n = spec.partitions;
        return Err(Error::Invalid(format!(
            "topic {name}: {n} partitions asked for, 1 to {PARTITIONS_MAX} are possible"
        )));
    }
    match spec.retention_ms {
        Some(ms) if ms < 0 => Err(Error::Invalid(format!("topic {name}: a retention of {ms} ms is negative"))),
        _ => Ok(()),
    }
}

/// Refuses a group or member id that is empty or too long.
pub(crate) fn check_id(what: &str, id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > NAME_BYTES_MAX {
        return Err(Error::Invalid(format!("{what} {id:?}: use 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Refuses to bring the topic `is` in line with `wanted` where records would be lost.
pub(crate) fn check_change(is: &TopicSpec, wanted: &TopicSpec) -> Result<(), Error> {
    let refuse = |why: String| {
        let name = &is.name;
        Err(Error::Invalid(format!("topic {name} exists and {why}: name another topic, or ask for what it is")))
    };
    if wanted.partitions < is.partitions {
        return refuse(format!("has {} partitions, which cannot become {}", is.partitions, wanted.partitions));
    }
    if compacts(wanted.cleanup) && !compacts(is.cleanup) {
        return refuse("keeps every record of a key; compacting it would lose some".to_owned());
    }
    match (age_limit(is), age_limit(wanted)) {
        (None, Some(new)) => refuse(format!("keeps records for ever; deleting them after {new} ms would lose some")),
        (Some(old), Some(new)) if new < old => {
            refuse(format!("keeps records for {old} ms; deleting them after {new} ms would lose some"))
        }
        _ => Ok(()),
    }
}

/// Whether old records of a key are deleted.
pub(crate) fn compacts(cleanup: Cleanup) -> bool {
    match cleanup {
        Cleanup::Delete => false,
        Cleanup::Compact | Cleanup::CompactAndDelete => true,
    }
}

/// Milliseconds after which records are deleted, `None` for never.
pub(crate) fn age_limit(spec: &TopicSpec) -> Option<i64> {
    match spec.cleanup {
        Cleanup::Delete | Cleanup::CompactAndDelete => spec.retention_ms,
        Cleanup::Compact => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(partitions: u32, cleanup: Cleanup, retention_ms: Option<i64>) -> TopicSpec {
        TopicSpec { name: "t".to_owned(), partitions, cleanup, retention_ms }
    }

    #[test]
    fn names_follow_kafkas_rule() {
        let named = |name: &str| check(&TopicSpec { name: name.to_owned(), ..spec(1, Cleanup::Delete, None) }).is_ok();
        assert!(named("flows.observed_v1-x") && named(&"a".repeat(249)));
        for bad in ["", ".", "..", "a/b", "ä", "a b", &"a".repeat(250)] {
            assert!(!named(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_topic_changes_only_where_nothing_is_lost() {
        use Cleanup::{Compact, CompactAndDelete, Delete};
        let may = |is, wanted| check_change(&is, &wanted).is_ok();
        assert!(may(spec(1, Delete, Some(5)), spec(4, Delete, Some(9))));
        assert!(may(spec(1, Delete, Some(5)), spec(1, Delete, None)));
        assert!(may(spec(1, CompactAndDelete, Some(5)), spec(1, Compact, Some(1))));
        assert!(!may(spec(2, Delete, None), spec(1, Delete, None)));
        assert!(!may(spec(1, Delete, None), spec(1, Delete, Some(5))));
        assert!(!may(spec(1, Delete, Some(5)), spec(1, Delete, Some(4))));
        assert!(!may(spec(1, Delete, None), spec(1, Compact, None)));
        assert!(!may(spec(1, Compact, Some(5)), spec(1, CompactAndDelete, Some(5))));
    }
}
