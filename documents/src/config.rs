//! How the documents API is set.

use std::path::PathBuf;
use std::time::Duration;

use crate::learn::Learning;
use crate::store::StoreConfig;

/// How the documents API is set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose documents these are.
    pub tenant: String,
    /// Where contents and results are.
    pub store: StoreConfig,
    /// The folder of the index; of one process at a time. It may be deleted while the process is down.
    pub index: PathBuf,
    /// Stable and unique per process: the transactional id of its producer.
    pub producer_id: String,
    /// What may be uploaded.
    pub upload: UploadConfig,
    /// How long a request waits for its answer.
    pub answer_within: Duration,
    /// How run times are learned; without it they are not.
    pub learning: Option<Learning>,
}

impl Config {
    /// The defaults of everything else: a folder `objects` and a folder `index` in `dir`.
    pub fn new(dir: &std::path::Path, producer_id: impl Into<String>) -> Self {
        Self {
            tenant: "default".to_owned(),
            store: StoreConfig::Folder(dir.join("objects")),
            index: dir.join("index"),
            producer_id: producer_id.into(),
            upload: UploadConfig::default(),
            answer_within: Duration::from_secs(10),
            learning: None,
        }
    }
}

/// What may be uploaded.
#[derive(Debug, Clone)]
pub struct UploadConfig {
    /// The largest file.
    pub bytes_max: u64,
    /// Media types as found in the bytes; `text/*` is all of them, `*` is any.
    pub types: Vec<String>,
    /// Uploads under way at a time, 2 to 3 MiB of memory each with a local folder, 10 to 15 with S3.
    pub at_a_time: usize,
    /// A sender that is silent for longer is given up.
    pub silence_max: Duration,
}

impl Default for UploadConfig {
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
            bytes_max: 1 << 30,
            types: types.map(str::to_owned).to_vec(),
            at_a_time: 16,
            silence_max: Duration::from_secs(30),
        }
    }
}
