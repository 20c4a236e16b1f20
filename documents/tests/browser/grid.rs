//! The table of documents and the panel of one.

use std::collections::BTreeSet;

use crate::page::{Served, complaints};
use crate::world::sha256;

const ROWS: &str = "document.querySelectorAll('#rows tbody tr').length";

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_filtered_searched_and_paged() {
    let served = Served::new().await;
    let late = served.api.done("fox.txt", "a vixen in the hedge").await;
    for i in 0..16 {
        served.api.put(&format!("report-{i}.txt"), &format!("contents {i}")).await;
    }
    served.api.listed("", |list| list["counts"]["UPLOADED"] == 16 && list["counts"]["DONE"] == 1).await;
    let mut page = served.open().await;
    page.until(&format!("{ROWS} === 15")).await;
    page.until("document.querySelector('.tile.UPLOADED b').textContent === '16'").await;
    page.eval("document.getElementById('next').click()").await;
    page.until(&format!("{ROWS} === 2 && document.getElementById('page').textContent === 'page 2'")).await;

    page.eval("document.querySelector('.tile.DONE').click()").await;
    page.until(&format!("{ROWS} === 1 && document.querySelector('#rows tbody tr').dataset.id === '{late}'")).await;
    assert_eq!(page.eval("location.search").await, "?state=DONE");
    assert_eq!(page.eval("document.querySelector('.tile.DONE').getAttribute('aria-pressed')").await, "true");
    page.eval("document.querySelector('.tile.DONE').click()").await;
    page.until(&format!("{ROWS} === 15")).await;

    // By a word of the results; then what cannot be read is said, and the address brings all of it back.
    page.eval("{ const q = document.getElementById('q'); q.value = 'vixen'; q.dispatchEvent(new Event('input', {bubbles: true})); }").await;
    page.until(&format!("{ROWS} === 1 && location.search === '?q=vixen'")).await;
    page.until("document.querySelector('.tile.UPLOADED b').textContent === '0'").await;
    page.go(&format!("{}/documents?q=vixen", served.url)).await;
    page.until(&format!("{ROWS} === 1 && document.getElementById('q').value === 'vixen'")).await;
    page.eval("{ const q = document.getElementById('q'); q.value = 'owner:['; document.getElementById('filter').requestSubmit(); }").await;
    page.until("!document.getElementById('trouble').hidden").await;
    page.eval("document.getElementById('filter').reset()").await;
    page.until(&format!("{ROWS} === 15 && document.getElementById('trouble').hidden")).await;
    assert_eq!(complaints(&page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_opened_retried_and_cancelled() {
    let served = Served::new().await;
    let id = served.api.put("broken.txt", "broken").await;
    let task = served.api.lease("w").await;
    served.fail(&task).await;
    served.api.listed("", |list| list["counts"]["ERROR"] == 1).await;
    let mut page = served.open().await;
    page.until(&format!("{ROWS} === 1")).await;
    page.eval("document.querySelector('#rows .row-link').focus(), document.querySelector('#rows .row-link').click()")
        .await;
    page.until("document.querySelectorAll('#timeline .run.FAILED').length === 3").await;
    assert_eq!(page.eval("document.activeElement.id").await, "document-title");
    assert_eq!(page.eval("document.getElementById('document-error').textContent").await, "D2: no <xref>");
    let bars = page
        .eval("[...document.querySelectorAll('#timeline .wall')].every(bar => bar.getBoundingClientRect().width > 1)")
        .await;
    assert_eq!(bars, true, "bars can be seen");

    // A no changes nothing.
    page.eval("document.getElementById('retry').click(), document.getElementById('confirm-no').click()").await;
    assert_eq!(page.eval("document.getElementById('retry').disabled").await, false, "nothing is under way");
    assert!(served.between.posts.lock().unwrap().is_empty());
    page.eval("document.getElementById('retry').click(), document.getElementById('confirm-yes').click()").await;
    page.until("!document.getElementById('cancel').hidden && document.getElementById('document-error').hidden").await;
    page.until("document.querySelector('.tile.UPLOADED b').textContent === '1'").await;
    page.eval("document.getElementById('cancel').click(), document.getElementById('confirm-yes').click()").await;
    page.until("document.getElementById('document-error').textContent.includes('cancelled by')").await;

    // It is done meanwhile: what cannot be is said, and the panel shows what is.
    page.eval("document.getElementById('retry').click()").await;
    let again = served.api.post(&format!("/v1/documents/{id}/retry"), serde_json::json!({})).await;
    assert_eq!(again.status.as_u16(), 202);
    page.eval("document.getElementById('confirm-yes').click()").await;
    page.until("document.getElementById('document-trouble').textContent.startsWith('It was not retried')").await;
    page.until("document.getElementById('document-state').textContent.includes('UPLOADED')").await;

    let acts = ["retry", "cancel", "retry"].map(|act| format!("/v1/documents/{id}/{act}"));
    assert_eq!(*served.between.posts.lock().unwrap(), acts, "what was answered with no was not sent");

    page.key("Escape").await;
    page.until("document.getElementById('document').hidden && location.hash === ''").await;
    assert_eq!(page.eval("document.activeElement.className").await, "row-link", "back where it was opened");
    page.eval(&format!("location.hash = '{}'", sha256(b"nothing"))).await;
    page.until("document.getElementById('document-title').textContent === 'No such document'").await;
    assert_eq!(complaints(&page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_width_or_theme_hides_anything() {
    let served = Served::new().await;
    let name = format!("{}.txt", "long-name".repeat(25));
    let id = served.api.put(&name, "long").await;
    let task = served.api.lease(&"w".repeat(100)).await;
    served.fail(&task).await;
    served.api.listed("", |list| list["counts"]["ERROR"] == 1).await;
    let mut page = served.open().await;
    let mut grounds = BTreeSet::new();
    for (width, scheme) in [(360, "light"), (360, "dark"), (1280, "light"), (1920, "dark")] {
        page.view(width, scheme).await;
        for hash in [String::new(), format!("#{id}")] {
            page.go(&format!("{}/documents{hash}", served.url)).await;
            page.until(&format!("{ROWS} === 1")).await;
            if !hash.is_empty() {
                page.until("document.querySelectorAll('#timeline .run.FAILED').length === 3").await;
            }
            let beyond = page.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
            assert_eq!(beyond, 0, "nothing to scroll sideways at {width}");
            let inside = "(() => { const body = document.querySelector('.drawer-body'); return body.scrollWidth - body.clientWidth; })()";
            assert_eq!(page.eval(inside).await, 0, "nor in the panel");
        }
        grounds.insert(page.eval("getComputedStyle(document.body).backgroundColor").await.to_string());
    }
    assert_eq!(grounds.len(), 2, "light and dark differ");
    assert_eq!(complaints(&page), Vec::<String>::new());
}
