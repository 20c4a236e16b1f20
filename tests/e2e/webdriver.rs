//! A real headless Chromium, driven by the W3C WebDriver protocol.

use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser with one page. Dropping it ends both processes.
pub struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts chromedriver and Chromium with a window of this size.
    pub fn start(width: u32, height: u32, dark: bool) -> Self {
        let port = tidemark_harness::free_port().unwrap();
        let driver = Command::new("chromedriver")
            .args([format!("--port={port}"), "--allowed-ips=127.0.0.1".into()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is missing: run scripts/install.sh test");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, session: String::new() };
        let began = Instant::now();
        while call("GET", &format!("{base}/status"), None).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut args = vec![
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            format!("--window-size={width},{height}"),
        ];
        if dark {
            args.push("--force-dark-mode".into());
        }
        let options = json!({"binary": "/usr/bin/chromium", "args": args});
        let capabilities = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}});
        let session = call("POST", &format!("{base}/session"), Some(capabilities)).unwrap();
        browser.session = format!("{base}/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        call(method, &format!("{}{path}", self.session), body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn open(&self, url: &str) {
        self.command("POST", "/url", Some(json!({ "url": url })));
    }

    /// The value of a script's `return`.
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", Some(json!({"script": script, "args": []})))
    }

    /// Presses keys on whatever has the focus.
    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.command("POST", "/actions", Some(body));
    }

    /// Chooses files on this machine for a file input, as a person does.
    pub fn choose(&self, selector: &str, files: &[&str]) {
        let found = self.command("POST", "/element", Some(json!({"using": "css selector", "value": selector})));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str).unwrap();
        self.command("POST", &format!("/element/{id}/value"), Some(json!({"text": files.join("\n")})));
    }

    /// Lines of the browser's console and the addresses that the page asked for.
    pub fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.command("POST", "/se/log", Some(json!({ "type": kind })));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// A PNG of the window, base64.
    pub fn screenshot(&self) -> String {
        self.command("GET", "/screenshot", None).as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = call("DELETE", &self.session, None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn call(method: &str, url: &str, body: Option<Value>) -> Result<Value, String> {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.build().into();
    let sent = match (method, body) {
        ("POST", body) => {
            agent.post(url).header("content-type", "application/json").send(body.unwrap_or(json!({})).to_string())
        }
        ("DELETE", _) => agent.delete(url).call(),
        _ => agent.get(url).call(),
    };
    let mut answer = sent.map_err(|error| error.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    if answer.status().is_success() { Ok(value["value"].clone()) } else { Err(value["value"].to_string()) }
}
