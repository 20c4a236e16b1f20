//! The object store: contents and results under their SHA-256, in a local folder or in any S3-compatible store.
//!
//! Promise: what is under a hash is complete, and durable before it is spoken of. Nothing is ever written in place: contents go
//! to `staging/` while their hash is made, and are renamed (in a bucket: copied) to `contents/<ab>/<sha256>`; short ones are put
//! there in one piece. An upload that breaks off leaves at most a file in `staging/`, which is removed when it is a day old.
//!
//! In a local folder files and the folders that hold them are synced. Two that store the same contents at a time do not harm each
//! other: both put the same bytes.

mod staged;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use ring::digest;
pub(crate) use staged::Staged;
use tokio::sync::watch;

/// Bytes of a part of an upload to a local folder; as many again are on their way to the disk.
const PART_LOCAL: usize = 1 << 20;
/// S3 takes no smaller parts than 5 MiB, but the last.
const PART_S3: usize = 5 << 20;
/// How often, and for how long in all, a bucket that does not answer is asked again.
const RETRIES_MAX: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// What is left of uploads that broke off is removed at this age.
const STAGING_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Where contents and results are kept.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// In a folder, which is made if it is missing.
    Folder(PathBuf),
    /// In a bucket. Give it a rule that aborts incomplete multipart uploads after a day.
    S3(S3Config),
}

/// An S3-compatible store.
#[derive(Clone, Default)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// `https://host:port` of another store than Amazon's.
    pub endpoint: Option<String>,
    /// Its region, `us-east-1` if left out.
    pub region: Option<String>,
    /// Access key; with none of the two the variables `AWS_…` and the machine's role are asked.
    pub access_key: Option<String>,
    /// Its secret.
    pub secret_key: Option<String>,
    /// Whether `http://` will do, as in a test.
    pub allow_http: bool,
}

/// Without the keys.
impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, endpoint, region, .. } = self;
        write!(f, "S3Config {{ bucket: {bucket:?}, endpoint: {endpoint:?}, region: {region:?}, keys: … }}")
    }
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("there is no object {0}")]
    NotFound(String),
    /// It did not answer, refused, or has no space.
    #[error("the object store failed: {0}")]
    Away(#[source] object_store::Error),
    /// The folder cannot be made or used.
    #[error("cannot use the folder {dir}: {source}; look after the disk, or name another folder")]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::NotFound(path),
            other => Self::Away(other),
        }
    }
}

/// What kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Contents,
    Results,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// 64 hexadecimal digits.
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Contents and results.
#[derive(Clone)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
    part: usize,
}

impl Store {
    /// Opens it; a folder is made if it is missing.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, Error> {
        match config {
            StoreConfig::Folder(dir) => {
                let failed = |source| Error::Folder { dir: dir.clone(), source };
                std::fs::create_dir_all(dir.join("staging")).map_err(failed)?;
                let objects = Arc::new(LocalFileSystem::new_with_prefix(dir)?.with_fsync(true));
                Ok(Self { objects, folder: Some(dir.clone()), part: PART_LOCAL })
            }
            StoreConfig::S3(s3) => {
                // Another part of the process may have chosen already, and any choice will do.
                let _ = rustls::crypto::ring::default_provider().install_default();
                Ok(Self { objects: Arc::new(bucket(s3)?), folder: None, part: PART_S3 })
            }
        }
    }

    /// Begins to store contents.
    pub(crate) fn stage(&self) -> Staged {
        Staged::new(self.clone())
    }

    /// Stores a whole object.
    pub(crate) async fn put(&self, kind: Kind, object: Bytes) -> Result<Stored, Error> {
        let sha256 = hex(digest::digest(&digest::SHA256, &object).as_ref());
        let bytes = object.len() as u64;
        if self.size(kind, &sha256).await? != Some(bytes) {
            self.objects.put(&path(kind, &sha256), PutPayload::from(object)).await?;
        }
        Ok(Stored { sha256, bytes })
    }

    /// The object, or a part of it, as a stream of pieces, and how many bytes they are.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        sha256: &str,
        range: Option<Range<u64>>,
    ) -> Result<(u64, BoxStream<'static, object_store::Result<Bytes>>), Error> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.objects.get_opts(&path(kind, sha256), options).await?;
        Ok((got.range.end - got.range.start, got.into_stream()))
    }

    /// A whole object of `bytes_max` at most; `None` when it is larger.
    pub(crate) async fn read(&self, kind: Kind, sha256: &str, bytes_max: u64) -> Result<Option<Bytes>, Error> {
        let got = self.objects.get(&path(kind, sha256)).await?;
        if got.meta.size > bytes_max {
            return Ok(None);
        }
        Ok(Some(got.bytes().await?))
    }

    /// Its bytes; `None` when it is not there.
    pub(crate) async fn size(&self, kind: Kind, sha256: &str) -> Result<Option<u64>, Error> {
        match self.objects.head(&path(kind, sha256)).await {
            Ok(there) => Ok(Some(there.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is left of uploads that broke off before `now` less a day; how many that were.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<usize, Error> {
        let old = now - STAGING_KEPT;
        match &self.folder {
            // Uploads that were not finished have names that the object store does not list.
            Some(dir) => sweep_folder(&dir.join("staging"), old),
            None => self.sweep_bucket(old).await,
        }
    }

    /// Sweeps at once, and then again and again until the service closes.
    pub(crate) async fn sweep_every(self, every: Duration, mut closing: watch::Receiver<bool>) {
        loop {
            match self.sweep(SystemTime::now()).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "what was left of uploads that broke off is removed"),
                Err(error) => tracing::warn!(%error, "what is left of uploads that broke off could not be removed"),
            }
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    async fn sweep_bucket(&self, old: SystemTime) -> Result<usize, Error> {
        let mut removed = 0;
        let mut staged = self.objects.list(Some(&Path::from("staging")));
        while let Some(object) = staged.next().await.transpose()? {
            if SystemTime::from(object.last_modified) < old {
                self.objects.delete(&object.location).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn sweep_folder(dir: &std::path::Path, old: SystemTime) -> Result<usize, Error> {
    let failed = |source| Error::Folder { dir: dir.to_owned(), source };
    let mut removed = 0;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // One that is renamed meanwhile is no leftover.
        let is_old = entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|modified| modified < old);
        if is_old && std::fs::remove_file(entry.path()).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

fn bucket(s3: &S3Config) -> Result<object_store::aws::AmazonS3, Error> {
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() };
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(&s3.bucket).with_allow_http(s3.allow_http).with_retry(retry);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = builder.with_region(s3.region.as_deref().unwrap_or("us-east-1"));
    if let (Some(access), Some(secret)) = (&s3.access_key, &s3.secret_key) {
        builder = builder.with_access_key_id(access).with_secret_access_key(secret);
    }
    Ok(builder.build()?)
}

fn path(kind: Kind, sha256: &str) -> Path {
    let folder = match kind {
        Kind::Contents => "contents",
        Kind::Results => "results",
    };
    Path::from(format!("{folder}/{}/{sha256}", sha256.get(..2).unwrap_or("00")))
}

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A bucket is opened without a word to it, over TLS too; one that is away is told of in time.
    #[tokio::test]
    async fn a_bucket_that_is_away_is_told_of() {
        let (endpoint, key) = (Some("https://127.0.0.1:1".to_owned()), Some("key".to_owned()));
        let s3 =
            S3Config { bucket: "b".into(), endpoint, access_key: key.clone(), secret_key: key, ..S3Config::default() };
        assert!(!format!("{s3:?}").contains("key\""), "keys are not shown");
        let store = Store::open(&StoreConfig::S3(s3)).unwrap();
        let began = std::time::Instant::now();
        let error = store.put(Kind::Results, Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(matches!(error, Error::Away(_)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn leftovers_are_looked_for_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::Folder(dir.path().to_owned())).unwrap();
        let closing = watch::Sender::new(false);
        let sweeps = tokio::spawn(store.sweep_every(Duration::from_millis(5), closing.subscribe()));
        for name in ["first", "second"] {
            let path = dir.path().join("staging").join(name);
            let file = std::fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - 2 * STAGING_KEPT).unwrap();
            let until = std::time::Instant::now() + Duration::from_secs(30);
            while path.exists() {
                assert!(std::time::Instant::now() < until, "{name} is never removed");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        closing.send_replace(true);
        sweeps.await.unwrap();
    }
}
