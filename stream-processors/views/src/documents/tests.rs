#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use super::*;
use crate::ViewStore;
use crate::local::LocalViews;

const FILE: &str = "ff45c1d7b9c0a1e2f3a4b5c6d7e8f90123456789abcdef0123456789abcdef01";

fn document() -> Document {
    Document {
        tenant: "default".into(),
        queue: "documents".into(),
        file_id: FILE.into(),
        task_id: "0190c1f0-0000-7000-8000-000000000000".into(),
        name: "bericht über ö.pdf".into(),
        media_type: "application/pdf".into(),
        bytes: 5,
        owner: "ann".into(),
        mail: String::new(),
        state: "ERROR".into(),
        uploaded_at: 1_700_000_000_001,
        changed_at: 1_700_000_000_002,
        queued_at: 1_700_000_000_003,
        leased_at: 1_700_000_000_004,
        worker: Some("w1".into()),
        token: 6,
        attempt: 7,
        step: None,
        error: Some("broken".into()),
        result: None,
        result_bytes: 8,
        duplicates: 9,
        infrastructure_failures: 10,
        seq: 11,
        revision: 12,
    }
}

fn line(seq: i64) -> TaskChanged {
    TaskChanged {
        tenant: "default".into(),
        event_id: "e".into(),
        file_id: FILE.into(),
        task_id: "t".into(),
        seq,
        at: 1_700_000_000_000 + seq,
        event: "ASSIGNED".into(),
        state: "PROCESSING".into(),
        message: "given to worker w1".into(),
        worker: Some("w1".into()),
        token: Some(2),
        attempt: Some(3),
        step: None,
        media_type: "text/plain".into(),
        bytes: 4,
        queued_ms: Some(5),
        worked_ms: None,
    }
}

fn run(place: i32) -> StepAttempted {
    StepAttempted {
        tenant: "other".into(),
        event_id: "e".into(),
        file_id: FILE.into(),
        task_id: "t".into(),
        token: 2,
        worker: "w1".into(),
        place,
        step: "D2".into(),
        attempt: 3,
        outcome: "KILLED".into(),
        message: Some("memory".into()),
        media_type: "text/plain".into(),
        at: 1_700_000_000_000,
        started_at: 1_699_999_999_000,
        wall_us: 4,
        cpu_us: 5,
        memory_bytes: 6,
    }
}

#[test]
fn every_table_can_be_made_and_every_record_comes_back() {
    for spec in [documents(), log(), steps()] {
        spec.check().unwrap();
    }
    assert_eq!(Document::record(document().row()), Some(document()));
    assert_eq!(TaskChanged::record(line(1).row()), Some(line(1)));
    assert_eq!(StepAttempted::record(run(1).row()), Some(run(1)));
    assert_eq!(Document::record(line(1).row()), None, "a row of another table is none");
    let cut = Row { values: document().row().values[1..].to_vec(), ..document().row() };
    assert_eq!(Document::record(cut), None);
}

#[test]
fn documents_are_spread_by_their_hash() {
    assert_eq!((bucket("00aa"), bucket("3faa"), bucket("40aa"), bucket("ff45")), (0, 63, 0, 63));
    assert_eq!((bucket(""), bucket("é"), bucket("zz")), (0, 0, 0));
}

#[tokio::test]
async fn a_store_gives_the_newest_document_and_every_line_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalViews::open(dir.path(), std::sync::Arc::new(|| 1_700_000_000_000)).unwrap();
    for spec in [documents(), log(), steps()] {
        store.create(&spec).await.unwrap();
    }
    let newer = Document { revision: 13, state: "DONE".into(), ..document() };
    store.put_rows(&documents(), &[newer.row(), document().row()]).await.unwrap();
    store.put_rows(&log(), &[line(10).row(), line(9).row(), line(2).row()]).await.unwrap();
    store.put_rows(&steps(), &[run(1).row(), run(0).row()]).await.unwrap();
    let rows = store.rows(&documents(), &of_file("default", FILE, None, 10)).await.unwrap();
    assert_eq!(rows.into_iter().map(Document::record).collect::<Vec<_>>(), [Some(newer)]);
    let after = Some(line(2).row().clustering);
    let rows = store.rows(&log(), &of_file("default", FILE, after, 10)).await.unwrap();
    assert_eq!(rows.into_iter().map(TaskChanged::record).collect::<Vec<_>>(), [Some(line(9)), Some(line(10))]);
    let rows = store.rows(&steps(), &of_file("other", FILE, None, 10)).await.unwrap();
    assert_eq!(rows.into_iter().map(StepAttempted::record).collect::<Vec<_>>(), [Some(run(0)), Some(run(1))]);
    assert!(store.rows(&steps(), &of_file("default", FILE, None, 10)).await.unwrap().is_empty(), "another tenant's");
}
