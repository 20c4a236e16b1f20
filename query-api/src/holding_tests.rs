//! Why a window is open: one test per reason.

use super::*;
use tidemark_schemas::engine::TopicPartitions;

/// Ended, and due to close at 100.
const LONG_OVER: Span = Span { end: 90, closes_at: 100, now: 1_000 };

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
    assert!(why(&[], LONG_OVER, 5).reason.contains("is the job running"));
}

#[test]
fn a_missing_merge_partition() {
    let one = vec![progress(0, Some(1), vec![])];
    assert_eq!(why(&one, LONG_OVER, 5).reason, "merge partition 1 of 2 has not reported yet");
}

#[test]
fn a_source_partition_not_heard_of() {
    let found = why(&both(vec![source(0, Some(200), None)]), LONG_OVER, 5);
    assert_eq!(found.source, Some(("t".into(), 1)));
    assert!(found.reason.contains("nothing has been heard of t, partition 1"));
}

#[test]
fn a_source_partition_without_records() {
    let found = why(&both(vec![source(0, Some(200), None), source(1, None, None)]), LONG_OVER, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 1)), None));
}

#[test]
fn the_slowest_source_partition() {
    let found = why(&both(vec![source(0, Some(90), None), source(1, Some(99), None)]), LONG_OVER, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 0)), Some(90)));
    assert!(found.reason.contains("furthest behind"));
}

#[test]
fn an_idle_partition_counts_with_the_time_it_was_found_idle() {
    let found = why(&both(vec![source(0, Some(9), Some(97)), source(1, Some(99), None)]), LONG_OVER, 5);
    assert_eq!((found.source, found.watermark), (Some(("t".into(), 0)), Some(92)));
    assert!(found.reason.contains("is idle"));
}

#[test]
fn a_merge_partition_that_lags() {
    let sources = vec![source(0, Some(200), None), source(1, Some(200), None)];
    let progress = vec![progress(0, Some(200), sources.clone()), progress(1, Some(7), sources)];
    assert!(why(&progress, LONG_OVER, 5).reason.starts_with("merge partition 1 is still catching up"));
}

#[test]
fn a_window_that_is_not_over_blames_nobody() {
    let idle = both(vec![source(0, Some(20), Some(50)), source(1, Some(30), Some(50))]);
    let reason = |now| why(&idle, Span { now, ..LONG_OVER }, 5).reason;
    assert_eq!(reason(89), "it is not over before 1970-01-01T00:00:00.09Z");
    assert_eq!(reason(90), "it waits for stragglers until 1970-01-01T00:00:00.1Z");
    assert!(reason(100).contains("is idle and counts"), "{}", reason(100));
}

#[test]
fn a_view_that_hears_nothing_says_so() {
    assert_eq!((silence(None, 200_000), silence(Some(140_000), 200_000)), (None, None));
    let said = silence(Some(139_999), 200_000).unwrap();
    assert!(said.contains("after 1970-01-01T00:02:19.999Z"), "{said}");
}
