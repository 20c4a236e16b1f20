//! The dashboard in a real browser: headless Chromium from the system's packages (`apt-get install chromium`), or the program
//! that `CHROMIUM` names. Without one these tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_arguments,
    missing_docs,
    unreachable_pub
)]

mod chromium;
#[path = "../query/support.rs"]
#[allow(dead_code)]
mod support;
mod views;
#[path = "../query/views_support.rs"]
#[allow(dead_code)]
mod views_support;

use chromium::Browser;
use support::*;
use tidemark_query_api::{Parts, Status};
use tidemark_schemas::engine::Ledger;

/// Serves the fixture on a loopback port.
async fn serve(f: &Fixture) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = f.app();
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// A figure that no page shows by accident.
fn figure() -> i128 {
    let bits = uuid::Uuid::now_v7().as_u128();
    i128::from(1u64 << 60) + (bits % 1_000_000_007) as i128
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_written_is_the_figure_read_off_the_page() {
    let f = Fixture::new().await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    page.go(&url).await;
    page.until("!document.getElementById('empty').hidden").await;
    let pasted = page.eval("document.getElementById('curl').textContent").await;
    assert!(pasted.as_str().unwrap().contains(&format!("curl {url}/v1/flows")), "{pasted}");

    let (rx, tx) = (figure(), figure() + 1);
    f.row(NOW_HOUR, 1, &key("first & <b>", "db", "v"), rx, tx, 3, 5).await;
    f.ledger(Ledger { records: 3, ..ledger(NOW_HOUR, 1, 5) }).await;
    f.watermark(Some(NOW_HOUR * HOUR_MS), 1).await;
    page.until("document.querySelectorAll('#rows tbody tr').length === 1").await;
    let cells =
        page.eval("[...document.querySelectorAll('#rows [data-value]')].map(c => c.dataset.value).join()").await;
    assert_eq!(cells, format!("{rx},{tx}"), "exact, although it does not fit a double");
    assert_eq!(page.eval("document.querySelector('#rows tbody th').textContent").await, "first & <b>");
    assert_eq!(page.eval("document.getElementById('hour-state').textContent").await, "open");

    f.watermark(Some(closes(NOW_HOUR)), 2).await;
    page.until("document.getElementById('hour-state').textContent === 'final'").await;
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_filters_pages_and_moves_by_keyboard() {
    let f = Fixture::new().await;
    let keys: Vec<_> = (0..60).map(|i| key(["a", "b", "c"][i % 3], &format!("d{i:02}"), "v")).collect();
    f.hour(NOW_HOUR, &keys).await;
    f.hour(NOW_HOUR - 1, &keys[..3]).await;
    f.watermark(Some(closes(NOW_HOUR - 1)), 1).await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    page.go(&url).await;
    page.until("document.querySelectorAll('#rows tbody tr').length === 25").await;
    for (rows, name) in [(25, "page 2"), (10, "page 3")] {
        page.eval("document.getElementById('next').click()").await;
        page.until(&format!("document.getElementById('page').textContent === '{name}'")).await;
        page.until(&format!("document.querySelectorAll('#rows tbody tr').length === {rows}")).await;
    }
    page.eval("document.querySelector('#top .name').click()").await;
    page.until("document.querySelectorAll('#rows tbody tr').length === 20").await;
    let csv = page.eval("fetch(document.getElementById('csv').href).then(r => r.text())").await;
    assert_eq!(csv.as_str().unwrap().lines().count(), 21, "the link has the filter too");

    page.eval("document.querySelector('.slot[aria-pressed=true]').focus()").await;
    page.key("ArrowLeft").await;
    page.until("document.getElementById('hour-state').textContent === 'final'").await;
    let focus = page.eval("document.activeElement.getAttribute('aria-label')").await;
    assert_eq!(focus, "21 Nov, 02:00–03:00 UTC: final, 33 B, 3 records");
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_width_or_theme_hides_anything() {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key(&"long".repeat(60), &"destination.".repeat(20), "v")]).await;
    f.watermark(Some(0), 1).await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    let mut grounds = std::collections::BTreeSet::new();
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")] {
        page.view(width, scheme).await;
        page.go(&url).await;
        page.until("document.querySelectorAll('#rows tbody tr').length === 1").await;
        let beyond = page.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(beyond, 0, "nothing to scroll sideways at {width}");
        grounds.insert(page.eval("getComputedStyle(document.body).backgroundColor").await.to_string());
    }
    assert_eq!(grounds.len(), 2, "light and dark differ");
    page.eval("document.getElementById('theme').click()").await;
    assert_eq!(page.eval("document.documentElement.dataset.theme").await, "light", "the button turns the theme round");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_process_is_doing_is_on_the_page() {
    let doing = std::sync::Arc::new(std::sync::Mutex::new(serde_json::json!({})));
    let parts = ["gateway", "jobs"].map(|part| {
        let doing = doing.clone();
        Status::new(part, move || doing.lock().unwrap()[part].clone())
    });
    let f = Fixture::with(Parts { status: parts.into(), ..Parts::default() }).await;
    let url = serve(&f).await;
    let mut page = Browser::open().await;
    let tell = |records: i64, error: Option<&str>, percent: Option<f64>, lag: i64| {
        let restoring: Vec<_> = percent
            .map(|p| serde_json::json!({"stage": "merge", "partition": 3, "rows": 120_000, "percent": p, "seconds_left": 65}))
            .into_iter()
            .collect();
        let state = if restoring.is_empty() { "running" } else { "restoring" };
        *doing.lock().unwrap() = serde_json::json!({
            "gateway": {"spool": {"records": records, "bytes": records * 100, "bytes_max": 4 << 20, "oldest_age_ms": 95_000, "last_error": error}},
            "jobs": {"threads": [{"name": "flows.hourly merge 0", "state": state, "why": null}], "restoring": restoring, "lag": {"merge": lag}},
        });
    };
    tell(12_040, Some("no broker answers"), Some(42.4), 2_000_000);
    page.go(&url).await;
    page.until("!document.getElementById('status').hidden").await;
    let lines = "[...document.querySelectorAll('#status li')].map(l => l.textContent).join('|')";
    assert_eq!(
        page.eval(lines).await,
        "Spool12,040 accepted events wait for the log, the oldest for 1 min 35 s; 1.15 MiB of 4.00 MiB. The log does not \
         take them: no broker answers|Stagesflows.hourly merge 0 is restoring|Behind2.00 M records not yet summed|\
         Restoringmerge 3: 120,000 rows, 42 %, 1 min 5 s left"
    );
    let bars = "[...document.querySelectorAll('#status progress')].map(p => p.value).join()";
    assert_eq!(page.eval(bars).await, "28.7,42.4");
    tell(0, None, None, 3);
    page.until("document.querySelectorAll('#status progress').length === 0").await;
    assert_eq!(page.eval(lines).await, "Spoolempty: every accepted event is in the log|Stagesall 1 at work");
    assert_eq!(page.complaints(), Vec::<String>::new());
}
