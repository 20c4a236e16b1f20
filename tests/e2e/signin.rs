//! Tokens, as a person with a browser meets them.

use crate::process::{Tidemark, eventually, get};
use crate::webdriver::Browser;
use std::process::Command;

fn token(args: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_tidemark")).arg("token").args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn until(browser: &Browser, what: &str, script: &str) {
    eventually(what, || {
        let seen = browser.run(script);
        if seen == true { Ok(()) } else { Err(format!("{seen}: {}", browser.run("return document.body.innerText"))) }
    });
}

fn sign_in(browser: &Browser, token: &str) {
    browser.run(&format!("document.querySelector('[name=token]').value = {token:?}; document.forms[0].submit()"));
}

/// A wrong token is told, a good one opens the live page; revoked, the open page is left for the one to sign in.
#[test]
fn a_browser_signs_in_and_is_signed_out_by_a_revoke() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    let file = file.to_str().unwrap();
    let good = token(&["new", "reader", "--role", "query", "--file", file]);
    let platform = Tidemark::start(&dir.path().join("data"), &["up", "--tokens", file]);
    assert_eq!(get(&format!("{}/v1/hours", platform.url)).unwrap().status, 401);
    let browser = Browser::start(1280, 900, false);
    browser.open(&platform.url);
    until(&browser, "sent to sign in", "return location.pathname === '/login'");
    sign_in(&browser, &format!("tdm_{}", "0".repeat(64)));
    until(&browser, "told that it is not good", "return document.body.innerText.includes('not good')");
    sign_in(&browser, &good);
    until(&browser, "the live page", "return document.querySelector('#link')?.dataset.state === 'live'");
    assert_eq!(browser.run("return document.cookie"), "", "a script can read the cookie");
    token(&["revoke", "reader", "--file", file]);
    until(&browser, "signed out", "return location.pathname === '/login'");
    platform.stop();
}
