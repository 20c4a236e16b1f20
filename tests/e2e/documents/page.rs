//! The page in a real browser, on the shipped binary.

use super::world::*;
use crate::process::eventually;
use crate::webdriver::Browser;

fn until(browser: &Browser, what: &str, script: &str) {
    eventually(what, || {
        let seen = browser.run(script);
        let page = || browser.run("return document.querySelector('main')?.innerText").to_string();
        if seen == true { Ok(()) } else { Err(format!("{seen}; page: {}", page())) }
    });
}

/// A person chooses files on disk and watches them: two are done, one is an error with its reason, and the same contents again are
/// a duplicate. One of them is opened, with its steps and its results.
#[test]
fn files_are_chosen_and_watched_to_their_end() {
    let world = World::new(2, "");
    let platform = world.up();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/producers/document-steps/tests/files");
    let copy = world.path("copy of the report.pdf");
    std::fs::copy(format!("{folder}/report-en.pdf"), &copy).unwrap();
    let browser = Browser::start(1280, 1400, false);
    browser.open(&format!("{}/documents", platform.url));
    until(&browser, "the page is live", "return document.querySelector('#link').textContent === 'live'");
    browser.run(
        "for (const [id, value] of [['owner', 'ann'], ['mail', 'ann@example.com']]) {
           const field = document.getElementById(id); field.value = value;
           field.dispatchEvent(new Event('input', {bubbles: true})); field.dispatchEvent(new Event('change', {bubbles: true})); }",
    );
    let files = ["report-en.pdf", "protokoll-de.docx", "truncated.pdf"].map(|name| format!("{folder}/{name}"));
    browser.choose("#files", &files.each_ref().map(String::as_str));
    let tile = |state: &str, number: u32| {
        format!("return document.querySelector('.tile.{state} b')?.textContent.trim() === '{number}'")
    };
    until(&browser, "two documents are done", &tile("DONE", 2));
    until(&browser, "one is an error", &tile("ERROR", 1));
    browser.choose("#files", &[copy.to_str().unwrap()]);
    until(
        &browser,
        "the copy is told to be a duplicate",
        "return [...document.querySelectorAll('.upload-row')].some(row => row.innerText.includes('copy of the report') && /duplicate|already/i.test(row.innerText))",
    );
    let report = file_id(&sample("report-en.pdf"));
    browser.run(&format!("location.hash = '{report}'"));
    until(
        &browser,
        "its five steps are drawn",
        "return ['D1', 'D2', 'D3', 'D4', 'D5'].every(step => document.querySelector('#timeline')?.innerText.includes(step))",
    );
    until(&browser, "its results are there", "return document.querySelector('#results-body')?.innerText.length > 40");
    until(&browser, "the workers are listed", "return (document.body.innerText.match(/worker-/g) || []).length >= 2");
    until(&browser, "the hour's figures are there", "return /partial/i.test(document.body.innerText)");
    let errors: Vec<String> = browser.log("browser").into_iter().filter(|line| !line.contains("favicon")).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(browser.screenshot().len() > 20_000, "the page is blank");
    world.wait_for_mails(&[("Already", 1), ("Not processed", 1)]);
    platform.stop();
}
