//! The dashboard in a real headless browser.

use crate::process::{Tidemark, eventually, post};
use crate::webdriver::Browser;

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("const e = document.querySelector({selector:?}); return e ? e.innerText : ''");
    browser.run(&script).as_str().unwrap_or_default().to_owned()
}

fn until(browser: &Browser, what: &str, script: &str) {
    eventually(what, || {
        let seen = browser.run(script);
        if seen == true { Ok(()) } else { Err(format!("{seen}; page: {}", text(browser, "main"))) }
    });
}

/// Posts a random figure and reads it off the page, which is open all the while; then filters, themes and keys.
#[test]
fn a_posted_figure_shows_on_the_open_page() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    let browser = Browser::start(1280, 1400, false);
    browser.open(&platform.url);
    until(
        &browser,
        "the empty page shows a curl to paste",
        "return document.querySelector('#curl')?.innerText.includes('/v1/flows')",
    );

    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let figure = 100_000 + nanos.subsec_nanos() % 899_999;
    let hour = nanos.as_secs() / 3600;
    let app = format!("app-{figure}");
    let flow = |src: &str, rx: u32| {
        serde_json::json!({"src_app": src, "dest_app": "db", "vpc_id": "v", "hour": hour, "bytes_tx": 1, "bytes_rx": rx}).to_string()
    };
    for (src, rx) in [(app.as_str(), figure), ("other", 7)] {
        let answer = post(&format!("{}/v1/flows", platform.url), "application/json", flow(src, rx).as_bytes()).unwrap();
        assert_eq!(answer.status, 202);
    }
    let row = format!(
        "const digits = String.fromCharCode(...'{figure}'.split('').map(c => c.charCodeAt(0)));
         return [...document.querySelectorAll('#rows tbody tr')].some(tr => tr.innerText.includes('{app}') &&
           [...tr.querySelectorAll('td')].some(td => ((td.title || td.dataset.value || '') + td.innerText).replace(/[^0-9]/g, '').includes(digits)))"
    );
    until(&browser, "the figure is in the table of the open page", &row);
    until(
        &browser,
        "the hour is told to be open",
        "return document.querySelector('#hour-facts').innerText.includes('open')",
    );
    until(
        &browser,
        "two records went all the way",
        "return document.querySelector('#served').innerText.trim() === '2'",
    );

    // A filter leaves one row.
    browser.run(&format!("const f = document.querySelector('#filter'); f.src_app.value = '{app}'; f.requestSubmit()"));
    until(&browser, "the filter leaves one row", "return document.querySelectorAll('#rows tbody tr').length === 1");

    // Every control is reached by the keyboard, and its focus can be seen.
    browser.run("document.activeElement.blur()");
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..60 {
        browser.press(TAB);
        let focus = browser.run(
            "const e = document.activeElement, s = getComputedStyle(e);
             return [e === document.body ? 'page' : e.id || e.name || e.className || e.tagName, s.outlineStyle !== 'none' || s.boxShadow !== 'none' || e === document.body]",
        );
        assert_eq!(focus[1], true, "the focus on {} cannot be seen", focus[0]);
        reached.insert(focus[0].as_str().unwrap().to_owned());
    }
    for control in ["theme", "src_app", "dest_app", "vpc_id", "csv"] {
        assert!(reached.contains(control), "{control} is not reached by Tab: {reached:?}");
    }

    // Light and dark differ, by the page's own switch too.
    let background = || browser.run("return getComputedStyle(document.body).backgroundColor").to_string();
    let light = background();
    browser.run("document.querySelector('#theme').focus()");
    browser.press(ENTER);
    assert_ne!(background(), light, "the theme switch does nothing");

    assert_quiet(&browser, &platform.url);
    let picture = browser.screenshot();
    assert!(picture.len() > 20_000, "the page is blank");
    platform.stop();
}

#[test]
fn the_page_fits_a_phone_in_the_dark() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up", "--demo"]);
    let browser = Browser::start(500, 900, true);
    browser.open(&platform.url);
    until(
        &browser,
        "a day of hours is drawn",
        "return document.querySelectorAll('#chart [data-hour], #chart rect, #chart button').length >= 24",
    );
    let overflow = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(overflow, 0, "the page scrolls sideways");
    assert_quiet(&browser, &platform.url);
    platform.stop();
}

/// No error in the console, and nothing asked of any other host.
fn assert_quiet(browser: &Browser, own: &str) {
    let errors: Vec<String> = browser.log("browser").into_iter().filter(|line| !line.contains("favicon")).collect();
    assert!(errors.is_empty(), "{errors:?}");
    for entry in browser.log("performance") {
        let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
        if entry["message"]["method"] == "Network.requestWillBeSent" {
            let url = entry["message"]["params"]["request"]["url"].as_str().unwrap_or_default();
            let fine = url.starts_with(own) || url.starts_with("data:") || url.starts_with("about:");
            assert!(fine, "the page asked for {url}");
        }
    }
}
