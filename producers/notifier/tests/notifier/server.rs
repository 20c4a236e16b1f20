//! A real mail server as a child process; see `mail_server.py`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A mail that the server took.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) content: String,
    pub(crate) connection: i64,
    pub(crate) tls: bool,
    pub(crate) login: bool,
}

impl Taken {
    /// The value of a header, folded lines joined.
    pub(crate) fn header(&self, name: &str) -> String {
        let (head, _) = self.content.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        let values: Vec<&str> = head.split("\r\n").filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
        assert_eq!(values.len(), 1, "{name} in {head}");
        values[0].to_owned()
    }
}

/// Where a server keeps what it took, over its restarts.
pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/install.sh test", python.display());
    python
}

impl Server {
    /// Starts one on a free port.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut server = Self { dir: tempfile::tempdir().unwrap(), port: 0, child: None };
        server.restart(options);
        server
    }

    /// Ends the one at work, if any, and starts another on the same port.
    pub(crate) fn restart(&mut self, options: &[&str]) {
        self.kill();
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notifier/mail_server.py"))
            .arg(self.dir.path())
            .args(["--port", &self.port.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("the mail server does not start: run scripts/install.sh test"));
        self.child = Some(child);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// It has ended by itself.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// All mails that were taken since the first start, in order.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let lines = std::fs::read_to_string(self.dir.path().join("taken.jsonl")).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        lines
            .lines()
            .map(|line| {
                let mail: serde_json::Value = serde_json::from_str(line).unwrap();
                Taken {
                    from: text(&mail["from"]),
                    to: mail["to"].as_array().unwrap().iter().map(text).collect(),
                    content: text(&mail["content"]),
                    connection: mail["connection"].as_i64().unwrap(),
                    tls: mail["tls"].as_bool().unwrap(),
                    login: mail["login"].as_bool().unwrap(),
                }
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
