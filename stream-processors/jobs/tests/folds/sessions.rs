//! Session windows through both folds: what comes out are the sessions of the sorted events, cut at the gaps.

use crate::*;
use std::collections::BTreeMap;
use tidemark_core::partial::Verdict;
use tidemark_core::{LatePolicy, Windowing};
use tidemark_schemas::avro::put_long;

const GAP: i64 = 25 * MINUTE;

fn sessions(change: impl FnOnce(&mut JobSpec)) -> Arc<With> {
    job(|spec| {
        spec.window = Windowing::Session { gap_ms: GAP };
        change(spec);
    })
}

/// Key fields and start → last, records and sums.
type Sessions = BTreeMap<Vec<u8>, (i64, i64, FlowSums)>;

/// Key fields → start, last, records and sums of its sessions, by start.
type Cut = BTreeMap<Vec<u8>, Vec<(i64, i64, (i64, FlowSums))>>;

/// Sorts and cuts at the gaps.
fn cut<'f>(job: &With, flows: impl IntoIterator<Item = &'f Flow>) -> Cut {
    let mut sorted: Vec<&Flow> = flows.into_iter().collect();
    sorted.sort_by_key(|flow| flow.at);
    let mut keys = Cut::new();
    for flow in sorted {
        let sessions = keys.entry(key(job, flow)).or_default();
        if sessions.last().is_none_or(|last| flow.at - last.1 >= GAP) {
            sessions.push((flow.at, flow.at, Default::default()));
        }
        let session = sessions.last_mut().unwrap();
        session.1 = flow.at;
        row_of(&mut session.2, flow);
    }
    keys
}

fn reference<'f>(job: &With, flows: impl IntoIterator<Item = &'f Flow>) -> Sessions {
    let with_start = |mut key: Vec<u8>, start| {
        put_long(&mut key, start);
        key
    };
    let keys = cut(job, flows).into_iter();
    keys.flat_map(|(key, sessions)| {
        sessions.into_iter().map(move |(start, last, (n, sums))| (with_start(key.clone(), start), (last, n, sums)))
    })
    .collect()
}

/// Ledgers count what is in live rows, and end when the last of their sessions is over; other rows hold nothing.
fn assert_adds_up(driver: &Driver<With>) {
    let live = driver.sessions();
    let mut buckets = BTreeMap::<i64, (i64, i64, i64)>::new();
    for ((bucket, key), (records, sums)) in driver.rows() {
        if *records == 0 {
            assert_eq!(sums, &FlowSums::default(), "a row that was retracted is empty");
            continue;
        }
        let all = buckets.entry(*bucket).or_default();
        *all = (all.0 + 1, all.1 + records, all.2.max(live[key].0));
    }
    let mut counted = BTreeMap::<i64, (i64, i64)>::new();
    for ledger in driver.ledgers() {
        let all = counted.entry(ledger.window_start).or_default();
        *all = (all.0 + ledger.rows, all.1 + ledger.records);
        assert!(ledger.window_end >= ledger.window_start + HOUR_MS);
    }
    counted.retain(|_, counts| *counts != (0, 0));
    let rows = buckets.iter().map(|(bucket, (rows, records, _))| (*bucket, (*rows, *records)));
    assert_eq!(counted, rows.collect::<BTreeMap<_, _>>());
    for (bucket, (.., last)) in buckets {
        let end = driver.ledgers().filter(|ledger| ledger.window_start == bucket).map(|ledger| ledger.window_end).max();
        assert!(end >= Some(last + GAP), "{bucket} ends at {end:?}, a session in it at {}", last + GAP);
    }
}

/// Records that were read by what became of them: late and folded, held, dead-lettered, filtered; and all.
fn counts(driver: &Driver<With>, hold: bool) -> [i64; 5] {
    let count = |of: fn(&Verdict) -> bool| driver.verdicts().values().filter(|verdict| of(verdict)).count() as i64;
    let (late, rejects) = (count(|verdict| matches!(verdict, Verdict::Late { .. })), driver.rejects().len() as i64);
    let dead = count(|verdict| matches!(verdict, Verdict::FarFuture)) + rejects;
    let (late, held) = if hold { (0, late) } else { (late, 0) };
    let filtered = count(|verdict| matches!(verdict, Verdict::Filtered));
    [late, held, dead, filtered, driver.verdicts().len() as i64 + rejects]
}

/// Flows, half of them at times a multiple of which the gap and the grace are, some from the future or filtered.
fn mixed() -> impl Strategy<Value = Vec<(usize, Flow)>> {
    let strange = prop_oneof![20 => Just(0), 1 => Just(1), 1 => Just(2)];
    let at = prop_oneof![0..6 * HOUR_MS, (0..72i64).prop_map(|n| n * 5 * MINUTE)];
    let flow = (0..4usize, at, 0..4u8, 0..1_000i64, strange).prop_map(|(partition, at, app, bytes, strange)| {
        let at = if strange == 1 { 30 * HOUR_MS } else { at };
        (partition, Flow { at: BASE + at, app, bytes: if strange == 2 { FILTERED } else { bytes } })
    });
    prop::collection::vec(flow, 1..150)
}

fn counted(job: &With, flow: &Flow) -> bool {
    flow.at <= BASE + 24 * HOUR_MS + job.spec.max_future_ms && flow.bytes != FILTERED
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Under `amend` the order, the split over partitions and commits and any crash between them change nothing.
    #[test]
    fn amend_gives_the_sessions_of_the_sorted_events(flows in mixed(), steps in steps()) {
        let job = sessions(|_| {});
        let mut driver = load(&job, &flows);
        driver.push(0, BASE, vec![1, 2, 3]);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        let want = reference(&job, flows.iter().map(|(_, flow)| flow).filter(|flow| counted(&job, flow)));
        prop_assert_eq!(driver.sessions(), want);
        assert_adds_up(&driver);
        let [late, held, dead, filtered, all] = counts(&driver, false);
        let folded: i64 = driver.ledgers().map(|ledger| ledger.records).sum();
        prop_assert_eq!(all, flows.len() as i64 + 1);
        prop_assert_eq!(folded + held + dead + filtered, all);
        prop_assert_eq!(driver.ledgers().map(|ledger| ledger.late).sum::<i64>(), late);
        prop_assert!(driver.ledgers().all(|ledger| ledger.late == 0 || ledger.amended));
        prop_assert_eq!(driver.sealed_out(), 0);
    }

    /// Under `hold` sessions and held counts are those of each partition's own watermark, read one record after the other.
    #[test]
    fn hold_gives_the_per_partition_reference(flows in mixed(), steps in steps()) {
        let job = sessions(|spec| spec.late = LatePolicy::Hold);
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        let mut watermarks = [None::<i64>; 4];
        let (mut kept, mut held) = (vec![], BTreeMap::<i64, i64>::new());
        for (partition, flow) in &flows {
            if flow.at > BASE + 24 * HOUR_MS + job.spec.max_future_ms {
                continue;
            }
            let before = watermarks[*partition];
            watermarks[*partition] = before.max(Some(flow.at));
            if flow.bytes == FILTERED {
                continue;
            }
            if before.is_some_and(|before| flow.at + job.spec.grace_ms < before) {
                *held.entry(flow.at.div_euclid(HOUR_MS) * HOUR_MS).or_default() += 1;
            } else {
                kept.push(flow);
            }
        }
        prop_assert_eq!(driver.sessions(), reference(&job, kept));
        assert_adds_up(&driver);
        let mut counted = BTreeMap::new();
        for ledger in driver.ledgers().filter(|ledger| ledger.held > 0) {
            *counted.entry(ledger.window_start).or_insert(0) += ledger.held;
        }
        prop_assert_eq!(counted, held);
        let [late, held, dead, filtered, all] = counts(&driver, true);
        let folded: i64 = driver.ledgers().map(|ledger| ledger.records).sum();
        prop_assert_eq!((folded + held + dead + filtered, late), (all, 0));
    }

    /// Where buckets are sealed on the way, no record is lost or counted twice, and no row holds more than one session of the
    /// sorted events.
    #[test]
    fn sealing_cuts_sessions_and_loses_nothing(flows in mixed(), steps in steps()) {
        let job = sessions(|spec| spec.amend_for_ms = 5_000);
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        assert_adds_up(&driver);
        let folded: i64 = driver.ledgers().map(|ledger| ledger.records).sum();
        let sealed_out: i64 = driver.ledgers().map(|ledger| ledger.sealed_out).sum();
        let [_, held, dead, filtered, all] = counts(&driver, false);
        prop_assert_eq!(sealed_out, driver.sealed_out());
        prop_assert_eq!(folded + sealed_out + held + dead + filtered, all);
        let whole = cut(&job, flows.iter().map(|(_, flow)| flow).filter(|flow| counted(&job, flow)));
        for (row_key, (last, records, _)) in driver.sessions() {
            let found = whole.iter().filter(|(key, _)| row_key.starts_with(key)).flat_map(|(_, sessions)| sessions);
            let inside = found.filter(|(start, end, (n, _))| {
                let mut bytes = vec![];
                put_long(&mut bytes, *start);
                let row_start = tidemark_schemas::avro::Reader::new(&row_key[row_key.len() - bytes.len()..]).long().unwrap();
                *start <= row_start && last <= *end && records <= *n
            });
            prop_assert_eq!(inside.count(), 1, "a row of {} records that ends at {}", records, last);
        }
    }
}

/// A day's backlog, one partition read to its end before the next is begun: nothing that was on time is lost or late.
#[test]
fn a_backlog_loses_no_on_time_record() {
    let job = sessions(|spec| spec.late = LatePolicy::Hold);
    // Each app falls silent for 40 minutes now and then.
    let at = |n: i64| BASE + n * 24 * HOUR_MS / 20_000;
    let loud = |n: i64| (at(n) / (40 * MINUTE) + n % 7) % 3 != 0;
    let flows: Vec<(usize, Flow)> = (0..20_000)
        .filter(|n| loud(*n))
        .map(|n| ((n % 4) as usize, Flow { at: at(n), app: (n % 7) as u8, bytes: n }))
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
    assert_eq!(driver.sessions(), reference(&job, flows.iter().map(|(_, flow)| flow)));
    assert!(driver.sessions().len() > 50);
    assert!(driver.ledgers().all(|ledger| ledger.held == 0 && ledger.late == 0 && !ledger.amended));
    assert_adds_up(&driver);
}
