//! Windows of any length: which are meant, how far one may ask, and when they end.

use serde_json::json;
use tidemark_views::{Kind, Value, ViewSpec, ViewStore, ViewVersion, Windowing};

use crate::support::*;
use crate::views_support::*;

const START: i64 = NOW_HOUR * HOUR_MS;
const HOPS: Windowing = Windowing::Hopping { size_ms: HOUR_MS, hop_ms: 15 * MINUTE_MS };

#[tokio::test]
async fn without_a_time_the_newest_window_with_rows_is_meant() {
    let v = version(1, HOPS);
    let f = access(&v).await;
    let current = f.get("/v1/views/access").await.json();
    assert_eq!(current["window"], json!({"start": "2026-11-21T03:15:00Z", "end": "2026-11-21T04:15:00Z"}));
    assert_eq!((&current["completeness"]["state"], &current["rows"]), (&json!("open"), &json!([])));
    // Far back, where only the whole ledger has it; then nearer, and one that has only late records.
    f.fill(&v, START - 90 * HOUR_MS, &[("old", 1)]).await;
    assert_eq!(f.get("/v1/views/access").await.json()["rows"][0]["ip"], "old");
    f.fill(&v, START - 15 * MINUTE_MS, &[("new", 1)]).await;
    f.known(&v, window(&v, START, 0, |l| (l.rows, l.records, l.held) = (0, 0, 3))).await;
    let newest = f.get("/v1/views/access").await.json();
    assert_eq!(newest["window"], json!({"start": "2026-11-21T02:45:00Z", "end": "2026-11-21T03:45:00Z"}));
    assert_eq!(newest["rows"][0]["ip"], "new");
}

#[tokio::test]
async fn a_window_is_named_by_its_start() {
    let v = version(1, HOPS);
    let f = access(&v).await;
    for (at, ip) in [(0, "a"), (1, "b"), (2, "c")] {
        f.fill(&v, START + at * 15 * MINUTE_MS, &[(ip, 1)]).await;
    }
    let ips = async |query: &str| {
        let rows = f.get(&format!("/v1/views/access?{query}")).await.json()["rows"].clone();
        rows.as_array().unwrap().iter().map(|r| r["ip"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(ips("window=2026-11-21T03:15:00Z").await, "b");
    assert_eq!(ips(&format!("window={}", START + 30 * MINUTE_MS)).await, "c");
    assert_eq!(ips(&format!("from={START}")).await, "ab", "up to the end of the current one");
    assert_eq!(ips(&format!("from={}&to={}", START + 1, START + 45 * MINUTE_MS)).await, "bc");
    for (bad, parameter, fix) in [
        ("window=2026-11-21T03:16:00Z", "window", "the one before it starts at 2026-11-21T03:15:00Z"),
        ("window=0&from=0", "window", "give one of them"),
        ("hour=7", "hour", "this path takes"),
        ("to=7", "from", "add `from`"),
        ("from=0&to=900000001", "to", ""),
        ("from=0", "to", "at most 2976 windows; ask in parts"),
        ("version=x", "version", "a version's number"),
    ] {
        let answer = f.get(&format!("/v1/views/access?{bad}")).await;
        if !fix.is_empty() {
            let problem = answer.problem(400);
            assert_eq!(problem["parameter"], parameter, "{problem}");
            assert!(problem["fix"].as_str().unwrap().contains(fix), "{bad}: {problem}");
        }
    }
}

#[tokio::test]
async fn hours_are_taken_by_number_where_windows_are_hours() {
    let v = version(1, HOURS);
    let f = access(&v).await;
    f.fill(&v, START, &[("a", 1)]).await;
    let by_hour = f.get(&format!("/v1/views/access?hour={NOW_HOUR}")).await.json();
    assert_eq!(by_hour["rows"], f.get(&format!("/v1/views/access?window={START}")).await.json()["rows"]);
    assert_eq!(by_hour["rows"].as_array().unwrap().len(), 1);
    let problem = f.get(&format!("/v1/views/access?hour={NOW_HOUR}&window={START}")).await.problem(400);
    assert_eq!(problem["fix"], "give one of them");
}

#[tokio::test]
async fn a_range_says_the_state_of_each_window_that_has_records() {
    let v = version(1, HOPS);
    let f = access(&v).await;
    f.fill(&v, START - HOUR_MS, &[("a", 1)]).await;
    f.fill(&v, START, &[("b", 1), ("c", 1)]).await;
    f.reached(&v, START + GRACE_MS, 1).await;
    let answer = f.get(&format!("/v1/views/access?from={}", START - 2 * HOUR_MS)).await.json();
    let states: Vec<_> = answer["completeness"]["windows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| {
            (
                w["start"].as_str().unwrap(),
                w["end"].as_str().unwrap(),
                w["state"].as_str().unwrap(),
                w["records"].as_i64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("2026-11-21T02:00:00Z", "2026-11-21T03:00:00Z", "final", 1),
        ("2026-11-21T03:00:00Z", "2026-11-21T04:00:00Z", "open", 2),
    ];
    assert_eq!(states, expected);
    assert_eq!(answer["completeness"]["state"], "open", "the least of all");
    assert!(answer["completeness"]["hours"].is_null());
    assert_eq!(answer["window"], json!({"start": "2026-11-21T01:00:00Z", "end": "2026-11-21T04:15:00Z"}));
}

/// Sessions by hour of their start, with their own ends as columns.
fn sessions() -> ViewVersion {
    let v = version(1, Windowing::Session { gap_ms: 30 * MINUTE_MS, bucket_ms: HOUR_MS });
    let table = ViewSpec {
        clustering: columns(&[("ip", Kind::Text), ("session_start", Kind::Time)]),
        values: columns(&[("session_end", Kind::Time), ("records", Kind::Long)]),
        ..v.table
    };
    ViewVersion { table, ..v }
}

#[tokio::test]
async fn a_session_ends_when_its_ledger_says_so() {
    let v = sessions();
    let f = access(&v).await;
    let uri = format!("/v1/views/access?window={START}");
    let later = START + 2 * HOUR_MS;
    f.known(&v, window(&v, START, 0, |l| l.window_end = later)).await;
    f.known(&v, window(&v, START, 1, |l| l.window_end = START + 40 * MINUTE_MS)).await;
    f.reached(&v, later + GRACE_MS - 1, 1).await;
    let open = f.get(&uri).await.json();
    assert_eq!(
        (&open["completeness"]["state"], &open["window"]["end"]),
        (&json!("open"), &json!("2026-11-21T05:00:00Z"))
    );
    f.reached(&v, later + GRACE_MS, 2).await;
    assert_eq!(f.get(&uri).await.json()["completeness"]["state"], "final");
    // Its ledger in one partition ends before the bucket: another session may still begin in it.
    let next = START + HOUR_MS;
    f.known(&v, window(&v, next, 0, |l| l.window_end = next + 40 * MINUTE_MS)).await;
    for (watermark, revision, state) in
        [(next + HOUR_MS + GRACE_MS - 1, 3, "open"), (next + HOUR_MS + GRACE_MS, 4, "final")]
    {
        f.reached(&v, watermark, revision).await;
        let windows = f.get("/v1/views/access/windows").await.json()["windows"].clone();
        assert_eq!((&windows[0]["state"], &windows[0]["end"]), (&json!(state), &json!("2026-11-21T05:00:00Z")));
    }
}

#[tokio::test]
async fn rows_of_no_records_have_been_retracted_and_are_not_shown() {
    let v = sessions();
    let f = access(&v).await;
    let session = |ip: &str, at: i64, records: i64| {
        let key = vec![Value::Text(ip.into()), Value::Time(START + at)];
        view_row(START, 0, key, vec![Value::Time(START + at + 5), Value::Long(records)], 5)
    };
    // Two of each three became one with the first.
    let rows: Vec<_> = (0..30).map(|at| session("a", at, i64::from(at % 3 == 0))).collect();
    f.views.put_rows(&v.table, &rows).await.unwrap();
    f.known(&v, window(&v, START, 0, |l| (l.rows, l.records) = (10, 10))).await;
    let (mut starts, mut uri) = (vec![], "/v1/views/access?ip=a&limit=3".to_owned());
    loop {
        let page = f.get(&uri).await.json();
        starts.extend(page["rows"].as_array().unwrap().iter().map(|r| r["session_start"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => uri = format!("/v1/views/access?ip=a&limit=3&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..30).step_by(3).map(|at| tidemark_query_api::instant::rfc3339(START + at)).collect();
    assert_eq!(starts, expected);
    let csv = f.get("/v1/views/access?format=csv").await.text;
    assert_eq!((csv.lines().count(), csv.lines().next()), (11, Some("ip,session_start,session_end,records")));
    let first = json!({
        "ip": "a", "session_start": "2026-11-21T03:00:00Z", "session_end": "2026-11-21T03:00:00.005Z", "records": 1,
    });
    assert_eq!(f.get("/v1/views/access?limit=1").await.json()["rows"][0], first, "its window is its own");
}

#[tokio::test]
async fn windows_are_listed_newest_first_in_pages() {
    let v = version(1, HOPS);
    let f = access(&v).await;
    for at in 0..5 {
        f.fill(&v, START - at * 15 * MINUTE_MS, &[("a", 1), ("b", 2)]).await;
    }
    f.reached(&v, START + GRACE_MS, 1).await;
    let (mut seen, mut uri) = (vec![], "/v1/views/access/windows?limit=2".to_owned());
    loop {
        let page = f.get(&uri).await.json();
        for w in page["windows"].as_array().unwrap() {
            assert_eq!((w["rows"].as_i64(), w["records"].as_i64()), (Some(2), Some(2)));
            seen.push((w["start"].as_str().unwrap().to_owned(), w["state"].as_str().unwrap().to_owned()));
        }
        match page["next"].as_str() {
            Some(next) => uri = format!("/v1/views/access/windows?limit=2&cursor={next}"),
            None => break,
        }
    }
    let expected = [("03:00", "open"), ("02:45", "open"), ("02:30", "open"), ("02:15", "open"), ("02:00", "final")];
    assert_eq!(seen, expected.map(|(at, state)| (format!("2026-11-21T{at}:00Z"), state.to_owned())));
    let one = f.get(&format!("/v1/views/access/windows?from={START}&to={}", START + 1)).await.json();
    assert_eq!(one["windows"].as_array().unwrap().len(), 1);
    f.get("/v1/views/access/windows?limit=745").await.problem(400);
}
