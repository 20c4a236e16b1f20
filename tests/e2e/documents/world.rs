//! A platform for documents, workers with pipelines of the test's own, and a mailbox.

use crate::process::{Answer, Tidemark, eventually, get, post_with};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Short times, so that what is lost comes back soon: a worker is heard of every 0.3 s and lost after 1.5 s.
const TIMES: &str = "heartbeat_timeout_ms = 1500\naccept_ms = 1500\nlease_floor_ms = 20000\n";

/// A folder with a configuration, a data directory and a maildir.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// `workers` are started by the platform; further lines for the section `documents`.
    pub fn new(workers: u32, more: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.configure("tidemark.toml", &format!("workers = {workers}\n{TIMES}{more}"), "", 1);
        world
    }

    fn configure(&self, file: &str, documents: &str, pipeline: &str, capacity: u32) {
        let (store, maildir) = (self.path("store"), self.maildir());
        let text = format!(
            "[documents]\nstore = {store:?}\n{documents}\n[worker]\nheartbeat_ms = 300\ncapacity = {capacity}\n{pipeline}\n\
             [mail]\nmaildir = {maildir:?}\n"
        );
        std::fs::write(self.path(file), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn maildir(&self) -> PathBuf {
        self.path("mail")
    }

    /// The configuration file, as an argument.
    pub fn config(&self) -> String {
        self.path("tidemark.toml").to_str().unwrap().to_owned()
    }

    /// Everything in one process, ready.
    pub fn up(&self) -> Tidemark {
        Tidemark::start(&self.path("data"), &["up", "--config", &self.config()])
    }

    /// A worker of its own for the platform at `url`. Each step is a shell command: name and text.
    pub fn worker(&self, url: &str, name: &str, capacity: u32, steps: &[(&str, &str)]) -> Tidemark {
        let mut worker = self.spawn_worker(url, name, capacity, steps);
        worker.wait_ready();
        worker
    }

    /// The same, not waited for.
    pub fn spawn_worker(&self, url: &str, name: &str, capacity: u32, steps: &[(&str, &str)]) -> Tidemark {
        let pipeline = self.path(&format!("{name}.pipeline.toml"));
        let step = |(name, text): &(&str, &str)| {
            format!("[[steps]]\nname = {name:?}\ncommand = [\"sh\", \"-c\", {}]\nwall_seconds = 60\n", json!(text))
        };
        let steps: String = steps.iter().map(step).collect();
        std::fs::write(&pipeline, format!("name = \"test\"\n{steps}")).unwrap();
        let file = format!("{name}.toml");
        self.configure(&file, "", &format!("pipeline = {pipeline:?}"), capacity);
        let (config, data) = (self.path(&file), self.path(&format!("{name}.data")));
        let args = ["serve", "document-worker", "--config", config.to_str().unwrap()];
        Tidemark::spawn_with(&data, &args, &[("TIDEMARK_URL", url), ("TIDEMARK_WORKER_NAME", name)])
    }

    /// The mails that have come, headers and all.
    pub fn mails(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.maildir().join("new")) else { return Vec::new() };
        files.map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
    }

    /// Waits until just these mails have come: how many of each subject's beginning.
    pub fn wait_for_mails(&self, wanted: &[(&str, usize)]) {
        eventually("the mails", || {
            let mails = self.mails();
            let count = |subject: &str| mails.iter().filter(|mail| subject_of(mail).starts_with(subject)).count();
            let right = wanted.iter().all(|(subject, number)| count(subject) == *number);
            let all: usize = wanted.iter().map(|(_, number)| number).sum();
            if right && mails.len() == all {
                Ok(())
            } else {
                Err(format!("{:?}", mails.iter().map(|mail| subject_of(mail)).collect::<Vec<_>>()))
            }
        });
    }
}

/// The subject of a mail.
pub fn subject_of(mail: &str) -> String {
    header_of(mail, "Subject")
}

/// A header of a mail, unfolded.
pub fn header_of(mail: &str, name: &str) -> String {
    let head = mail.replace("\r\n", "\n").replace("\n ", " ");
    let prefix = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(prefix.as_str())).unwrap_or_default().trim().to_owned()
}

/// SHA-256 of contents, as hexadecimal digits.
pub fn file_id(contents: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, contents).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Uploads as one person; the answer whatever it is.
pub fn try_upload(url: &str, name: &str, contents: &[u8], headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let url = format!("{url}/v1/documents?name={name}&owner=ann&mail=ann%40example.com");
    let all: Vec<(&str, &str)> =
        [("content-type", "application/octet-stream")].into_iter().chain(headers.iter().copied()).collect();
    post_with(&url, &all, contents)
}

/// Uploads as one person; gives what is told of the document.
pub fn upload(url: &str, name: &str, contents: &[u8]) -> Value {
    let answer = try_upload(url, name, contents, &[]).unwrap();
    assert!(answer.status == 201 || answer.status == 200, "{}: {}", answer.status, answer.body);
    answer.json()["documents"][0].clone()
}

/// A document, or why there is none.
pub fn document(url: &str, id: &str) -> Result<Value, String> {
    let answer = get(&format!("{url}/v1/documents/{id}")).map_err(|error| error.to_string())?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(format!("{}: {}", answer.status, answer.body)) }
}

/// Waits until the document is in a state, and gives it.
pub fn wait_for_state(url: &str, id: &str, state: &str) -> Value {
    let mut found = Value::Null;
    eventually(&format!("{id} is {state}"), || {
        found = document(url, id)?;
        if found["state"] == state { Ok(()) } else { Err(found.to_string()) }
    });
    found
}

/// The events in a document's log, in order.
pub fn events(url: &str, id: &str) -> Vec<String> {
    let log = get(&format!("{url}/v1/documents/{id}/log")).unwrap().json();
    // One that was just uploaded may not be in the view store yet.
    log["log"].as_array().into_iter().flatten().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the log has just these events.
pub fn wait_for_events(url: &str, id: &str, wanted: &[&str]) {
    eventually(&format!("the log of {id} is {wanted:?}"), || {
        let events = events(url, id);
        if events == wanted { Ok(()) } else { Err(format!("{events:?}")) }
    });
}

/// The documents that the list has, by state.
pub fn counts(url: &str) -> Value {
    get(&format!("{url}/v1/documents?limit=1")).unwrap().json()["counts"].clone()
}

/// Files of a folder of the repository's steps.
pub fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("producers/document-steps/tests/files").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
