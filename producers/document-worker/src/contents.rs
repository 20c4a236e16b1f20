//! Fetches a document.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ring::digest::{Context, SHA256};

use crate::backoff::Backoff;
use crate::client::{Client, Error};
use crate::executor::{Cancelled, Running};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::wire::Document;

/// Contents that are not what was promised so many times are damaged where they are kept.
const TRANSFERS: u32 = 3;
/// How often somebody who waits looks whether the task is given up.
const LOOK: Duration = Duration::from_millis(50);
const CHUNK: usize = 64 << 10;

/// Why there are no contents. It is never the document's fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotFetched {
    /// The task is given up, or the worker is asked to stop while the service is away.
    Cancelled(Cancelled),
    /// Another try here would not help: why, for people.
    Refused(String),
}

/// Fetches one document.
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) document: &'a Document,
    /// The file for its contents.
    pub(crate) into: &'a Path,
    pub(crate) running: &'a Running,
    pub(crate) stop: &'a Stop,
    /// The longest pause before the service is asked again.
    pub(crate) pause_max: Duration,
    /// Told how it goes on.
    pub(crate) at: &'a dyn Fn(&str),
}

/// How one transfer failed.
#[derive(Debug)]
enum Failure {
    /// The service is away, or has broken off.
    Away(String, Option<Duration>),
    /// These are not the contents that were promised.
    Wrong(String),
    /// They cannot be kept here, or the service will never give them.
    Final(String),
    Cancelled(Cancelled),
}

impl Fetch<'_> {
    /// Puts the contents into the file, a chunk at a time, and checks size and hash. While the service is away, and when a transfer
    /// breaks off, it is asked again and again, and the lease is kept: to give the task back would only bring it to a worker that has
    /// the same service.
    ///
    /// # Errors
    /// Contents that are wrong three times or not there, a file that cannot be written, a task that is given up.
    pub(crate) fn run(&self) -> Result<(), NotFetched> {
        let (mut backoff, mut wrong, mut progress) = (Backoff::new(self.pause_max), 0, Progress::of_fetching(self.at));
        for tried in 0_u64.. {
            let (why, asked) = match self.transfer(&mut progress) {
                Ok(()) => break,
                Err(Failure::Cancelled(why)) => return Err(NotFetched::Cancelled(why)),
                Err(Failure::Final(why)) => return Err(refused(&why)),
                Err(Failure::Away(why, asked)) => (why, asked),
                Err(Failure::Wrong(why)) => {
                    wrong += 1;
                    if wrong == TRANSFERS {
                        return Err(refused(&format!("{why} ({TRANSFERS} transfers)")));
                    }
                    (why, None)
                }
            };
            if tried == 0 {
                tracing::warn!(
                    file_id = self.document.file_id,
                    why,
                    "contents cannot be read at once; it is tried again"
                );
            }
            progress.goes_on(0, Instant::now());
            self.wait(backoff.next(asked)).map_or(Ok(()), |why| Err(NotFetched::Cancelled(why)))?;
        }
        Ok(())
    }

    fn transfer(&self, progress: &mut Progress<'_>) -> Result<(), Failure> {
        let answer = self.client.contents(&self.document.file_id);
        let mut contents = answer.map_err(|error| match error {
            Error::Away { retry_after, .. } => Failure::Away(error.to_string(), retry_after),
            Error::Missing(_) | Error::Refused(_) | Error::Stale(_) => Failure::Final(error.to_string()),
        })?;
        self.copy(&mut contents, progress)
    }

    fn copy(&self, contents: &mut impl Read, progress: &mut Progress<'_>) -> Result<(), Failure> {
        let disk =
            |error: std::io::Error| Failure::Final(format!("cannot write them to {}: {error}", self.into.display()));
        let mut file = File::create(self.into).map_err(disk)?;
        let (mut hash, mut bytes, mut chunk) = (Context::new(&SHA256), 0, vec![0; CHUNK]);
        loop {
            let read = read(contents, &mut chunk)
                .map_err(|error| Failure::Away(format!("they broke off after {bytes} bytes: {error}"), None))?;
            bytes += read.len() as u64;
            if let Some(why) = self.running.cancelled() {
                return Err(Failure::Cancelled(why));
            } else if bytes > self.document.bytes || (read.is_empty() && bytes < self.document.bytes) {
                return Err(Failure::Wrong(format!("they have not the {} bytes that were told", self.document.bytes)));
            } else if read.is_empty() {
                break;
            }
            hash.update(read);
            file.write_all(read).map_err(disk)?;
            progress.goes_on(read.len() as u64, Instant::now());
        }
        let hash: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if hash == self.document.file_id {
            return Ok(());
        }
        Err(Failure::Wrong(format!("their hash is {hash}: they are damaged")))
    }

    /// Waits for `pause`, or until there is a reason not to try again. What is in hand when the worker is asked to stop is finished if
    /// it can be; what waits for a service that is away cannot.
    fn wait(&self, pause: Duration) -> Option<Cancelled> {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let cancelled = self.running.wait(left.min(LOOK));
            let stopping = (self.stop.asked() > 0).then_some(Cancelled::Stopping);
            if cancelled.or(stopping).is_some() || left.is_zero() {
                return cancelled.or(stopping);
            }
        }
    }
}

/// Gives what has come; a call that a signal broke into is made again.
fn read<'a>(contents: &mut impl Read, chunk: &'a mut [u8]) -> std::io::Result<&'a [u8]> {
    loop {
        match contents.read(chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            count => return Ok(chunk.get(..count?).unwrap_or_default()),
        }
    }
}

fn refused(why: &str) -> NotFetched {
    NotFetched::Refused(format!("cannot read the contents: {why}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::progress::BYTES;

    /// What becomes of `contents` for which this is promised, and the names that the queue hears.
    fn copied(contents: impl Read, bytes: u64, file_id: &str, into: &Path) -> (Result<(), Failure>, Vec<String>) {
        let document = Document { file_id: file_id.into(), name: "a".into(), media_type: "b".into(), bytes };
        let named = RefCell::new(Vec::new());
        let at = |name: &str| named.borrow_mut().push(name.to_owned());
        let fetch = Fetch {
            client: &Client::new("http://127.0.0.1:1", None, 1),
            document: &document,
            into,
            running: &Running::default(),
            stop: &Stop::new(),
            pause_max: Duration::ZERO,
            at: &at,
        };
        let copied = fetch.copy(&mut { contents }, &mut Progress::of_fetching(&at));
        (copied, named.into_inner())
    }

    #[test]
    fn only_what_was_promised_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("contents");
        let copied = |contents: &[u8], bytes, file_id: &str| copied(contents, bytes, file_id, &into).0;
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(copied(b"abc", 3, abc).is_ok() && std::fs::read(&into).unwrap() == b"abc");
        assert!(matches!(copied(b"abd", 3, abc), Err(Failure::Wrong(why)) if why.contains("damaged")));
        for bytes in [2, 4] {
            let wanted = format!("they have not the {bytes} bytes that were told");
            assert!(matches!(copied(b"abc", bytes, abc), Err(Failure::Wrong(why)) if why == wanted));
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(copied(b"", 0, empty).is_ok());
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }

    /// The first is mended by another try, the second is not.
    #[test]
    fn a_broken_line_is_not_a_disk_that_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let broken = copied((&b"a"[..]).chain(Broken), 3, "", &directory.path().join("contents")).0;
        assert!(matches!(broken, Err(Failure::Away(why, None)) if why == "they broke off after 1 bytes: gone"));
        let full = copied(&b"abc"[..], 3, "", Path::new("/dev/full")).0;
        assert!(matches!(full, Err(Failure::Final(why)) if why.starts_with("cannot write them to /dev/full: ")));
    }

    #[test]
    fn a_large_document_is_named_as_it_comes() {
        let bytes = 2 * BYTES + 1;
        let (copied, named) = copied(std::io::repeat(0).take(bytes), bytes, "", Path::new("/dev/null"));
        assert!(matches!(copied, Err(Failure::Wrong(_))), "the hash is another");
        assert_eq!(named.get(..3).unwrap(), ["", "#1", "#2"]);
    }
}
