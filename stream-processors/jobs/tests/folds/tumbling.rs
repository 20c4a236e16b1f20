//! Windows one after the other, and what holds whatever the windows are.

use crate::*;
use std::collections::BTreeMap;
use tidemark_core::driver::Rows;
use tidemark_core::partial::Verdict;
use tidemark_core::{LatePolicy, window};

/// Single-threaded fold of the flows that `folded` keeps.
fn reference<'f>(job: &With, flows: impl IntoIterator<Item = &'f Flow>) -> Rows<FlowSums> {
    let mut rows = Rows::new();
    for flow in flows {
        let start = window::tumbling(flow.at, job.spec.window.size_ms()).start;
        row_of(rows.entry((start, key(job, flow))).or_insert((0, FlowSums::default())), flow);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Under `amend` the order, the split over partitions and commits and any crash between them change nothing.
    #[test]
    fn amend_gives_the_rows_of_a_single_fold(flows in flows(), steps in steps()) {
        let job = job(|_| {});
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        prop_assert_eq!(driver.rows(), &reference(&job, flows.iter().map(|(_, flow)| flow)));
        let records: i64 = driver.ledgers().map(|ledger| ledger.records).sum();
        prop_assert_eq!(records, flows.len() as i64);
        prop_assert_eq!(driver.sealed_out(), 0);
    }

    /// Under `hold` rows and late counts are those of each partition's own watermark, read one record after the other.
    #[test]
    fn hold_gives_the_per_partition_reference(flows in flows(), steps in steps()) {
        let job = job(|spec| spec.late = LatePolicy::Hold);
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);

        let mut watermarks: BTreeMap<usize, i64> = BTreeMap::new();
        let (mut kept, mut held) = (vec![], BTreeMap::<i64, i64>::new());
        for (partition, flow) in &flows {
            let window = window::tumbling(flow.at, HOUR_MS);
            let watermark = watermarks.get(partition).copied();
            if window::is_late(window.end, job.spec.grace_ms, watermark) {
                *held.entry(window.start).or_default() += 1;
            } else {
                kept.push(flow);
            }
            watermarks.insert(*partition, watermark.unwrap_or(flow.at).max(flow.at));
        }
        prop_assert_eq!(driver.rows(), &reference(&job, kept));
        let mut counted = BTreeMap::new();
        for ledger in driver.ledgers().filter(|ledger| ledger.held > 0) {
            *counted.entry(ledger.window_start).or_insert(0) += ledger.held;
        }
        prop_assert_eq!(counted, held);
    }

    /// The ledger of every window names offsets that hold its records, and counts them.
    #[test]
    fn the_ledger_adds_up(flows in flows(), steps in steps()) {
        let job = job(|_| {});
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        let mut rows = BTreeMap::<i64, (i64, i64)>::new();
        for ((start, _), (records, _)) in driver.rows() {
            let row = rows.entry(*start).or_default();
            *row = (row.0 + 1, row.1 + records);
        }
        let mut ledgers = BTreeMap::<i64, (i64, i64)>::new();
        for ledger in driver.ledgers() {
            let sum = ledgers.entry(ledger.window_start).or_default();
            *sum = (sum.0 + ledger.rows, sum.1 + ledger.records);
        }
        prop_assert_eq!(ledgers, rows);
        // Over all merge partitions the offsets of a window are exactly those of its first and last record on each source.
        let mut named = BTreeMap::<(i64, i32), (i64, i64)>::new();
        for ledger in driver.ledgers() {
            for range in &ledger.sources {
                let all = named.entry((ledger.window_start, range.partition)).or_insert((i64::MAX, i64::MIN));
                *all = (all.0.min(range.first_offset), all.1.max(range.last_offset));
            }
        }
        let mut held = BTreeMap::<(i64, i32), (i64, i64)>::new();
        let mut next = [0i64; 4];
        for (partition, flow) in &flows {
            let offset = next[*partition];
            next[*partition] += 1;
            let start = window::tumbling(flow.at, HOUR_MS).start;
            let all = held.entry((start, *partition as i32)).or_insert((offset, offset));
            all.1 = offset;
        }
        prop_assert_eq!(named, held);
        let late: i64 = driver.ledgers().map(|ledger| ledger.late).sum();
        let want = driver.verdicts().values().filter(|verdict| matches!(verdict, Verdict::Late { .. })).count();
        prop_assert_eq!(late, want as i64);
    }
}

/// A day's backlog, one partition read to its end before the next is begun: nothing that was on time is lost or late.
#[test]
fn a_backlog_loses_no_on_time_record() {
    let job = job(|spec| spec.late = LatePolicy::Hold);
    let flows: Vec<(usize, Flow)> = (0..20_000)
        .map(|n| (n % 4, Flow { at: BASE + n as i64 * 24 * HOUR_MS / 20_000, app: (n % 7) as u8, bytes: n as i64 }))
        .collect();
    let mut driver = load(&job, &flows);
    for partition in 0..4 {
        for _ in 0..50 {
            driver.read(partition, 100);
            driver.commit(&[partition], BASE + 25 * HOUR_MS);
            driver.merge().unwrap();
        }
    }
    finish(&mut driver, BASE + 25 * HOUR_MS);
    assert_eq!(driver.rows(), &reference(&job, flows.iter().map(|(_, flow)| flow)));
    assert!(driver.ledgers().all(|ledger| ledger.held == 0 && ledger.late == 0 && !ledger.amended));
}

fn one_flow(at: i64) -> Flow {
    Flow { at, app: 1, bytes: 5 }
}

#[test]
fn a_quiet_topic_closes_its_last_window() {
    let job = job(|_| {});
    let mut driver = load(&job, &[(0, one_flow(BASE)), (1, one_flow(BASE + MINUTE))]);
    finish(&mut driver, BASE + 24 * HOUR_MS);
    assert!(driver.ledgers().all(|ledger| ledger.closed_at.is_none()), "two partitions have not been heard of");
    let now = BASE + HOUR_MS + job.spec.grace_ms + job.spec.idle_after_ms;
    for (at, closed) in [(now - 1, false), (now, true)] {
        (0..4).for_each(|partition| driver.idle(partition, at));
        driver.commit(&[0, 1, 2, 3], BASE + 24 * HOUR_MS);
        driver.merge().unwrap();
        assert!(driver.ledgers().all(|ledger| ledger.closed_at.is_some() == closed), "at {at}");
    }
}

#[test]
fn one_silent_partition_of_four_does_not_hold_windows_open() {
    let job = job(|_| {});
    let ahead = BASE + 3 * HOUR_MS;
    let flows: Vec<_> = (0..3).flat_map(|p| [(p, one_flow(BASE)), (p, one_flow(ahead))]).collect();
    let mut driver = load(&job, &flows);
    finish(&mut driver, ahead);
    assert_eq!(driver.watermark(), None);
    driver.idle(3, ahead + job.spec.idle_after_ms);
    driver.commit(&[3], ahead + job.spec.idle_after_ms);
    driver.merge().unwrap();
    assert_eq!(driver.watermark(), Some(ahead));
    // It comes back with older records: they are not late by the time it was idle, and amend what was final.
    driver.push(3, ahead, datum(&one_flow(BASE + 1)));
    finish(&mut driver, ahead);
    assert_eq!(driver.verdicts()[&(3, 0)], Verdict::OnTime);
    let first: Vec<_> = driver.ledgers().filter(|ledger| ledger.window_start == BASE).collect();
    assert!(first.iter().any(|ledger| ledger.amended && ledger.records > 0));
}

#[test]
fn an_hour_of_last_year_can_be_loaded_into_a_running_job_and_is_sealed_later() {
    let job = job(|_| {});
    let (old, amend_for) = (BASE - 365 * 24 * HOUR_MS, job.spec.amend_for_ms);
    let mut driver = load(&job, &[(0, one_flow(BASE)), (0, one_flow(old))]);
    finish(&mut driver, BASE);
    let all_idle = |driver: &mut Driver<With>, now: i64| {
        (0..4).for_each(|partition| driver.idle(partition, now));
        driver.commit(&[0, 1, 2, 3], now);
        driver.merge().unwrap();
    };
    all_idle(&mut driver, BASE + amend_for - 1);
    driver.push(0, BASE, datum(&one_flow(old)));
    finish(&mut driver, BASE + amend_for - 1);
    let state = |driver: &Driver<With>| {
        let ledger = driver.ledgers().find(|ledger| ledger.window_start == old).unwrap();
        (ledger.records, ledger.sealed_out, ledger.sealed, ledger.amended)
    };
    assert_eq!(state(&driver), (2, 0, false, true));
    all_idle(&mut driver, BASE + amend_for);
    assert_eq!(state(&driver), (2, 0, true, true));
    driver.push(0, BASE, datum(&one_flow(old)));
    finish(&mut driver, BASE + amend_for + 1);
    assert_eq!(state(&driver), (2, 1, true, true));
    assert_eq!(driver.sealed_out(), 1);
    assert_eq!(driver.rows().values().map(|row| row.0).sum::<i64>(), 3, "what came after the seal is not in the rows");
}

#[test]
fn a_clock_in_the_future_is_dead_lettered_and_makes_nobody_late() {
    let job = job(|_| {});
    let append = BASE + 24 * HOUR_MS;
    let limit = append + job.spec.max_future_ms;
    let mut driver = load(
        &job,
        &[
            (0, one_flow(limit + 1)),
            (0, one_flow(append + 10 * 365 * 24 * HOUR_MS)),
            (0, one_flow(BASE)),
            (0, one_flow(limit)),
        ],
    );
    finish(&mut driver, append);
    let verdicts: Vec<_> = driver.verdicts().values().copied().collect();
    assert_eq!(verdicts, [Verdict::FarFuture, Verdict::FarFuture, Verdict::OnTime, Verdict::OnTime]);
}

#[test]
fn unreadable_records_are_counted_and_nothing_else_is_lost() {
    let job = job(|_| {});
    let mut driver = load(&job, &[(0, one_flow(BASE))]);
    driver.push(0, BASE, vec![1, 2, 3]);
    driver.push(0, BASE, datum(&one_flow(BASE)));
    finish(&mut driver, BASE);
    assert_eq!(driver.rejects().len(), 1);
    assert_eq!(driver.rows().values().map(|row| row.0).sum::<i64>(), 2);
}
