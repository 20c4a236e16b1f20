//! Tags, 304 and what may be kept.

use tidemark_schemas::engine::Ledger;

use crate::support::*;

const HOUR: i64 = NOW_HOUR - 3;

fn uri() -> String {
    format!("/v1/flows?hour={HOUR}")
}

async fn closed() -> Fixture {
    let f = Fixture::new().await;
    f.hour(HOUR, &[key("a", "d", "v"), key("b", "d", "v")]).await;
    f.watermark(Some(closes(HOUR)), 1).await;
    f
}

#[tokio::test]
async fn an_unchanged_hour_is_not_sent_again() {
    let f = closed().await;
    let first = f.get(&uri()).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = f.ask(&uri(), &[("if-none-match", &known)]).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
        assert_eq!(again.header("etag"), tag);
        assert_eq!(again.header("cache-control"), "no-cache");
        assert_eq!(again.header("tidemark-state"), "final");
    }
    assert_eq!(f.ask(&uri(), &[("if-none-match", "\"other\"")]).await.text, first.text);
}

#[tokio::test]
async fn progress_does_not_change_a_closed_hour_and_does_change_an_open_one() {
    let f = closed().await;
    let open_uri = format!("/v1/flows?hour={NOW_HOUR}");
    let (closed, open) = (f.get(&uri()).await, f.get(&open_uri).await);
    f.watermark(Some(closes(HOUR) + 5), 2).await;
    let again = f.get(&uri()).await;
    assert_eq!((again.header("etag"), &again.text), (closed.header("etag"), &closed.text));
    assert_ne!(f.get(&open_uri).await.header("etag"), open.header("etag"));
}

#[tokio::test]
async fn every_change_of_the_ledger_or_state_changes_the_tag() {
    let f = closed().await;
    let mut tags = vec![f.get(&uri()).await.header("etag").to_owned()];
    let m = i32::from(b'a') % M;
    f.ledger(ledger(HOUR, m, 6)).await;
    tags.push(f.get(&uri()).await.header("etag").to_owned());
    f.ledger(Ledger { amended: true, ..ledger(HOUR, m, 7) }).await;
    tags.push(f.get(&uri()).await.header("etag").to_owned());
    tags.push(f.get(&format!("{}&format=csv", uri())).await.header("etag").to_owned());
    tags.push(f.get(&format!("{}&limit=1", uri())).await.header("etag").to_owned());
    tags.push(f.get(&format!("{}&src_app=a", uri())).await.header("etag").to_owned());
    let distinct: std::collections::BTreeSet<_> = tags.iter().collect();
    assert_eq!(distinct.len(), tags.len(), "{tags:?}");
}

#[tokio::test]
async fn an_hour_that_becomes_final_gets_another_tag() {
    let f = Fixture::new().await;
    f.hour(HOUR, &[key("a", "d", "v")]).await;
    f.watermark(Some(closes(HOUR) - 1), 1).await;
    let open = f.get(&uri()).await;
    assert_eq!((open.header("tidemark-state"), open.header("cache-control")), ("open", "no-cache"));
    f.watermark(Some(closes(HOUR)), 2).await;
    assert_eq!(f.ask(&uri(), &[("if-none-match", open.header("etag"))]).await.json()["completeness"]["state"], "final");
}

#[tokio::test]
async fn a_sealed_hour_may_be_kept_until_its_rows_expire() {
    let f = closed().await;
    for m in 0..M {
        f.ledger(Ledger { sealed: true, ..ledger(HOUR, m, 9) }).await;
    }
    assert_eq!(f.get(&uri()).await.header("cache-control"), "max-age=60");
    let expires = HOUR * HOUR_MS + f.spec.retention_ms;
    f.now.store(expires - 40_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(f.get(&uri()).await.header("cache-control"), "max-age=40");
}

#[tokio::test]
async fn the_second_answer_comes_from_the_cache() {
    let f = closed().await;
    let first = f.get(&uri()).await;
    let second = f.get(&uri()).await;
    assert_eq!(first.text, second.text);
    let metrics = f.get("/metrics").await.text;
    assert!(metrics.contains("tidemark_http_cache_hits_total 1\n"), "{metrics}");
    assert!(metrics.contains("tidemark_http_cache_misses_total 1\n"), "{metrics}");
}
