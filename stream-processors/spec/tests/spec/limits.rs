//! What is kept for how long, how large things may be, and what is refused beyond.

use crate::support::{event_job, refused};
use tidemark_core::Job;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A row that can still change must not expire: it is written when its window begins, `max_future` before that at the earliest.
#[test]
fn rows_outlive_their_windows() {
    let file = |window: &str, retention: &str| {
        let source = "source: {topics: events, time: at, grace: 2s, idle_after: 3s, max_future: 4s}";
        format!("{source}\nwindow: {window}\nlate: amend for 1s\nview: {{retention: {retention}}}\n")
    };
    for (window, least, less) in [
        ("{tumbling: 30d}", "30d10s", "30d9s999ms"),
        ("{hopping: 2h, every: 1h}", "2h10s", "2h9s999ms"),
        ("{session: 30m}", "1h30m10s", "1h30m9s999ms"),
        ("{tumbling: 1s}", "11s", "10s999ms"),
    ] {
        let said = refused(&file(window, "8s"));
        assert!(said.contains("job.yaml:9:19:") || said.contains("job.yaml:7:19:"), "{said}");
        assert!(said.contains("rows are kept for 8s") && said.contains(&format!("make it {least} or more")), "{said}");
        assert!(event_job(&file(window, least)).is_ok(), "{window} {least}");
        assert!(refused(&file(window, less)).contains(&format!("rows are kept for {less}")), "{window} {less}");
    }
}

#[test]
fn rows_are_kept_long_enough_unless_something_is_said() {
    let kept = |more: &str| {
        let job = event_job(more).unwrap_or_else(|problems| panic!("{problems}"));
        let of_rows = job.columns().view.retention_ms;
        assert_eq!(of_rows, job.spec().retention_ms);
        of_rows
    };
    const WAITS: i64 = 20 * 60_000 + 30_000;
    assert_eq!(kept(""), 7 * DAY);
    assert_eq!(kept("window: {tumbling: 30d}\n"), 31 * DAY + WAITS);
    assert_eq!(kept("late: amend for 70d\n"), 70 * DAY + HOUR + WAITS);
    assert_eq!(kept("late: hold\n"), 7 * DAY);
}

/// What the store of views would refuse, when the job runs already, is refused here.
#[test]
fn what_no_view_can_be_is_refused() {
    let columns: String = (0..62).map(|n| format!("  a{n}: count()\n")).collect();
    assert!(event_job(&format!("aggregate:\n{columns}")).is_ok(), "with `k` and `records` it is 64 columns");
    let said = refused(&format!("aggregate:\n{columns}  one: count()\n"));
    assert!(said.contains("job.yaml:7:3: ") && said.contains("more than 64 columns"), "{said}");
    for (more, place, what) in [
        (
            "view: {retention: 100ms}\nlate: amend for 0s\nwindow: {tumbling: 1ms}\nsource: {topics: events, time: at, grace: 0s, idle_after: 1ms, max_future: 0s}\n",
            "job.yaml:4:19: ",
            "retention is 100 ms; choose 1,000 to",
        ),
        ("late: amend for 7300d\n", "", "retention is"),
        ("version: 2147483648\n", "job.yaml:7:10: ", "`version` is a whole number from 1 to 2147483647"),
        ("window: {tumbling: 7301d}\n", "job.yaml:6:20: ", "`window.tumbling` is 7301d; the longest time is 7300d"),
        (
            "source: {topics: events, time: at, max_future: 106751991167d}\n",
            "job.yaml:6:48: ",
            "the longest time is 7300d",
        ),
        (
            "source: {topics: events, time: at, idle_after: 0s}\n",
            "job.yaml:6:48: ",
            "`source.idle_after` must be at least 1 ms",
        ),
        (
            "source: {topics: events, time: at, dedupe: {by: id, for: 0s}}\n",
            "job.yaml:6:58: ",
            "`source.dedupe.for` must be at least 1 ms",
        ),
    ] {
        let said = refused(more);
        assert!(said.contains(place) && said.contains(what), "{more}: {place}{what}\n{said}");
    }
    for (aggregate, what) in [
        (
            "sum(nest.x)",
            "job.yaml:6:24: `nest`: a record that may be null has fields that cannot be used in expressions",
        ),
        ("sum(money)", "`money`: a decimal with digits after the point is not computed exactly yet and cannot be used"),
        ("max(timestamp('1700000000'))", "`1700000000` is not RFC 3339"),
        ("max(timestamp('-5'))", "`-5` is not RFC 3339"),
    ] {
        let said = refused(&format!("aggregate: {{a: {aggregate}}}\n"));
        assert!(said.contains(what), "{aggregate}: {what}\n{said}");
    }
    let long = "job: a234567890123456789012345678901b\nversion: 2147483647\n";
    let text = format!(
        "{long}source: {{topics: events, time: at}}\nwindow: {{tumbling: 1h}}\nlate: hold\naggregate: {{c: count()}}\n"
    );
    let schemas = crate::support::Schemas([("events", crate::support::EVENT)].into());
    let said = tidemark_spec::compile("job.yaml", &text, &schemas).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("job.yaml:1:6: ") && said.contains("at most 39 bytes"), "{said}");
}
