//! The document pipeline's sections of the configuration file: intake and queue, workers, mails.

use serde::Deserialize;
use std::path::PathBuf;

/// Upload, queue and results of documents.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DocumentsConfig {
    /// Where contents and results are kept: a folder, or `s3://BUCKET`, whose keys and place come from the environment
    /// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, `AWS_REGION`). By default `documents` under
    /// `data_dir`. Every process that serves documents needs the same.
    pub store: Option<String>,
    /// Largest document, bytes, 1 or more; more is answered 413.
    pub max_bytes: u64,
    /// Media types that are taken, found in the bytes; `*` stands for anything. Others are answered 415.
    pub types: Vec<String>,
    /// Workers that `tidemark up` starts, 0 to 64.
    pub workers: u32,
    /// A worker that is silent for longer has lost its leases, milliseconds, 1,000 or more. Workers are heard of every 3 s.
    pub heartbeat_timeout_ms: i64,
    /// A lease that its worker has not taken up by then goes back to the queue, milliseconds, 100 or more.
    pub accept_ms: i64,
    /// A step may take so long at least before the lease is lost, milliseconds, 100 or more. Longer than the longest `wall_seconds` of the
    /// pipeline, so that a step that hangs is an attempt that failed, and its worker is not taken for lost.
    pub lease_floor_ms: i64,
    /// A step may take so many times its expected run time before the lease is lost, 1 or more.
    pub lease_factor: i64,
    /// A mail goes out at every so many documents that are done, 1 or more.
    pub progress_every: i64,
    /// Who gets it; nobody named: the owner of that document.
    pub progress_to: Vec<String>,
}

impl Default for DocumentsConfig {
    fn default() -> Self {
        let types = [
            "text/*",
            "application/pdf",
            "application/zip",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/octet-stream",
            "application/x-empty",
        ];
        Self {
            store: None,
            max_bytes: 1 << 30,
            types: types.map(str::to_owned).into(),
            workers: 2,
            heartbeat_timeout_ms: 15_000,
            accept_ms: 10_000,
            lease_floor_ms: 180_000,
            lease_factor: 3,
            progress_every: 1_000,
            progress_to: Vec::new(),
        }
    }
}

/// A worker: takes documents from the queue and runs the steps on them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Where the documents are served; `TIDEMARK_URL` in the environment wins.
    pub url: String,
    /// File with the token that the worker shows; by default the one in `TIDEMARK_TOKEN`, if any.
    pub token_file: Option<PathBuf>,
    /// The pipeline file; by default the built-in five steps.
    pub pipeline: Option<PathBuf>,
    /// Documents at a time, 1 to 64.
    pub capacity: u32,
    /// How often it says that it lives, milliseconds, 100 or more: a third of `documents.heartbeat_timeout_ms` at most.
    pub heartbeat_ms: u64,
    /// What the worker is called, with something random behind it; by default its machine and process.
    pub name: Option<String>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080".into(),
            token_file: None,
            pipeline: None,
            capacity: 1,
            heartbeat_ms: 3_000,
            name: None,
        }
    }
}

/// How mails go out.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// Where mails are put when no server is named: a maildir, by default `mail` under `data_dir`.
    pub maildir: Option<PathBuf>,
    /// The server that takes them, `host:port`.
    pub smtp: Option<String>,
    /// How the connection to it is protected.
    pub tls: MailTls,
    /// Further certificates that the server may show, PEM.
    pub ca_file: Option<PathBuf>,
    /// Name at the server; the password is in `TIDEMARK_SMTP_PASSWORD`.
    pub user: Option<String>,
    /// Whom they come from.
    pub from: String,
    /// Where people find the page, for links.
    pub base_url: String,
    /// Folder of templates that take the place of the built-in ones of the same name.
    pub templates: Option<PathBuf>,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            maildir: None,
            smtp: None,
            tls: MailTls::Starttls,
            ca_file: None,
            user: None,
            from: "Tidemark <tidemark@localhost>".into(),
            base_url: "http://127.0.0.1:8080".into(),
            templates: None,
        }
    }
}

/// See [`MailConfig::tls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Begun in the open and refused unless it becomes TLS: port 587.
    Starttls,
    /// TLS from the first byte: port 465.
    Implicit,
    /// None.
    None,
}
