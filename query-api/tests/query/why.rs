//! What holds a window open, and when and by what it closed.

use serde_json::json;
use tidemark_views::Windowing;

use crate::support::*;
use crate::views_support::*;

const START: i64 = NOW_HOUR * HOUR_MS;
const QUARTERS: Windowing = Windowing::Tumbling { size_ms: 15 * MINUTE_MS };
/// The watermark at which the window at [`START`] closes.
const CLOSES: i64 = START + 15 * MINUTE_MS + GRACE_MS;

fn uri() -> String {
    format!("/v1/views/access/why?window={START}")
}

#[tokio::test]
async fn an_open_window_names_the_partition_offset_and_watermark_that_hold_it() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    let nobody = f.get(&uri()).await.json();
    assert!(nobody["why"].as_str().unwrap().contains("is the job running"), "{nobody}");
    f.known(&v, window(&v, START, 0, |l| (l.records, l.rows, l.sources) = (7, 2, vec![source_range(0, 3, 9)]))).await;
    f.sources(&v, &[(0, Some(CLOSES), None), (1, Some(CLOSES - 60_000), None), (2, Some(1), Some(CLOSES))], 1).await;
    let why = f.get(&uri()).await.json();
    assert_eq!((&why["view"], &why["version"], &why["state"]), (&json!("access"), &json!(1), &json!("open")));
    assert_eq!(why["window"], json!({"start": "2026-11-21T03:00:00Z", "end": "2026-11-21T03:15:00Z"}));
    assert_eq!((&why["closes_at"], &why["seals_at"]), (&json!("2026-11-21T03:25:00Z"), &json!("2026-11-22T03:25:00Z")));
    assert_eq!(
        why["held_by"],
        json!({
            "reason": "access.logged, partition 1, is the furthest behind, at 2026-11-21T03:24:00Z",
            "topic": "access.logged", "partition": 1, "next_offset": 1001, "watermark": "2026-11-21T03:24:00Z",
        })
    );
    let behind: Vec<_> = why["behind"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| {
            (b["partition"].as_i64().unwrap(), b["next_offset"].as_i64().unwrap(), b["behind_ms"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(behind, [(1, 1_001, 60_000), (2, 1_002, IDLE_AFTER_MS)], "the furthest behind first");
    assert_eq!(why["behind"][1]["idle_at"], "2026-11-21T03:25:00Z");
    assert_eq!((&why["records"], &why["rows"], &why["closed_at"]), (&json!(7), &json!(2), &json!(null)));
    assert_eq!(
        why["sources"],
        json!([{"topic": "flows.observed", "partition": 0, "first_offset": 3, "last_offset": 9}])
    );
    let words = why["why"].as_str().unwrap();
    for part in [
        "open",
        "2026-11-21T03:25:00Z",
        "access.logged, partition 1",
        "at 2026-11-21T03:24:00Z",
        "read up to offset 1001",
    ] {
        assert!(words.contains(part), "{part} in: {words}");
    }
}

#[tokio::test]
async fn a_closed_window_says_when_it_closed_and_by_what() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    f.known(&v, window(&v, START, 0, |l| l.closed_at = Some(CLOSES + 1_000))).await;
    f.known(
        &v,
        window(&v, START, 2, |l| (l.closed_at, l.late, l.held, l.sealed_out) = (Some(CLOSES + 4_000), 3, 2, 1)),
    )
    .await;
    f.reached(&v, CLOSES, 1).await;
    let closed = f.get(&uri()).await.json();
    assert_eq!(
        (&closed["state"], &closed["closed_at"], &closed["closed_by"]),
        (&json!("final"), &json!("2026-11-21T03:25:04Z"), &json!(2))
    );
    assert_eq!((&closed["held_by"], &closed["behind"]), (&json!(null), &json!([])));
    let late = ["late", "late_folded", "late_held", "sealed_out"].map(|name| closed[name].as_i64().unwrap());
    assert_eq!(late, [6, 3, 2, 1]);
    let words = closed["why"].as_str().unwrap();
    for part in [
        "closed at 2026-11-21T03:25:04Z",
        "merge partition 2",
        "sealed when they pass 2026-11-22T03:25:00Z",
        "3 were folded in, 2 held and 1 left out",
    ] {
        assert!(words.contains(part), "{part} in: {words}");
    }
    assert_eq!(closed["merge_partitions"][0]["closed_at"], "2026-11-21T03:25:01Z");

    f.known(&v, window(&v, START, 0, |l| (l.amended, l.revision) = (true, 6))).await;
    let amended = f.get(&uri()).await.json();
    assert_eq!(
        (&amended["state"], &amended["amended"], &amended["sealed"]),
        (&json!("amended"), &json!(true), &json!(false))
    );
    assert!(amended["why"].as_str().unwrap().contains("after that have been folded in"));

    for m in 0..M {
        f.known(&v, window(&v, START, m, |l| (l.sealed, l.revision) = (true, 7))).await;
    }
    f.reached(&v, CLOSES + AMEND_MS, 2).await;
    let sealed = f.get(&uri()).await.json();
    assert_eq!((&sealed["state"], &sealed["sealed"]), (&json!("sealed"), &json!(true)));
    assert!(sealed["why"].as_str().unwrap().starts_with("sealed: "));
    assert_eq!(sealed["recomputed_at"], json!(null));
    assert!(!sealed["why"].as_str().unwrap().contains("recomputed"));
}

#[tokio::test]
async fn a_window_of_long_ago_that_was_loaded_now_says_how_long_it_can_be_amended() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    f.known(&v, window(&v, START, 0, |l| (l.closed_at, l.opened_at) = (Some(CLOSES), CLOSES))).await;
    f.reached(&v, CLOSES + 9 * AMEND_MS, 1).await;
    let why = f.get(&uri()).await.json();
    assert_eq!((&why["state"], &why["amendable_until"]), (&json!("final"), &json!("2026-11-22T03:25:00Z")));
    let words = why["why"].as_str().unwrap();
    assert!(words.contains("it is sealed at 2026-11-22T03:25:00Z, the time it can be amended"), "{words}");
}

#[tokio::test]
async fn a_window_that_is_not_over_blames_no_partition() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    let next = START + 30 * MINUTE_MS;
    f.known(&v, window(&v, next, 0, |_| {})).await;
    f.sources(&v, &[(0, Some(START), None)], 1).await;
    let why = f.get(&format!("/v1/views/access/why?window={next}")).await.json();
    assert_eq!(why["held_by"]["reason"], "it is not over before 2026-11-21T03:45:00Z");
    assert_eq!((&why["held_by"]["topic"], &why["behind"]), (&json!(null), &json!([])));
}

#[tokio::test]
async fn a_window_without_records_is_explained_too() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    f.reached(&v, CLOSES, 1).await;
    let empty = f.get(&uri()).await.json();
    assert_eq!((&empty["state"], &empty["closed_at"], &empty["records"]), (&json!("final"), &json!(null), &json!(0)));
    assert!(empty["why"].as_str().unwrap().ends_with("No record of it has come"));
}

#[tokio::test]
async fn without_a_window_the_oldest_open_one_is_explained() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    for at in [-1, 0, 1] {
        f.known(&v, window(&v, START + at * 15 * MINUTE_MS, 0, |_| {})).await;
    }
    f.reached(&v, CLOSES - 1, 1).await;
    assert_eq!(f.get("/v1/views/access/why").await.json()["window"]["start"], "2026-11-21T03:00:00Z");
    f.reached(&v, CLOSES + HOUR_MS, 2).await;
    let newest = f.get("/v1/views/access/why").await.json();
    assert_eq!((&newest["window"]["start"], &newest["state"]), (&json!("2026-11-21T03:15:00Z"), &json!("final")));
    let problem = f.get("/v1/views/access/why?window=7").await.problem(400);
    assert_eq!(problem["parameter"], "window");
}

#[tokio::test]
async fn progress_of_a_view_accounts_for_every_record() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    f.known(&v, window(&v, START, 0, |l| (l.records, l.sealed_out) = (85, 4))).await;
    f.sources(&v, &[(0, Some(START), None)], 1).await;
    let p = f.get("/v1/views/access/progress").await.json();
    let stages = ["received", "accepted", "folded", "served", "late_folded"].map(|k| p[k].as_i64().unwrap());
    assert_eq!(stages, [100, 99, 85, 85, 4]);
    let holding = &p["holding"];
    assert_eq!(
        (&holding["start"], &holding["closes_at"]),
        (&json!("2026-11-21T03:00:00Z"), &json!("2026-11-21T03:25:00Z"))
    );
    assert!(holding.get("hour").is_none(), "windows are no hours here");
}

#[tokio::test]
async fn a_window_that_was_recomputed_says_so_and_whether_it_leaves_anything_out() {
    let v = version(1, QUARTERS);
    let f = access(&v).await;
    let at = CLOSES + AMEND_MS + 60_000;
    f.known(&v, window(&v, START, 0, |l| (l.sealed, l.late, l.sealed_out) = (true, 1, 2))).await;
    f.known(&v, window(&v, START, 1, |l| (l.sealed, l.epoch, l.updated_at, l.late) = (true, 2, at, 3))).await;
    f.reached(&v, CLOSES + AMEND_MS, 1).await;
    let why = f.get(&uri()).await.json();
    assert_eq!(why["recomputed_at"], "2026-11-22T03:26:00Z");
    let words = why["why"].as_str().unwrap();
    assert!(words.ends_with("recomputed from its records at 2026-11-22T03:26:00Z"), "{words}");
    let epochs: Vec<_> = why["merge_partitions"].as_array().unwrap().iter().map(|m| m["epoch"].as_i64()).collect();
    assert_eq!(epochs, [Some(0), Some(2)]);
    let recomputed = |l: &mut tidemark_schemas::engine::Ledger| {
        (l.sealed, l.epoch, l.updated_at, l.late) = (true, 2, at + 1_000, 3);
    };
    f.known(&v, window(&v, START, 0, recomputed)).await;
    let why = f.get(&uri()).await.json();
    let words = why["why"].as_str().unwrap();
    assert!(words.ends_with("at 2026-11-22T03:26:01Z, and no record that came is beside its rows"), "{words}");
    let listed = f.get("/v1/views/access/windows").await.json();
    assert_eq!(listed["windows"][0]["recomputed_at"], "2026-11-22T03:26:01Z");
}
