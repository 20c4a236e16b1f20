//! Where checkpoint files are: the thin edge to the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Files in directories of one level. What was not synced may be gone after a crash, in part or as a whole.
pub trait Storage: Send + Sync {
    /// Names of the files in a directory; none when there is no such directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// A whole file.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn read(&self, dir: &str, name: &str) -> io::Result<Vec<u8>>;

    /// Adds to a file, which is made when it is not there.
    ///
    /// # Errors
    /// The disk is full or broken.
    fn append(&self, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes the contents of a file durable.
    ///
    /// # Errors
    /// They may be gone.
    fn sync(&self, dir: &str, name: &str) -> io::Result<()>;

    /// Puts a file into another's place at once, durably: after a crash it is the one or the other. Names of files that were
    /// synced before are durable as well then.
    ///
    /// # Errors
    /// It may be either.
    fn replace(&self, dir: &str, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; it may be there again after a crash.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, dir: &str, name: &str) -> io::Result<()>;

    /// Whether checkpoints are written on a thread of their own. A simulation, which has one thread, says no.
    fn is_slow(&self) -> bool {
        true
    }
}

/// The file system.
#[derive(Debug)]
pub struct DiskStorage {
    root: PathBuf,
}

impl DiskStorage {
    /// Directories are made under `root`, when they are first written to.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, dir: &str, name: &str) -> PathBuf {
        self.root.join(dir).join(name)
    }
}

impl Storage for DiskStorage {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, dir: &str, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(dir, name))
    }

    fn append(&self, dir: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(dir, name);
        let open = || OpenOptions::new().create(true).append(true).open(&path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.root.join(dir))?;
                open()?
            }
            other => other?,
        };
        file.write_all(bytes)
    }

    fn sync(&self, dir: &str, name: &str) -> io::Result<()> {
        File::open(self.path(dir, name))?.sync_all()
    }

    fn replace(&self, dir: &str, from: &str, to: &str) -> io::Result<()> {
        let sync_dir = || File::open(self.root.join(dir))?.sync_all();
        // Before the rename: the files that the new one names must not be lost while it is kept.
        sync_dir()?;
        fs::rename(self.path(dir, from), self.path(dir, to))?;
        sync_dir()
    }

    fn remove(&self, dir: &str, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(dir, name))
    }
}
