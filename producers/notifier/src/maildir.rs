//! Mails as files: `tmp`, `new` and `cur` in a folder, as mail programs read them (<https://cr.yp.to/proto/maildir.html>).
//!
//! A mail is written to `tmp`, synced, and renamed into `new`, which is synced too: it is there whole or not at all, also after
//! a power cut. Its file is named after it, so a mail that is sent again takes its own place; one that a mail program has moved
//! to `cur` since comes back as new.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Error;
use crate::transport::{Letter, Outcome, Transport};

/// What has been in `tmp` for so long was left behind by a process that died; the time is that of the convention.
const LEFT_BEHIND: Duration = Duration::from_secs(36 * 3_600);

/// A folder for mails.
pub struct Maildir {
    dir: PathBuf,
    /// Tells the temporary files of this process from those of others.
    own: u64,
}

impl Maildir {
    /// Makes the folders that are missing and removes what processes that died have left in `tmp`.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        for part in ["tmp", "new", "cur"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
        remove_left_behind(&dir.join("tmp"));
        Ok(Self { dir: dir.to_owned(), own: fastrand::u64(..) })
    }

    fn put(&self, letter: &Letter) -> std::io::Result<()> {
        // Mail programs sort by the seconds in front.
        let name = format!("{}.{}", letter.at.div_euclid(1_000), letter.name);
        let temporary = self.dir.join("tmp").join(format!("{:016x}", self.own));
        let new = self.dir.join("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&unix_lines(&letter.bytes))?;
        file.sync_all()?;
        fs::rename(&temporary, new.join(name))?;
        File::open(&new)?.sync_all()
    }
}

impl Transport for Maildir {
    fn send(&mut self, letter: &Letter) -> Outcome {
        match self.put(letter) {
            Ok(()) => Outcome::Sent,
            Err(error) => Outcome::Away(format!("the maildir {} takes no mail: {error}", self.dir.display())),
        }
    }
}

/// Mail programs want line feeds alone in files.
fn unix_lines(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\r' || rest.peek() != Some(&b'\n') {
            lines.push(byte);
        }
    }
    lines
}

/// Best effort: a file that stays does no harm.
fn remove_left_behind(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
