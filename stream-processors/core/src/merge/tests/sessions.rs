//! Session windows in the second fold alone: what is joined, what is retracted, what the ledgers say of it, and that all of
//! it comes back.

use super::*;
use crate::session::{Extent, put_row_key, split_row_key};
use crate::window::{SESSION_BUCKET_MS as HOUR, session_bucket};

const MINUTE: i64 = 60_000;
const GAP: i64 = 30 * MINUTE;
const AMEND: i64 = 3 * HOUR;

fn session_spec() -> JobSpec {
    JobSpec { window: Windowing::Session { gap_ms: GAP }, amend_for_ms: AMEND, ..spec() }
}

impl Model {
    /// A session of `records` at its ends, `late` of them late.
    fn session(&mut self, key: u8, minutes: (i64, i64), records: i64, late: i64) -> i64 {
        let (start, last) = (minutes.0 * MINUTE, minutes.1 * MINUTE);
        let (mut row_key, mut accumulator) = (Vec::new(), Vec::new());
        put_row_key(start, &[key], &mut row_key);
        Extent { last, late }.put(&mut accumulator);
        Sum(records).put(&mut accumulator);
        let rows = vec![PartialRow { key: &row_key, records, accumulator: &accumulator }];
        self.fold_rows(session_bucket(start).start, rows)
    }

    /// Live rows: minutes of bucket, start and last; key, records, late.
    fn live(&self) -> Vec<(i64, i64, i64, u8, i64, i64)> {
        let rows = contents(&self.fold).3.into_iter().filter(|row| row.2 != 0);
        let rows = rows.map(|(bucket, row_key, records, sum, _, (last, late))| {
            assert_eq!(records, sum);
            let (start, key) = split_row_key(&row_key).unwrap();
            (bucket / MINUTE, start / MINUTE, last / MINUTE, key[0], records, late)
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }

    fn ledger(&self, hour: i64) -> &Ledger {
        &self.fold.open[&(hour * HOUR)].ledger
    }
}

#[test]
fn a_session_between_two_joins_them_under_the_bucket_of_the_first() {
    let mut model = Model::of(session_spec());
    model.session(1, (50, 55), 2, 0);
    model.session(1, (100, 110), 3, 1);
    model.session(2, (70, 70), 1, 0);
    assert_eq!(model.live(), [(0, 50, 55, 1, 2, 0), (60, 70, 70, 2, 1, 0), (60, 100, 110, 1, 3, 1)]);
    assert_eq!((model.ledger(0).window_end, model.ledger(1).window_end), (85 * MINUTE, 140 * MINUTE));
    model.commit(false);
    // 84 is closer than the gap to 55, and 81 to 110: all of it is one.
    model.session(1, (81, 84), 4, 0);
    assert_eq!(model.live(), [(0, 50, 110, 1, 9, 1), (60, 70, 70, 2, 1, 0)]);
    let figures = |ledger: &Ledger| (ledger.rows, ledger.records, ledger.late, ledger.window_end / MINUTE);
    assert_eq!((figures(model.ledger(0)), figures(model.ledger(1))), ((1, 9, 1, 140), (1, 1, 0, 140)));
    let sources = &model.ledger(0).sources;
    assert_eq!((sources[0].first_offset, sources[0].last_offset), (0, 3), "of what was moved, too");
    // The row that was replaced is written as one without records, and comes alive again where a session begins there.
    let touched: Vec<_> = model.fold.touched_rows().map(|row| (row.window_start / HOUR, row.cell.records)).collect();
    assert_eq!(touched, [(0, 9), (1, 0)]);
    model.commit(false);
    model.session(1, (170, 170), 1, 0);
    assert_eq!(model.live().len(), 3);
    assert_eq!(contents(&model.restored(false, true)).3, contents(&model.fold).3[..3]);
}

#[test]
fn exactly_a_gap_apart_is_apart() {
    let mut model = Model::of(session_spec());
    model.session(1, (10, 20), 1, 0);
    model.session(1, (50, 50), 1, 0);
    assert_eq!(model.live().len(), 2);
    model.session(1, (49, 49), 1, 0);
    assert_eq!(model.live(), [(0, 10, 50, 1, 3, 0)]);
}

#[test]
fn a_bucket_is_final_when_its_last_session_is_over() {
    let mut model = Model::of(session_spec());
    model.session(1, (50, 55), 1, 0);
    let closed = |model: &Model| model.ledger(0).closed_at.is_some();
    model.marker(85 * MINUTE - 1);
    assert!(!closed(&model));
    // One that goes on holds only the bucket that it began in.
    model.session(2, (59, 59), 1, 0);
    for minute in (80..400).step_by(20) {
        model.session(2, (minute, minute), 1, 0);
    }
    model.session(1, (100, 100), 1, 0);
    model.marker(200 * MINUTE);
    assert_eq!((closed(&model), model.ledger(1).closed_at.is_some()), (false, true));
    model.marker(410 * MINUTE - 1);
    assert!(!closed(&model));
    model.marker(410 * MINUTE);
    assert_eq!((closed(&model), model.ledger(0).amended), (true, false));
}

#[test]
fn what_prolongs_a_final_session_amends_it_and_opens_it_again() {
    let mut model = Model::of(session_spec());
    model.session(1, (5, 5), 1, 0);
    model.marker(60 * MINUTE);
    model.commit(false);
    assert!(model.ledger(0).closed_at.is_some());
    // Late, and what follows it is not.
    model.session(1, (20, 49), 2, 1);
    let ledger = model.ledger(0);
    assert_eq!((ledger.amended, ledger.closed_at, ledger.window_end), (true, None, 79 * MINUTE));
    model.marker(79 * MINUTE);
    assert!(model.ledger(0).amended && model.ledger(0).closed_at.is_some());
    // A bucket that was final without a single session is amended by its first.
    model.marker(300 * MINUTE);
    model.session(2, (130, 130), 1, 0);
    assert!(model.ledger(2).amended && model.ledger(2).closed_at.is_some());
}

#[test]
fn sealed_sessions_are_joined_with_nothing() {
    let mut model = Model::of(session_spec());
    model.session(1, (50, 59), 1, 0);
    model.session(1, (100, 100), 1, 0);
    model.marker(89 * MINUTE + AMEND);
    assert!(model.fold.sealed.contains_key(&0));
    // 59 and 70 are closer than the gap.
    assert_eq!(model.session(1, (70, 70), 1, 0), 0);
    assert_eq!(model.session(1, (58, 90), 5, 0), 5, "it belongs under the sealed bucket");
    assert_eq!(model.live(), [(60, 70, 70, 1, 1, 0), (60, 100, 100, 1, 1, 0)]);
    assert_eq!(model.fold.sealed[&0].sealed_out, 5);
    assert_eq!(model.session(1, (71, 71), 1, 0), 0);
    assert_eq!(model.live(), [(60, 70, 100, 1, 3, 0)]);
}

#[test]
fn rows_of_sessions_stay_in_memory() {
    let mut model = Model::of(session_spec());
    model.session(1, (50, 59), 1, 0);
    model.commit(true);
    while model.taking.is_some() {
        model.take_piece();
    }
    assert!(model.fold.unsaved().is_empty());
    assert!(!model.fold.cool(i64::MAX, 0) && !model.fold.is_cold(0));
    assert!(model.fold.cool(i64::MAX, 1_000));
}

#[test]
fn what_a_session_takes_in_memory_is_given_back() {
    let mut model = Model::of(session_spec());
    let empty = model.fold.bytes();
    for key in 0..100 {
        model.session(key, (i64::from(key), i64::from(key)), 1, 0);
    }
    model.commit(false);
    assert!(model.fold.bytes() > empty + 100 * 50);
    model.marker(1_000 * HOUR);
    (0..100).for_each(|_| model.commit(false));
    assert_eq!(model.fold.bytes(), empty);
}

/// A partial session, or one of the other steps.
#[derive(Debug, Clone)]
enum Step {
    Session(u8, i64, i64, i64),
    Other(Do),
}

fn session_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3u8, 0..300i64, 0..80i64, 0..3i64).prop_map(|(key, at, length, late)| Step::Session(key, at, at + length, late)),
        2 => (0..400i64).prop_map(|minute| Step::Other(Do::Marker(minute * MINUTE))),
        6 => any::<bool>().prop_map(|checkpoint| Step::Other(Do::Commit(checkpoint))),
    ];
    prop::collection::vec(step, 0..120)
}

/// What partials say that were not turned away, joined by sorting: key, start, last, records, late; all in minutes.
fn reference(mut sessions: Vec<(u8, i64, i64, i64, i64)>) -> Vec<(i64, i64, i64, u8, i64, i64)> {
    sessions.sort_unstable();
    let mut joined: Vec<(u8, i64, i64, i64, i64)> = Vec::new();
    for (key, start, last, records, late) in sessions {
        match joined.last_mut().filter(|before| before.0 == key && start - before.2 < GAP / MINUTE) {
            Some(before) => *before = (key, before.1, before.2.max(last), before.3 + records, before.4 + late),
            None => joined.push((key, start, last, records, late)),
        }
    }
    let bucket = |start: i64| start / 60 * 60;
    let mut rows: Vec<_> =
        joined.into_iter().map(|(key, start, last, n, late)| (bucket(start), start, last, key, n, late)).collect();
    rows.sort_unstable();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever the order of sessions, markers, commits and pieces of checkpoints: live rows are the sessions of what was not
    /// turned away, ledgers add up at each step, and from changelog or checkpoint comes the same state, which goes on alike.
    #[test]
    fn sessions_are_exact_and_come_back(steps in session_steps(), more in session_steps(), from_disk in any::<bool>()) {
        let mut model = Model::of(session_spec());
        let mut folded = Vec::new();
        let mut play = |model: &mut Model, steps: Vec<Step>| {
            for step in steps {
                match step {
                    Step::Session(key, start, last, late) => {
                        if model.session(key, (start, last), 3, late) == 0 {
                            folded.push((key, start, last, 3, late));
                        }
                    }
                    Step::Other(Do::Marker(watermark)) => model.marker(watermark),
                    Step::Other(Do::Commit(checkpoint)) => model.commit(checkpoint),
                    Step::Other(Do::Partial(..) | Do::Cool(_) | Do::Repair(..)) => {}
                }
                for state in model.fold.open.values() {
                    assert!(state.adds_up(), "{:?}", state.ledger);
                    let is_final = model.fold.watermark() >= Some(state.ledger.window_end);
                    assert_eq!(state.ledger.closed_at.is_some(), is_final, "{:?}", state.ledger);
                }
            }
        };
        play(&mut model, steps);
        model.commit(false);
        let whole = contents(&model.restored(false, true));
        prop_assert_eq!(&contents(&model.restored(true, from_disk)), &whole);
        prop_assert_eq!(&contents(&model.fold), &whole);
        model.fold = model.restored(from_disk, from_disk);
        model.taking = None;
        play(&mut model, more);
        if model.fold.sealed.is_empty() {
            prop_assert_eq!(model.live(), reference(folded));
        }
    }
}
