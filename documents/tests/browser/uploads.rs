//! From the file picker to the results.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use crate::page::{Served, choose, complaints, drop_on_page, who};
use crate::world::sha256;

/// The row of an upload by its name.
fn row(name: &str) -> String {
    let name = json!(name);
    format!(
        "[...document.querySelectorAll('.upload-row')].find(row => row.querySelector('.upload-name').textContent === {name})"
    )
}

fn says(name: &str, words: &str) -> String {
    format!("Boolean({}?.textContent.includes({}))", row(name), json!(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_chosen_is_followed_to_its_results() {
    let served = Served::new().await;
    let mut page = served.open().await;
    page.until("!document.getElementById('blank').hidden").await;
    let pasted = page.eval("document.getElementById('curl').textContent").await;
    assert!(pasted.as_str().unwrap().contains(&format!("curl {}/v1/documents", served.url)), "{pasted}");

    // Nobody is named yet: the files wait, and the page says for what.
    let (name, text) = ("<b>x</b> & \"تقرير\".txt", "<p>the quick brown fox</p>");
    page.eval(&choose(&[(name, text)])).await;
    page.until("document.getElementById('owner-wrong').textContent.includes('say who')").await;
    assert_eq!(page.eval("document.activeElement.id").await, "owner");
    page.eval(&who("ann", "no address")).await;
    page.eval("document.getElementById('who-go').click()").await;
    page.until("document.getElementById('mail-wrong').textContent.includes('no mail address')").await;
    assert!(served.between.uploads.lock().unwrap().is_empty());
    page.eval(&who("ann", "ann@example.org")).await;
    page.eval("document.getElementById('who-go').click()").await;
    page.until(&says(name, "UPLOADED")).await;
    let uploaded = served.world.said.uploads.lock().unwrap()[0].clone();
    assert_eq!(
        (uploaded.name.as_str(), uploaded.owner.as_str(), uploaded.mail.as_str()),
        (name, "ann", "ann@example.org")
    );

    let beat = json!({"worker": "w", "capacity": 3, "memory_bytes": 64 << 20, "cpu_percent": 50});
    served.api.post("/v1/queues/documents/heartbeat", beat).await;
    page.until("document.querySelector('#workers tbody tr')?.textContent.includes('of 3')").await;
    let task = served.api.lease("w").await;
    page.until(&says(name, "PROCESSING")).await;
    let results = json!({"pipeline": "own", "steps": {
        "D3": {"text": text}, "D4": {"facts": {"dates": {"found": [{"at": 0, "text": "today", "date": "2026-11-21"}], "more": false}}},
        "D5": {"keywords": ["fox", "<i>brown</i>"], "figures": {"words": 4}, "extract": "the quick", "language": {"code": "eng"}}}});
    assert_eq!(served.api.complete(&task, results).await.status, StatusCode::OK);
    page.until(&says(name, "DONE")).await;
    page.until("document.querySelector('.tile.DONE b').textContent === '1'").await;
    page.until("document.querySelector('#rows tbody tr')?.textContent.includes('DONE')").await;
    assert_eq!(page.eval("document.querySelector('#rows .row-link').textContent").await, name);

    page.eval(&format!("{}.querySelector('a').click()", row(name))).await;
    page.until("document.getElementById('results-body').textContent.includes('<i>brown</i>')").await;
    let id = sha256(text.as_bytes());
    assert_eq!(page.eval("location.hash").await, format!("#{id}"));
    for (part, words) in [
        ("results-body", "2026-11-21"),
        ("results-body", "English"),
        ("timeline", "D1"),
        ("log", "DONE"),
        ("document-facts", id.as_str()),
    ] {
        let shown = page.eval(&format!("document.getElementById('{part}').textContent")).await;
        assert!(shown.as_str().unwrap().contains(words), "{words} in {shown}");
    }
    let all = page
        .eval("fetch(document.getElementById('results-link').href).then(r => r.json()).then(r => r.pipeline)")
        .await;
    assert_eq!(all, "own");
    assert_eq!(complaints(&page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_for_each_file() {
    let served = Served::with(|config| {
        config.upload.bytes_max = 1_000;
        config.upload.types = vec!["text/*".to_owned()];
    })
    .await;
    let mut page = served.open().await;
    page.eval(&who("ann", "")).await;
    page.eval(&choose(&[
        ("big.txt", &"x".repeat(1_001)),
        ("scan.png", "\u{89}PNG\r\n\u{1a}\n"),
        ("image.gif", "GIF89a        "),
        ("good.txt", "good"),
    ]))
    .await;
    page.until(&says("good.txt", "UPLOADED")).await;
    page.until(&says("big.txt", "failed")).await;
    assert_eq!(page.eval(&says("big.txt", "1000")).await, true, "the limit is named");
    page.until(&says("image.gif", "image/gif")).await;
    page.eval(&drop_on_page(&[("copy.txt", "good")])).await;
    page.until(&says("copy.txt", "already known")).await;

    // A refusal that will pass is no failure, and the same upload has the same key.
    *served.between.refuse.lock().unwrap() = (2, StatusCode::SERVICE_UNAVAILABLE);
    served.between.uploads.lock().unwrap().clear();
    page.eval(&choose(&[("later.txt", "later")])).await;
    page.until(&says("later.txt", "to be sent again")).await;
    page.until(&says("later.txt", "UPLOADED")).await;
    let keys: Vec<_> =
        served.between.uploads.lock().unwrap().iter().map(|headers| headers["idempotency-key"].clone()).collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");

    // What will not pass is tried again by hand alone.
    *served.between.refuse.lock().unwrap() = (1, StatusCode::FORBIDDEN);
    page.eval(&choose(&[("mine.txt", "mine")])).await;
    page.until(&says("mine.txt", "told to refuse")).await;
    page.eval(&format!("{}.querySelector('button').click()", row("mine.txt"))).await;
    page.until(&says("mine.txt", "UPLOADED")).await;
    assert_eq!(complaints(&page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_once_and_is_in_no_address() {
    let served = Served::new().await;
    *served.between.token.lock().unwrap() = Some("tdm_good");
    let mut page = served.open().await;
    page.eval(&who("ann", "")).await;
    page.eval(&choose(&[("a.txt", "a"), ("b.txt", "b")])).await;
    let give = |token: &str| {
        format!(
            "(() => {{ document.getElementById('access-token').value = '{token}'; document.getElementById('access-form').requestSubmit(); }})()"
        )
    };
    page.until("document.getElementById('access').open").await;
    page.eval(&give("tdm_bad")).await;
    page.until("document.getElementById('access').open && document.getElementById('access-why').textContent.includes('no good token')").await;
    page.eval(&give("tdm_good")).await;
    for name in ["a.txt", "b.txt"] {
        page.until(&says(name, "UPLOADED")).await;
    }
    let kept =
        page.eval("JSON.stringify([location.href, {...localStorage}, {...sessionStorage}, document.cookie])").await;
    assert!(!kept.as_str().unwrap().contains("tdm_"), "{kept}");
    assert_eq!(complaints(&page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_stream_the_page_asks_and_says_so() {
    let served = Served::new().await;
    let mut page = served.open().await;
    served.between.streams.send_replace(false);
    page.until("document.getElementById('link').textContent === 'reconnecting'").await;
    served.api.put("polled.txt", "polled").await;
    page.until("document.querySelector('#rows tbody tr')?.textContent.includes('polled.txt')").await;
    assert_eq!(page.eval("document.getElementById('link').textContent").await, "reconnecting");
    served.between.streams.send_replace(true);
    page.until("document.getElementById('link').textContent === 'live'").await;
    served.api.put("told.txt", "told").await;
    page.until("document.querySelector('#rows tbody tr')?.textContent.includes('told.txt')").await;
    assert_eq!(complaints(&page), Vec::<String>::new());
    tokio::time::timeout(Duration::from_secs(30), served.api.stop()).await.expect("the page's stream holds nobody up");
}
