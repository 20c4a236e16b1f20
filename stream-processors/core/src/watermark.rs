//! Watermarks: per source partition, and the minimum over all of them.

use std::collections::BTreeMap;
use tidemark_schemas::engine::{Marker, SourceMark, SourceProgress, TopicPartitions};

/// What a merge partition knows of the source partitions, from the markers it has folded.
///
/// Its watermark is null until every source partition that the markers count has been heard of, and it never goes back:
/// not when a partition is added, not when an idle one comes back with older records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    known: BTreeMap<(String, i32), SourceProgress>,
    counts: BTreeMap<String, i32>,
    watermark: Option<i64>,
}

impl Sources {
    /// As they were saved.
    pub fn restore(sources: Vec<SourceProgress>, counts: Vec<TopicPartitions>, watermark: Option<i64>) -> Self {
        Self {
            known: sources.into_iter().map(|source| ((source.topic.clone(), source.partition), source)).collect(),
            counts: counts.into_iter().map(|count| (count.topic, count.partitions)).collect(),
            watermark,
        }
    }

    /// The minimum over all source partitions, as it stood at its highest.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// By topic and partition.
    pub fn progress(&self) -> Vec<SourceProgress> {
        self.known.values().cloned().collect()
    }

    /// By topic.
    pub fn counts(&self) -> Vec<TopicPartitions> {
        self.counts.iter().map(|(topic, &partitions)| TopicPartitions { topic: topic.clone(), partitions }).collect()
    }

    /// How far a source partition has been read; 0 when it has not been heard of.
    pub fn next_offset(&self, topic: &str, partition: i32) -> i64 {
        self.known.get(&(topic.to_owned(), partition)).map_or(0, |source| source.next_offset)
    }

    /// Takes a marker in and moves the watermark. A mark that is behind what is known came from an owner that has been
    /// replaced and is passed over. `appended_at` is the marker's append time: the log's clock.
    pub fn fold(&mut self, marker: &Marker, appended_at: i64, idle_after_ms: i64) {
        for count in &marker.partition_counts {
            let known = self.counts.entry(count.topic.clone()).or_default();
            *known = (*known).max(count.partitions);
        }
        for mark in &marker.sources {
            self.fold_mark(mark, appended_at);
        }
        self.watermark = self.watermark.max(self.minimum(idle_after_ms));
    }

    fn fold_mark(&mut self, mark: &SourceMark, appended_at: i64) {
        let source = self.known.entry((mark.topic.clone(), mark.partition)).or_insert_with(|| SourceProgress {
            topic: mark.topic.clone(),
            partition: mark.partition,
            next_offset: 0,
            watermark: None,
            idle_at: None,
            records: 0,
            late: 0,
            held: 0,
            filtered: 0,
            dead_lettered: 0,
            duplicates: 0,
        });
        if mark.next_offset < source.next_offset {
            return;
        }
        source.next_offset = mark.next_offset;
        source.watermark = source.watermark.max(mark.watermark);
        // By its owner's clock, which may be fast; no partition was found idle after its marker was appended.
        source.idle_at = mark.idle_at.map(|at| at.min(appended_at));
        source.records += mark.records;
        source.late += mark.late;
        source.held += mark.held;
        source.filtered += mark.filtered;
        source.dead_lettered += mark.dead_lettered;
        source.duplicates += mark.duplicates;
    }

    fn minimum(&self, idle_after_ms: i64) -> Option<i64> {
        let expected: usize = self.counts.values().map(|&n| usize::try_from(n).unwrap_or(0)).sum();
        if expected == 0 || self.known.len() < expected {
            return None;
        }
        // `None < Some(_)`: a partition without a watermark holds everything.
        self.known.values().map(|source| effective(source, idle_after_ms)).min().flatten()
    }
}

/// The watermark that a source partition counts with: an idle one counts as the later of its watermark and the time it was
/// found idle less `idle_after`, since whatever it still brings was not there for that long.
pub fn effective(source: &SourceProgress, idle_after_ms: i64) -> Option<i64> {
    source.watermark.max(source.idle_at.map(|at| at - idle_after_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An append time that bounds nothing.
    const FAR: i64 = i64::MAX;

    fn marker(partitions: i32, marks: &[(i32, i64, Option<i64>, Option<i64>)]) -> Marker {
        Marker {
            fingerprint: 1,
            at: 0,
            oldest_append: None,
            sources: marks
                .iter()
                .map(|&(partition, next_offset, watermark, idle_at)| SourceMark {
                    topic: "t".into(),
                    partition,
                    next_offset,
                    watermark,
                    idle_at,
                    records: 1,
                    late: 0,
                    held: 0,
                    filtered: 0,
                    dead_lettered: 0,
                    duplicates: 0,
                })
                .collect(),
            partition_counts: vec![TopicPartitions { topic: "t".into(), partitions }],
        }
    }

    #[test]
    fn no_watermark_until_every_partition_is_heard_of() {
        let mut sources = Sources::default();
        sources.fold(&marker(2, &[(0, 1, Some(100), None)]), FAR, 10);
        assert_eq!(sources.watermark(), None);
        sources.fold(&marker(2, &[(1, 1, Some(70), None)]), FAR, 10);
        assert_eq!(sources.watermark(), Some(70));
    }

    #[test]
    fn a_partition_without_records_holds_until_it_is_idle() {
        let mut sources = Sources::default();
        sources.fold(&marker(2, &[(0, 1, Some(100), None), (1, 0, None, None)]), FAR, 10);
        assert_eq!(sources.watermark(), None);
        sources.fold(&marker(2, &[(1, 0, None, Some(95))]), FAR, 10);
        assert_eq!(sources.watermark(), Some(85));
        sources.fold(&marker(2, &[(1, 0, None, Some(500))]), FAR, 10);
        assert_eq!(sources.watermark(), Some(100));
    }

    #[test]
    fn a_fast_clock_closes_nothing_before_its_time() {
        let mut sources = Sources::default();
        sources.fold(&marker(1, &[(0, 1, Some(50), Some(9_000))]), 1_000, 10);
        assert_eq!(sources.watermark(), Some(990));
    }

    #[test]
    fn never_back_when_an_idle_partition_returns_or_one_is_added() {
        let mut sources = Sources::default();
        sources.fold(&marker(1, &[(0, 1, Some(50), Some(1000))]), FAR, 10);
        assert_eq!(sources.watermark(), Some(990));
        sources.fold(&marker(1, &[(0, 2, Some(60), None)]), FAR, 10);
        assert_eq!(sources.watermark(), Some(990));
        sources.fold(&marker(2, &[(0, 3, Some(2000), None)]), FAR, 10);
        assert_eq!(sources.watermark(), Some(990));
        sources.fold(&marker(2, &[(1, 1, Some(1500), None)]), FAR, 10);
        assert_eq!(sources.watermark(), Some(1500));
    }

    #[test]
    fn a_replaced_owners_mark_is_passed_over() {
        let mut sources = Sources::default();
        sources.fold(&marker(1, &[(0, 10, Some(100), None)]), FAR, 10);
        sources.fold(&marker(1, &[(0, 5, Some(900), Some(9000))]), FAR, 10);
        assert_eq!(sources.watermark(), Some(100));
        assert_eq!(sources.progress()[0].records, 1);
    }
}
