//! Tokens: every route by every role over the wire, and where tokens never appear.

use crate::target::{GOOD, JSON, Target, status};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use tidemark::auth::{Need, Role, Rule, TABLE};

fn tidemark(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_tidemark")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A process with tokens, one for each role, which logs all it can.
fn closed() -> (Target, Vec<(Role, String)>) {
    let dir = tempfile::tempdir().unwrap();
    let (file, config) = (dir.path().join("tokens.toml"), dir.path().join("tidemark.toml"));
    std::fs::write(&config, "[log]\nformat = \"json\"\nfilter = \"trace\"\n").unwrap();
    let (file, config) = (file.to_str().unwrap().to_owned(), config.to_str().unwrap().to_owned());
    let made = Role::ALL.map(|role| {
        let made = tidemark(&["token", "new", &role.to_string(), "--role", &role.to_string(), "--file", &file]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (role, String::from_utf8(made.stdout).unwrap().trim().to_owned())
    });
    let target = Target::start(dir, &["--tokens", &file, "--config", &config]);
    (target, made.to_vec())
}

fn bearer(token: &str) -> String {
    format!("{JSON}authorization: Bearer {token}\r\n")
}

/// What is sent to a route: its parameters filled in, a body that is taken or refused by the route itself.
fn ask(target: &Target, rule: &Rule, headers: &str) -> String {
    let path = rule
        .path
        .replace("{type}", "flows.observed")
        .replace("{topic}", "abuse.topic")
        .replace("{subject}", "s")
        .replace("{version}", "1")
        .replace("{id}", "1")
        .replace("{file_id}", &"0".repeat(64))
        .replace("{queue}", "documents")
        .replace("{task_id}", "1")
        .replace("{file}", "main.js");
    let body = if rule.method == "GET" { &b""[..] } else { GOOD };
    if !["/v1/live", "/v1/documents/live"].contains(&rule.path) {
        return target.send(rule.method.as_str(), &path, headers, body);
    }
    // Never ends by itself.
    let mut stream = target.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Whether the router has such a route.
fn is_served(answer: &str) -> bool {
    // A document or task that is not there is another thing than a route that is not.
    let missing = answer.contains("urn:tidemark:problem:not_found") && !answer.contains("there is no such thing");
    !missing && !answer.contains("\"error_code\":404,") && status(answer) != Some(405)
}

#[test]
fn every_route_asks_for_its_role_and_no_token_is_told() {
    let (target, tokens) = closed();
    for rule in &TABLE {
        let place = format!("{} {}", rule.method, rule.path);
        let nobody = status(&ask(&target, rule, JSON)).unwrap();
        let stranger = status(&ask(&target, rule, &bearer(&format!("tdm_{}", "0".repeat(64))))).unwrap();
        let open = rule.need == Need::Nothing;
        // Signing in refuses with 401 itself.
        assert_eq!(nobody == 401, !open, "{place} as nobody: {nobody}");
        assert_eq!(stranger == 401, !open, "{place} as a stranger: {stranger}");
        for (role, token) in &tokens {
            let answer = ask(&target, rule, &bearer(token));
            let found = status(&answer).unwrap();
            let allowed = !matches!(rule.need, Need::Roles(needed) if !needed.contains(role));
            assert_eq!(found == 403, !allowed, "{place} as {role}: {answer:.600}");
            assert!(found != 401 && (!allowed || is_served(&answer)), "{place} as {role}: {answer:.600}");
        }
    }
    described(&target, &tokens);
    in_a_browser(&target, &tokens);
    let output = target.output();
    assert!(output.contains("tidemark::auth") && output.len() > 10_000, "logged too little to judge by");
    for (role, token) in &tokens {
        let secret = token.trim_start_matches("tdm_");
        assert!(!output.contains(secret), "the token of {role} was printed");
        let kept = std::fs::read_to_string(target.dir().join("tokens.toml")).unwrap();
        assert!(!kept.contains(secret), "the token of {role} was kept");
    }
    revoked(&target, &tokens);
}

/// What is served is what is described: pages and the registry, which Confluent describes, aside.
fn described(target: &Target, tokens: &[(Role, String)]) {
    let answer = target.send("GET", "/v1/openapi.json", &bearer(&tokens[0].1), b"");
    let doc: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let described: BTreeSet<String> = doc["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |m| format!("{} {path}", m.to_uppercase()))
        })
        .collect();
    let is_api = |rule: &&Rule| rule.path.starts_with("/v1/") || rule.path == "/metrics";
    let listed: BTreeSet<String> =
        TABLE.iter().filter(is_api).map(|rule| format!("{} {}", rule.method, rule.path)).collect();
    assert_eq!(described, listed);
}

/// Signed in, a browser reads, streams included, and writes nothing.
fn in_a_browser(target: &Target, tokens: &[(Role, String)]) {
    let token = |role| &tokens.iter().find(|(held, _)| *held == role).unwrap().1;
    let page = target.send("GET", "/", "accept: text/html\r\n", b"");
    assert!(page.starts_with("HTTP/1.1 303") && page.contains("location: /login"), "{page}");
    let form = format!("token={}", token(Role::Query));
    let signed =
        target.send("POST", "/v1/session", "content-type: application/x-www-form-urlencoded\r\n", form.as_bytes());
    let cookie = signed.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("no cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(status(&target.send("GET", "/", &cookie, b"")), Some(200));
    let live = TABLE.iter().find(|rule| rule.path == "/v1/live").unwrap();
    let stream = ask(target, live, &cookie);
    assert!(stream.starts_with("HTTP/1.1 200") && stream.contains("text/event-stream"), "{stream}");
    let cookie = format!("{JSON}cookie: tidemark_token={}\r\n", token(Role::Publish));
    assert_eq!(status(&target.post(&cookie, GOOD)), Some(401), "a cookie writes");
    for spoofed in
        ["x-client-cert: CN=admin", "x-forwarded-user: admin", "x-forwarded-for: 127.0.0.1", "host: localhost"]
    {
        assert_eq!(
            status(&target.send("GET", "/v1/hours", &format!("{spoofed}\r\n"), b"")).map(|s| s == 200),
            Some(false)
        );
    }
}

/// Revoked while the process runs: refused within seconds, others are not.
fn revoked(target: &Target, tokens: &[(Role, String)]) {
    let file = target.dir().join("tokens.toml");
    let file = file.to_str().unwrap();
    assert!(tidemark(&["token", "revoke", "publish", "--file", file]).status.success());
    let token = |role| bearer(&tokens.iter().find(|(held, _)| *held == role).unwrap().1);
    target.until("revoked", |target| status(&target.post(&token(Role::Publish), GOOD)) == Some(401));
    assert_eq!(status(&target.send("GET", "/v1/hours", &token(Role::Query), b"")), Some(200));
    let again = tidemark(&["token", "revoke", "publish", "--file", file]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("token list"));
    let list = tidemark(&["token", "list", "--file", file]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("query") && !list.contains("publish") && !list.contains("tdm_"), "{list}");
}

#[test]
fn other_machines_need_tokens() {
    for args in [&["up"][..], &["serve", "gateway", "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"]] {
        let dir = tempfile::tempdir().unwrap();
        let refused =
            tidemark(&[args, &["--listen", "0.0.0.0:0", "--data-dir", dir.path().to_str().unwrap()]].concat());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            !refused.status.success() && said.contains("tidemark token new") && said.contains("--tokens"),
            "{said}"
        );
        let lost = tidemark(&[args, &["--listen", "0.0.0.0:0", "--tokens", "/nowhere/t.toml"]].concat());
        let said = String::from_utf8(lost.stderr).unwrap();
        assert!(
            !lost.status.success() && said.contains("/nowhere/t.toml") && said.contains("tidemark token new"),
            "{said}"
        );
    }
}
