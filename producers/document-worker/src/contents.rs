//! Fetches a document.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use crate::backoff::Backoff;
use crate::client::{Client, Error};
use crate::executor::Running;
use crate::wire::Document;

const TRIES: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CHUNK: usize = 64 << 10;

/// Puts the contents of a document into the file `into`, a chunk at a time, and checks size and hash. Up to three tries.
///
/// # Errors
/// Why not, for people. It is never the document's fault. A task that is given up ends it early.
pub(crate) fn fetch(client: &Client, document: &Document, into: &Path, running: &Running) -> Result<(), String> {
    let mut backoff = Backoff::new(PAUSE_MAX);
    let mut tried = 1;
    loop {
        let why = match client.contents(&document.file_id) {
            Ok(mut contents) => match copy(&mut contents, document, into, running) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            Err(error @ Error::Away { .. }) => error.to_string(),
            Err(error) => return Err(format!("cannot read the contents: {error}")),
        };
        if tried == TRIES || running.wait(backoff.next(None)).is_some() {
            return Err(format!("cannot read the contents: {why} ({tried} tries)"));
        }
        tried += 1;
    }
}

fn copy(contents: &mut impl Read, document: &Document, into: &Path, running: &Running) -> Result<(), String> {
    let disk = |error: std::io::Error| format!("cannot write them to {}: {error}", into.display());
    let mut file = File::create(into).map_err(disk)?;
    let (mut hash, mut bytes, mut chunk) = (Context::new(&SHA256), 0, vec![0; CHUNK]);
    loop {
        let count =
            contents.read(&mut chunk).map_err(|error| format!("they broke off after {bytes} bytes: {error}"))?;
        let read = chunk.get(..count).unwrap_or_default();
        bytes += read.len() as u64;
        if bytes > document.bytes || (read.is_empty() && bytes < document.bytes) {
            return Err(format!("they have not the {} bytes that were told", document.bytes));
        } else if running.cancelled().is_some() {
            return Err("the task was given up".into());
        } else if read.is_empty() {
            break;
        }
        hash.update(read);
        file.write_all(read).map_err(disk)?;
    }
    let hash: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if hash == document.file_id { Ok(()) } else { Err(format!("their hash is {hash}: they are damaged")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(contents: &[u8], bytes: u64, file_id: &str) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let document = Document { file_id: file_id.into(), name: "a".into(), media_type: "b".into(), bytes };
        let into = directory.path().join("contents");
        let copied = copy(&mut &*contents, &document, &into, &Running::default());
        if copied.is_ok() {
            assert_eq!(std::fs::read(into).unwrap(), contents);
        }
        copied
    }

    #[test]
    fn only_what_was_promised_is_taken() {
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(copied(b"abc", 3, abc), Ok(()));
        assert!(copied(b"abd", 3, abc).unwrap_err().contains("damaged"));
        for bytes in [2, 4] {
            assert_eq!(copied(b"abc", bytes, abc), Err(format!("they have not the {bytes} bytes that were told")));
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(copied(b"", 0, empty), Ok(()));
    }
}
