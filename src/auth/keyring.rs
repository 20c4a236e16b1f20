//! The tokens that are good now: read at the start, and again when their file changes.

use super::file::{self, Tokens};
use super::roles::{Caller, Role};
use super::token::{NoRandom, Token};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// How often the file is looked at: what is revoked is refused, and its live streams are cut, so much later at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why tokens cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(
        "cannot read the tokens in {path}: {source}; make the first with: tidemark token new NAME --role query --file {path}"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no file of tokens.
    #[error("{path}: {source}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: file::Error,
    },
    /// No token could be made for this process itself.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Which contents a file has, without reading them.
type Stamp = (SystemTime, u64, u64);

/// The tokens of a process.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    read: RwLock<Tokens>,
    own: Token,
}

impl Keyring {
    /// Reads the tokens.
    ///
    /// # Errors
    /// The file cannot be read or is no file of tokens.
    pub fn open(path: &Path) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { path: path.to_owned(), read: RwLock::new(read(path)?), own: Token::random()? }))
    }

    /// A token of this process and the workers that it starts, for what they send to it: it may publish and work.
    pub fn own(&self) -> &Token {
        &self.own
    }

    /// Whose token it is, if it is good now.
    pub fn find(&self, token: &Token) -> Option<Caller> {
        if self.own.hash().same(token.hash()) {
            return Some(Caller { name: "this-process".into(), roles: vec![Role::Publish, Role::Work] });
        }
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.find(token, now()).map(|entry| entry.caller.clone())
    }

    /// Ready when `token` is no longer good.
    pub async fn revoked(self: Arc<Self>, token: Token) {
        while self.find(&token).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the file again whenever it changes, for ever. One that cannot be read changes nothing: what was good stays good
    /// while somebody edits, and it is tried again until it can be.
    pub async fn follow(self: Arc<Self>) {
        let mut watch = Watch { seen: stamp(&self.path).ok(), told: None };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let keyring = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                if let Some(tokens) = watch.look(stamp(&keyring.path).ok(), || read(&keyring.path)) {
                    let count = tokens.entries().len();
                    tracing::info!(path = %keyring.path.display(), tokens = count, "tokens read again");
                    *keyring.read.write().unwrap_or_else(PoisonError::into_inner) = tokens;
                }
                watch
            });
            // It does not panic; had it, everything would be read again.
            watch = looked.await.unwrap_or_default();
        }
    }
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Watch {
    /// When it was last read with success.
    seen: Option<Stamp>,
    /// Why it could not be read since, so that each reason is told once.
    told: Option<String>,
}

impl Watch {
    /// The tokens, if the file is other than when it was last read. A read that fails leaves that open: the contents may be
    /// the same next time, and still unread.
    fn look(&mut self, now: Option<Stamp>, read: impl FnOnce() -> Result<Tokens, Error>) -> Option<Tokens> {
        if now == self.seen {
            return None;
        }
        match read() {
            Ok(tokens) => {
                *self = Self { seen: now, told: None };
                Some(tokens)
            }
            Err(error) => {
                let why = error.to_string();
                if self.told.as_ref() != Some(&why) {
                    tracing::error!(error = why, "tokens were not read again; the old ones stay good until they are");
                    self.told = Some(why);
                }
                None
            }
        }
    }
}

fn read(path: &Path) -> Result<Tokens, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
    Tokens::parse(&text).map_err(|source| Error::Content { path: path.into(), source })
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.modified()?, meta.len(), meta.ino()))
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_is_read_again_though_it_did_not_change() {
        let stamp = |length| Some((SystemTime::UNIX_EPOCH, length, 1));
        let mut watch = Watch { seen: stamp(1), told: None };
        let failed = || Err(Error::Random(NoRandom));
        assert!(watch.look(stamp(1), || unreachable!("not changed")).is_none());
        assert!(watch.look(stamp(2), failed).is_none());
        assert!(watch.look(stamp(2), || Ok(Tokens::default())).is_some());
        assert!(watch.look(stamp(2), || unreachable!("read already")).is_none());
        assert!(watch.look(None, failed).is_none());
        assert!(watch.look(stamp(3), || Ok(Tokens::default())).is_some());
    }
}
