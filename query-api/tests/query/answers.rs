//! What answers say.

use tidemark_schemas::engine::Ledger;
use tidemark_views::ViewStore;

use crate::support::*;

const WIDE: i128 = i64::MAX as i128 * 4 + 3;

#[tokio::test]
async fn an_hour_in_json() {
    let f = Fixture::new().await;
    f.row(NOW_HOUR, 0, &key("b", "d", "v"), WIDE, 2, 3, 9).await;
    f.row(NOW_HOUR, 1, &key("a", "d", "v"), 10, 20, 30, 8).await;
    let first = Ledger {
        records: 3,
        late: 1,
        held: 2,
        sources: vec![source_range(1, 4, 9), source_range(0, 7, 8)],
        ..ledger(NOW_HOUR, 0, 9)
    };
    let second = Ledger { records: 30, sealed_out: 5, sources: vec![source_range(1, 2, 5)], ..ledger(NOW_HOUR, 1, 8) };
    f.ledger(first).await;
    f.ledger(second).await;
    f.watermark(Some(NOW_HOUR * HOUR_MS + 500), 9).await;

    let answer = f.get("/v1/flows").await;
    assert!(answer.text.contains(&format!("\"bytes_rx\":{WIDE},")), "exact beyond 64 bits: {}", answer.text);
    let expected = format!(
        concat!(
            r#"{{"window":{{"start":"2026-11-21T03:00:00Z","end":"2026-11-21T04:00:00Z","hour":498675}},"#,
            r#""completeness":{{"state":"open","watermark":"2026-11-21T03:00:00.5Z","as_of":"2026-11-21T03:00:00Z","#,
            r#""records":33,"late":8,"late_folded":1,"late_held":2,"sealed_out":5,"rows":2,"#,
            r#""expires_at":"2026-11-28T03:00:00Z","sources":["#,
            r#"{{"topic":"flows.observed","partition":0,"first_offset":7,"last_offset":8}},"#,
            r#"{{"topic":"flows.observed","partition":1,"first_offset":2,"last_offset":9}}]}},"#,
            r#""flows":[{{"src_app":"a","dest_app":"d","vpc_id":"v","hour":498675,"bytes_rx":10,"bytes_tx":20,"records":30}},"#,
            r#"{{"src_app":"b","dest_app":"d","vpc_id":"v","hour":498675,"bytes_rx":{},"bytes_tx":2,"records":3}}],"#,
            r#""next":null}}"#
        ),
        WIDE
    );
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn an_hour_in_csv() {
    let f = Fixture::new().await;
    f.row(NOW_HOUR, 2, &key("b", "d,e", "v\"w"), WIDE, 2, 3, 9).await;
    f.row(NOW_HOUR, 1, &key("é", "d", "v"), 10, 20, 30, 8).await;
    f.row(NOW_HOUR, 1, &key("a", "d", "v"), 1, 2, 3, 8).await;
    f.ledger(Ledger { records: 3, late: 1, ..ledger(NOW_HOUR, 2, 9) }).await;
    f.ledger(Ledger { records: 33, ..ledger(NOW_HOUR, 1, 8) }).await;
    f.watermark(Some(closes(NOW_HOUR)), 9).await;
    let expected = format!(
        "hour,src_app,dest_app,vpc_id,bytes_rx,bytes_tx,records\n\
         498675,a,d,v,1,2,3\n498675,b,\"d,e\",\"v\"\"w\",{WIDE},2,3\n498675,é,d,v,10,20,30\n"
    );
    let by_name = f.get("/v1/flows?hour=498675&format=csv").await;
    let by_accept = f.ask("/v1/flows?hour=498675", &[("accept", "text/csv")]).await;
    for answer in [&by_name, &by_accept] {
        assert_eq!(answer.text, expected);
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
        assert_eq!(answer.header("tidemark-state"), "final");
        assert_eq!(answer.header("tidemark-watermark"), "2026-11-21T04:10:00Z");
        assert_eq!((answer.header("tidemark-records"), answer.header("tidemark-late")), ("36", "1"));
        assert!(!answer.headers.contains_key("link"));
    }
}

#[tokio::test]
async fn an_hour_without_records_is_empty_and_says_its_state() {
    let f = Fixture::new().await;
    f.watermark(Some(closes(NOW_HOUR - 1)), 1).await;
    for (hour, state) in [(NOW_HOUR - 1, "final"), (NOW_HOUR, "open")] {
        let answer = f.get(&format!("/v1/flows?hour={hour}")).await.json();
        assert_eq!(answer["completeness"]["state"], state);
        assert_eq!(answer["completeness"]["records"], 0);
        assert_eq!(answer["flows"].as_array().unwrap().len(), 0);
        let csv = f.get(&format!("/v1/flows?hour={hour}&format=csv")).await;
        assert_eq!(csv.text, "hour,src_app,dest_app,vpc_id,bytes_rx,bytes_tx,records\n", "the header always");
    }
}

#[tokio::test]
async fn before_any_progress_everything_is_open() {
    let f = Fixture::new().await;
    let completeness = &f.get("/v1/flows?hour=1").await.json()["completeness"];
    assert_eq!(completeness["state"], "open");
    assert!(
        completeness["watermark"].is_null() && completeness["as_of"].is_null() && completeness["expires_at"].is_null()
    );
}

/// The same table as the unit tests of the decision, through store and answer.
#[tokio::test]
async fn states_come_from_watermarks_and_ledgers() {
    type Flags = (bool, bool); // amended, sealed
    let cases: [(&[Option<i64>], Flags, Flags, &str); 8] = [
        (&[Some(0), Some(0)], (false, false), (false, false), "open"),
        (&[Some(0), Some(0), None], (false, false), (false, false), "open"),
        (&[Some(0), Some(0), Some(-1)], (false, true), (false, true), "open"),
        (&[Some(0), Some(0), Some(0)], (false, false), (false, false), "final"),
        (&[Some(0), Some(0), Some(9)], (true, false), (false, false), "amended"),
        (&[Some(0), Some(0), Some(0)], (false, true), (false, false), "final"),
        // The third partition holds nothing of the hour yet: a new key could still open it there.
        (&[Some(0), Some(0), Some(0)], (false, true), (true, true), "amended"),
        (&[Some(0), Some(0), Some(0)], (false, true), (true, true), "sealed"),
    ];
    for (watermarks, one, two, expected) in cases {
        let f = Fixture::new().await;
        for (m, (amended, sealed)) in [(0, one), (1, two)] {
            f.ledger(Ledger { amended, sealed, ..ledger(NOW_HOUR - 3, m, 1) }).await;
        }
        if expected == "sealed" {
            f.ledger(Ledger { sealed: true, ..ledger(NOW_HOUR - 3, 2, 1) }).await;
        }
        for (m, offset) in watermarks.iter().enumerate() {
            let watermark = offset.map(|o| closes(NOW_HOUR - 3) + o);
            f.views.put_progress(&f.spec, &progress(m as i32, watermark, 1)).await.unwrap();
        }
        let answer = f.get(&format!("/v1/flows?hour={}", NOW_HOUR - 3)).await.json();
        assert_eq!(answer["completeness"]["state"], expected, "{watermarks:?} {one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_range_says_the_state_of_each_hour_and_the_least_of_all() {
    let f = Fixture::new().await;
    for hour in [NOW_HOUR - 2, NOW_HOUR] {
        f.hour(hour, &[key("a", "d", "v"), key("b", "d", "v")]).await;
    }
    f.watermark(Some(closes(NOW_HOUR - 1)), 1).await;
    let from = (NOW_HOUR - 2) * HOUR_MS;
    let answer = f.get(&format!("/v1/flows?from={from}&to=2026-11-21T03:00:00.001Z")).await.json();
    assert_eq!(answer["window"]["start"], "2026-11-21T01:00:00Z");
    assert_eq!(answer["window"]["end"], "2026-11-21T04:00:00Z");
    assert!(answer["window"]["hour"].is_null());
    assert_eq!(answer["completeness"]["state"], "open");
    let hours: Vec<_> = answer["completeness"]["hours"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| (h["hour"].as_i64().unwrap(), h["state"].as_str().unwrap(), h["records"].as_i64().unwrap()))
        .collect();
    assert_eq!(hours, [(NOW_HOUR - 2, "final", 2), (NOW_HOUR - 1, "final", 0), (NOW_HOUR, "open", 2)]);
    let rows: Vec<_> = answer["flows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["hour"].as_i64().unwrap(), r["src_app"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(NOW_HOUR - 2, "a"), (NOW_HOUR - 2, "b"), (NOW_HOUR, "a"), (NOW_HOUR, "b")]);
}

#[tokio::test]
async fn hours_are_listed_newest_first_with_totals() {
    let f = Fixture::new().await;
    for (hour, n) in [(NOW_HOUR - 4, 1), (NOW_HOUR - 2, 3), (NOW_HOUR, 2)] {
        let keys: Vec<_> = (0..n).map(|i| key(["a", "b", "c"][i], "d", "v")).collect();
        f.hour(hour, &keys).await;
    }
    f.watermark(Some(closes(NOW_HOUR - 2)), 1).await;
    let mut seen = vec![];
    let mut uri = "/v1/hours?limit=2".to_owned();
    loop {
        let page = f.get(&uri).await.json();
        for h in page["hours"].as_array().unwrap() {
            seen.push((
                h["hour"].as_i64().unwrap(),
                h["state"].as_str().unwrap().to_owned(),
                h["bytes_rx"].as_i64().unwrap(),
                h["bytes_tx"].as_i64().unwrap(),
            ));
        }
        match page["next"].as_str() {
            Some(next) => uri = format!("/v1/hours?limit=2&cursor={next}"),
            None => break,
        }
    }
    let expected = [(NOW_HOUR, "open", 20, 2), (NOW_HOUR - 2, "final", 30, 3), (NOW_HOUR - 4, "final", 10, 1)];
    assert_eq!(seen, expected.map(|(h, s, rx, tx)| (h, s.to_owned(), rx, tx)));

    // A total may lag by ten times what it took to sum, so it is asked for again until a deadline.
    let m = i32::from(b'a') % M;
    f.row(NOW_HOUR, m, &key("a", "d", "v"), 110, 5, 2, 6).await;
    f.ledger(Ledger { records: 2, ..ledger(NOW_HOUR, m, 6) }).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let hours = f.get(&format!("/v1/hours?from={}", NOW_HOUR * HOUR_MS)).await.json()["hours"].clone();
        assert_eq!((hours.as_array().unwrap().len(), &hours[0]["records"]), (1, &3.into()));
        if hours[0]["bytes_rx"] == 120 && hours[0]["bytes_tx"] == 6 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "totals follow the ledger: {hours}");
    }
}

#[tokio::test]
async fn top_groups_by_any_fields() {
    let f = Fixture::new().await;
    f.row(NOW_HOUR, 0, &key("a", "x", "v"), 1, 1, 1, 1).await;
    f.row(NOW_HOUR, 1, &key("a", "y", "w"), 10, 0, 2, 1).await;
    f.row(NOW_HOUR, 2, &key("b", "y", "v"), 5, 6, 3, 1).await;
    for m in 0..M {
        f.ledger(ledger(NOW_HOUR, m, 1)).await;
    }
    f.watermark(Some(0), 1).await;
    let all = f.get("/v1/top").await.json();
    assert_eq!(all["by"], serde_json::json!(["src_app"]));
    assert_eq!(
        all["top"],
        serde_json::json!([
            {"key": {"src_app": "a"}, "bytes_rx": 11, "bytes_tx": 1, "records": 3},
            {"key": {"src_app": "b"}, "bytes_rx": 5, "bytes_tx": 6, "records": 3},
        ])
    );
    assert_eq!(
        (&all["groups"], &all["total"]["bytes_rx"], &all["completeness"]["state"]),
        (&2.into(), &16.into(), &"open".into())
    );

    let two = f.get("/v1/top?by=vpc_id,dest_app&limit=1&src_app=a").await.json();
    assert_eq!(
        two["top"],
        serde_json::json!([{"key": {"vpc_id": "w", "dest_app": "y"}, "bytes_rx": 10, "bytes_tx": 0, "records": 2}])
    );
    assert_eq!((&two["groups"], &two["total"]["records"]), (&2.into(), &3.into()));
    for bad in ["by=hour", "by=src_app,src_app", "by=", "limit=1001"] {
        f.get(&format!("/v1/top?{bad}")).await.problem(400);
    }
}

#[tokio::test]
async fn progress_accounts_for_every_record() {
    let (f, hour) = (Fixture::new().await, NOW_HOUR - 1);
    f.ledger(Ledger { records: 85, sealed_out: 4, ..ledger(hour, 0, 1) }).await;
    f.watermark(Some(hour * HOUR_MS), 1).await;
    let p = f.get("/v1/progress").await.json();
    let stages = ["received", "accepted", "folded", "served", "late_folded"].map(|k| p[k].as_i64().unwrap());
    assert_eq!(stages, [100, 99, 85, 85, 4]);
    assert_eq!(
        p["dropped"],
        serde_json::json!({"dead_lettered": 1, "duplicates": 5, "filtered": 2, "held": 3, "sealed_out": 4})
    );
    assert_eq!(p["watermark_delay_ms"], 85 * 60_000);
    assert_eq!(p["holding"]["hour"], hour);
    assert_eq!(p["holding"]["topic"], "flows.observed");
    assert_eq!(p["holding"]["closes_at"], "2026-11-21T03:10:00Z");
    assert_eq!(p["merge_partitions"].as_array().unwrap().len(), M as usize);

    f.watermark(Some(closes(hour)), 2).await;
    assert!(f.get("/v1/progress").await.json()["holding"].is_null(), "nothing is open any more");
}
