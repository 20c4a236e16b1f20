//! Jobs that read views: each row counts once, as it was said last.

use crate::support::{DAILY, job};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tidemark_core::Job;
use tidemark_spec::datum::Maker;
use tidemark_spec::replay::{Sample, arrivals, check};
use tidemark_spec::trial::{Counts, State, Trial};
use tidemark_spec::view::completed;

const HOUR: i64 = 3_600_000;
/// 2026-01-01T00:00:00Z.
const DAY: i64 = 1_767_225_600_000;

const PEAKS: &str = "
job: access.peaks
source: {views: access.hourly}
where: requests >= 10
let:
  share: 1000 / (requests - 9)
key: [class]
window: {tumbling: 1d}
late: amend for 7d
aggregate:
  hours: count()
  requests: sum(requests)
  shares: sum(share)
";

fn rows(trial: &Trial<tidemark_spec::SpecJob>) -> Vec<(String, i64, i64)> {
    let number = |row: &tidemark_spec::trial::Shown, name: &str| row.get(name).and_then(Json::as_i64).unwrap();
    let rows = trial.rows();
    rows.iter()
        .map(|(_, row)| {
            assert_eq!(row.get("records"), row.get("hours"), "a row's records are the rows of the view that count");
            (row.get("class").and_then(Json::as_str).unwrap().to_owned(), number(row, "hours"), number(row, "requests"))
        })
        .collect()
}

fn row(class: &str, hour: i64, requests: i64) -> Json {
    json!({"class": class, "window_start": DAY + hour * HOUR, "requests": requests})
}

/// A row that `where` no longer takes is given up, without a look at what the rest of the job would make of it.
#[test]
fn where_on_values_takes_back_what_it_no_longer_takes() {
    let mut trial = Trial::new(job(PEAKS).unwrap(), 1).unwrap();
    trial.push(0, &row("2xx", 1, 12), None).unwrap();
    trial.push(0, &row("2xx", 2, 20), None).unwrap();
    assert_eq!(rows(&trial), [("2xx".to_owned(), 2, 32)]);
    // `share` divides by zero here, and nobody asks for it.
    trial.push(0, &row("2xx", 2, 9), None).unwrap();
    assert_eq!(rows(&trial), [("2xx".to_owned(), 1, 12)]);
    trial.push(0, &row("2xx", 1, 3), None).unwrap();
    assert_eq!(rows(&trial), [], "of no row there is none");
    trial.push(0, &row("2xx", 1, 10), None).unwrap();
    assert_eq!(rows(&trial), [("2xx".to_owned(), 1, 10)]);
    assert_eq!(trial.counts(), Counts { records: 5, ..Counts::default() }, "every revision is folded");
}

/// What `where` says of the key alone never changes: such rows are left out and take no room.
#[test]
fn where_on_keys_filters() {
    let text =
        PEAKS.replace("where: requests >= 10", "where: class != \"2xx\"").replace("1000 / (requests - 9)", "requests");
    let mut trial = Trial::new(job(&text).unwrap(), 1).unwrap();
    trial.push(0, &row("2xx", 1, 12), None).unwrap();
    trial.push(0, &row("5xx", 1, 1), None).unwrap();
    assert_eq!(rows(&trial), [("5xx".to_owned(), 1, 1)]);
    assert_eq!(trial.counts(), Counts { records: 2, filtered: 1, ..Counts::default() });
    // What was filtered has a time, and yet nothing but the view's own word moves the watermark.
    trial.push(0, &row("2xx", 80, 12), None).unwrap();
    assert_eq!(trial.state(DAY), Some(State::Open));
}

#[test]
fn sessions_that_were_joined_are_given_up() {
    let text = "
job: access.visits
source: {views: access.sessions, time: session_start}
window: {tumbling: 1h}
late: amend for 7d
aggregate:
  hours: count()
  requests: sum(requests)
key: [{class: client}]
";
    let mut trial = Trial::new(job(text).unwrap(), 1).unwrap();
    let session = |start: i64, records: i64| {
        let start = DAY + start * 60_000;
        json!({"client": "c", "session_start": start, "window_start": DAY, "session_end": start, "requests": records,
               "records": records})
    };
    trial.push(0, &session(0, 2), None).unwrap();
    trial.push(0, &session(40, 3), None).unwrap();
    assert_eq!(rows(&trial), [("c".to_owned(), 2, 5)]);
    trial.push(0, &session(40, 0), None).unwrap();
    trial.push(0, &session(0, 6), None).unwrap();
    assert_eq!(rows(&trial), [("c".to_owned(), 1, 6)]);
}

/// Rows of a later hour than the view is complete to do not make an earlier one late.
#[test]
fn a_view_says_itself_how_far_it_is() {
    let mut trial = Trial::new(job(DAILY).unwrap(), 1).unwrap();
    trial.push(0, &row("2xx", 23, 1), None).unwrap();
    trial.push(0, &row("2xx", 49, 1), None).unwrap();
    trial.push(0, &row("2xx", 22, 1), None).unwrap();
    assert_eq!((trial.state(DAY), trial.counts().late), (Some(State::Open), 0));
    trial.advance(10 * HOUR).unwrap();
    assert_eq!(trial.state(DAY), Some(State::Final));
    assert_eq!(trial.counts(), Counts { records: 3, ..Counts::default() }, "the view's word is no record of a test");
}

#[test]
fn a_version_reads_one_version() {
    let daily = job(DAILY).unwrap();
    let spec = daily.spec();
    assert_eq!(spec.sources, ["view.access.hourly.v1"]);
    assert_eq!(spec.grace_ms, 600_000, "that of the hours");
    let least = 24 * HOUR + 600_000 + 7 * 24 * HOUR + 30_000 + 600_000;
    assert_eq!(spec.retention_ms, least, "the day, grace, `late`, and idle_after and max_future of the hours");
    let pinned = job(&DAILY.replace("views: access.hourly", "views: access.hourly@1")).unwrap();
    assert_eq!(pinned.spec().fingerprint(), spec.fingerprint());
    let given = job(&DAILY.replace("views: access.hourly", "views: access.hourly\n  grace: 2h")).unwrap();
    assert_eq!(given.spec().grace_ms, 2 * HOUR);
    assert_ne!(given.spec().fingerprint(), spec.fingerprint());
}

#[test]
fn several_views_are_read_by_what_they_share() {
    let text =
        PEAKS.replace("views: access.hourly", "views: [access.hourly, access.sessions]").replace("key: [class]\n", "");
    let job_of_both = job(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let spec = job_of_both.spec();
    assert_eq!(spec.sources, ["view.access.hourly.v1", "view.access.sessions.v1"]);
    assert_eq!(spec.grace_ms, 40 * 60_000, "that of the slower: sessions go on for half an hour, and 10 minutes");
    assert_eq!(job_of_both.sources().len(), 4, "rows of both, ledgers and progress");
    let problems = job(&text.replace("hours: count()", "hours: distinct(class)")).unwrap_err().to_string();
    assert!(problems.contains("access.sessions has no such field"), "{problems}");
    // What is fixed in one of them only is not fixed.
    let problems = job(&text.replace("late:", "key: [n: requests]\nlate:")).unwrap_err().to_string();
    assert!(problems.contains("take what stays the same, tenant, window_start"), "{problems}");
}

/// What is changed, and what is said of it.
const CASES: &[(&str, &str, &str)] = &[
    (
        "views: access.hourly",
        "views: access.houry",
        "job.yaml:6:10: there is no view `access.houry`; did you mean `access.hourly`?",
    ),
    ("views: access.hourly", "views: access.hourly@3", "access.hourly has version 1 and no other"),
    (
        "views: access.hourly",
        "views: access.hourly@x",
        "names `access.hourly@x`, whose version is no number; write `access.hourly` for",
    ),
    ("views: access.hourly", "views: access.daily", "`access.daily` would read its own view"),
    ("views: access.hourly", "views: access.hourly\n  topics: logs.access", "`source` has both `topics` and `views`"),
    (
        "views: access.hourly",
        "topics: view.access.hourly.v1\n  time: at",
        "the rows of a view are read by `views: access.hourly@1`",
    ),
    ("views: access.hourly", "views: [access.hourly, access.hourly@1]", "`access.hourly` is read twice"),
    (
        "views: access.hourly",
        "views: access.hourly\n  idle_after: 1m",
        "`source.idle_after` is not of views: a view says by itself",
    ),
    ("views: access.hourly", "views: access.hourly\n  max_future: 1m", "`source.max_future` is not of views"),
    ("views: access.hourly", "views: access.hourly\n  dedupe: {by: class}", "`source.dedupe` is not of views"),
    (
        "views: access.hourly",
        "views: access.sessions\n  time: session_end",
        "`source.time` is `session_end`, which may change",
    ),
    (
        "key: [class]",
        "key: [ranked: ranked]",
        "the key `ranked` depends on `requests`, which may change from one revision",
    ),
    ("key: [class]", "key: [ranked: ranked]", "take what stays the same, tenant, class, window_start"),
    ("key: [class]", "key: [many: requests > 9]", "the key `many` depends on `requests`"),
    ("window: {tumbling: 1d}", "window: {session: 1d}", "rows of a view are not put into sessions"),
    ("requests * 24", "revision * 24", "`revision`"),
    (
        "late: amend for 7d",
        "late: amend for 7d\nview: {retention: 8d20m}",
        "rows are kept for 8d20m after their window is first written, and until 8d20m30s after that it can change",
    ),
    ("late: amend for 7d", "late: amend for 7d\nfreshness: 10m", "make `freshness` 10m30s or more"),
];

#[test]
fn what_would_count_twice_is_refused() {
    for (from, to, said) in CASES {
        let text = DAILY.replacen(from, to, 1);
        assert_ne!(text, DAILY, "{from}");
        let problems = job(&text).expect_err(to).to_string();
        assert!(problems.contains(said), "{to}: {said}\n{problems}");
    }
    // Columns that every row has can be keys: they are the same in all of its revisions.
    for key in ["hour: window_start", "hour: window_start.getHours()", "both: class + string(window_start)"] {
        let text = DAILY.replacen("key: [class]", &format!("key: [{key}]"), 1);
        job(&text).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// Rows with their revisions, dealt out at random: the day is the sum of what each hour came to last.
fn revisions() -> impl Strategy<Value = Vec<(u8, i64, i64, i64)>> {
    prop::collection::vec((0u8..3, 0i64..30, 0i64..4, 0i64..40), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn a_day_is_the_sum_of_its_latest_hours(all in revisions(), seed: u64) {
        // One content for each revision.
        let all: BTreeMap<(u8, i64, i64), i64> = all.into_iter().map(|(class, hour, at, n)| ((class, hour, at), n)).collect();
        let mut last: BTreeMap<(u8, i64), (i64, i64)> = BTreeMap::new();
        for ((class, hour, at), requests) in &all {
            let known = last.entry((*class, *hour)).or_default();
            *known = (*known).max((*at, *requests));
        }
        let mut wanted: BTreeMap<(i64, String), (i64, i64)> = BTreeMap::new();
        for ((class, hour), (_, requests)) in last.iter().filter(|(_, (_, requests))| *requests >= 10) {
            let day = wanted.entry((DAY + hour / 24 * 24 * HOUR, class.to_string())).or_default();
            *day = (day.0 + 1, day.1 + requests);
        }
        let peaks = job(PEAKS).unwrap();
        let mut trial = Trial::new(std::sync::Arc::clone(&peaks), 3).unwrap();
        let records: Vec<Json> = all.iter().map(|((class, hour, at), requests)| {
            let mut row = row(&class.to_string(), *hour, *requests);
            row["revision"] = json!(at);
            row
        }).collect();
        let mut dice = tidemark_spec::replay::Dice(seed);
        let mut shuffled = records.clone();
        (1..shuffled.len()).rev().for_each(|at| shuffled.swap(at, dice.below(at as u64 + 1) as usize));
        for record in &shuffled {
            trial.push(dice.below(3) as usize, record, None).unwrap();
            if dice.below(5) == 0 {
                trial.push(dice.below(3) as usize, record, None).unwrap();
            }
        }
        let got: BTreeMap<(i64, String), (i64, i64)> = trial.rows().iter().map(|(start, row)| {
            let number = |name: &str| row.get(name).and_then(Json::as_i64).unwrap();
            ((*start, row.get("class").and_then(Json::as_str).unwrap().to_owned()), (number("hours"), number("requests")))
        }).collect();
        prop_assert_eq!(&got, &wanted);

        // And so in any way that it may be read, crashes included.
        let maker = Maker::new(&peaks.sources()[0].avsc, &[]).unwrap();
        let data: Vec<Vec<u8>> = shuffled.iter().map(|record| maker.datum(&completed(record, 0)).unwrap()).collect();
        let sample = Sample { records: arrivals(peaks.as_ref(), data, 3), changes: vec![] };
        let checked = check(&peaks, &sample, 3, seed).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(checked.records, all.len());
    }
}
