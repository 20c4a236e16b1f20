//! Windows that overlap: each record is counted in each of its windows, and late for each on its own.

use crate::*;
use std::collections::BTreeMap;
use tidemark_core::driver::Rows;
use tidemark_core::partial::Verdict;
use tidemark_core::{LatePolicy, Windowing};

/// Not a multiple of the hop: a record is in four windows or in three.
const SIZE: i64 = 70 * MINUTE;
const HOP: i64 = 20 * MINUTE;

fn hopping(late: LatePolicy) -> Arc<With> {
    job(|spec| {
        spec.window = Windowing::Hopping { size_ms: SIZE, hop_ms: HOP };
        spec.late = late;
    })
}

/// Starts of the windows that a time falls into, by looking at all that could be.
fn starts(at: i64) -> Vec<i64> {
    let first = (at - SIZE).div_euclid(HOP) * HOP;
    (0..6).map(|n| first + n * HOP).filter(|start| *start <= at && at < start + SIZE).collect()
}

/// What of the flows is folded into each window, what is held, and how often each was late.
#[derive(Default)]
struct Reference {
    rows: Rows<FlowSums>,
    held: BTreeMap<i64, i64>,
    late: BTreeMap<(usize, i64), u32>,
}

fn reference(job: &With, flows: &[(usize, Flow)]) -> Reference {
    let mut reference = Reference::default();
    let (mut watermarks, mut next) = ([None::<i64>; 4], [0; 4]);
    for (partition, flow) in flows {
        for start in starts(flow.at) {
            let late = watermarks[*partition].is_some_and(|mark| start + SIZE + job.spec.grace_ms <= mark);
            if late {
                *reference.late.entry((*partition, next[*partition])).or_default() += 1;
            }
            if late && job.spec.late == LatePolicy::Hold {
                *reference.held.entry(start).or_default() += 1;
            } else {
                row_of(reference.rows.entry((start, key(job, flow))).or_default(), flow);
            }
        }
        watermarks[*partition] = watermarks[*partition].max(Some(flow.at));
        next[*partition] += 1;
    }
    reference
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_window_is_exact_whatever_the_order(flows in flows(), steps in steps(), hold in any::<bool>()) {
        let job = hopping(if hold { LatePolicy::Hold } else { LatePolicy::Amend });
        let mut driver = load(&job, &flows);
        let mut now = BASE + 24 * HOUR_MS;
        play(&mut driver, &steps, &mut now);
        finish(&mut driver, now);
        let want = reference(&job, &flows);
        prop_assert_eq!(driver.rows(), &want.rows);
        let (mut held, mut late) = (BTreeMap::new(), 0);
        for ledger in driver.ledgers() {
            prop_assert_eq!(ledger.window_end, ledger.window_start + SIZE);
            late += ledger.late;
            if ledger.held > 0 {
                *held.entry(ledger.window_start).or_insert(0) += ledger.held;
            }
        }
        prop_assert_eq!(held, want.held);
        let times: u32 = want.late.values().sum();
        prop_assert_eq!(late, if hold { 0 } else { i64::from(times) });
        let verdicts = driver.verdicts().iter().filter_map(|(at, verdict)| match verdict {
            Verdict::Late { window, windows, .. } => Some((*at, *windows, *window)),
            _ => None,
        });
        let mut got = BTreeMap::new();
        for ((partition, offset), windows, window) in verdicts {
            let flow = flows.iter().filter(|(of, _)| *of == partition).nth(offset as usize).unwrap();
            prop_assert_eq!(window.start, starts(flow.1.at)[0], "late for the earliest windows first");
            got.insert((partition, offset), windows);
        }
        prop_assert_eq!(got, want.late);
    }
}

#[test]
fn a_record_is_late_for_some_of_its_windows() {
    let job = hopping(LatePolicy::Hold);
    // In windows that end at 80, 100 and 120 minutes past; the first is over with its grace at 90.
    let flows = [(0, BASE + 90 * MINUTE), (0, BASE + 65 * MINUTE), (0, BASE + 90 * MINUTE)];
    let flows = flows.map(|(partition, at)| (partition, Flow { at, app: 1, bytes: 1 }));
    let mut driver = load(&job, &flows);
    finish(&mut driver, BASE + 24 * HOUR_MS);
    let Verdict::Late { window, windows, watermark } = driver.verdicts()[&(0, 1)] else { panic!("it is on time") };
    assert_eq!((window.start, windows, watermark), (starts(flows[1].1.at)[0], 1, BASE + 90 * MINUTE));
    assert_eq!(driver.rows(), &reference(&job, &flows).rows);
}
