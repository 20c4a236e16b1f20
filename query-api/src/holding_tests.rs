//! Why a window is open: one test per reason.

use super::*;
use tidemark_schemas::engine::TopicPartitions;

fn source(partition: i32, watermark: Option<i64>, idle_at: Option<i64>) -> SourceProgress {
    SourceProgress {
        topic: "t".into(),
        partition,
        next_offset: 0,
        watermark,
        idle_at,
        records: 0,
        late: 0,
        held: 0,
        filtered: 0,
        dead_lettered: 0,
        duplicates: 0,
    }
}

fn progress(merge_partition: i32, watermark: Option<i64>, sources: Vec<SourceProgress>) -> Progress {
    Progress {
        fingerprint: 1,
        merge_partition,
        merge_partitions: 2,
        watermark,
        as_of: 0,
        oldest_append: None,
        sources,
        partition_counts: vec![TopicPartitions { topic: "t".into(), partitions: 2 }],
        epoch: 0,
        revision: 1,
    }
}

fn both(sources: Vec<SourceProgress>) -> Vec<Progress> {
    vec![progress(0, Some(1), sources.clone()), progress(1, Some(1), sources)]
}

#[test]
fn no_progress() {
    assert!(why(&[], 100, 5).reason.contains("is the job running"));
}

#[test]
fn a_missing_merge_partition() {
    let one = vec![progress(0, Some(1), vec![])];
    assert_eq!(why(&one, 100, 5).reason, "merge partition 1 of 2 has not reported yet");
}

#[test]
fn a_source_partition_not_heard_of() {
    let found = why(&both(vec![source(0, Some(200), None)]), 100, 5);
    assert_eq!(found.source, Some(("t".into(), 1)));
    assert!(found.reason.contains("nothing has been heard of t, partition 1"));
}

#[test]
fn a_source_partition_without_records() {
    let found = why(&both(vec![source(0, Some(200), None), source(1, None, None)]), 100, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 1)), None));
}

#[test]
fn the_slowest_source_partition() {
    let found = why(&both(vec![source(0, Some(90), None), source(1, Some(99), None)]), 100, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 0)), Some(90)));
    assert!(found.reason.contains("furthest behind"));
}

#[test]
fn an_idle_partition_counts_with_the_time_it_was_found_idle() {
    let found = why(&both(vec![source(0, Some(9), Some(97)), source(1, Some(99), None)]), 100, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 0)), Some(92)));
    assert!(found.reason.contains("is idle"));
}

#[test]
fn a_merge_partition_that_lags() {
    let sources = vec![source(0, Some(200), None), source(1, Some(200), None)];
    let progress = vec![progress(0, Some(200), sources.clone()), progress(1, Some(7), sources)];
    assert!(why(&progress, 100, 5).reason.starts_with("merge partition 1 is still catching up"));
}
