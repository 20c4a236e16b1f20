//! The file operations that a spool needs: few, so that tests can make each of them fail.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A directory of files. Names have no separators.
pub trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a file of `length` zero bytes, in place of one that may be there. It is durable once it is synced, renamed and
    /// the directory is synced.
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to read it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of a file that may have it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives a file a second name; it is no error when that is taken.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes`; after an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `bytes` from `offset` on; says how many bytes there were before the file's end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the contents durable. After an error nothing is known of what was written since the last sync, and another sync
    /// that succeeds proves nothing (Linux forgets pages that it could not write).
    fn sync(&self) -> io::Result<()>;
    /// Bytes of the file.
    fn length(&self) -> io::Result<u64>;
    /// Throws away what stands at `from` and after, and makes the file `length` long again with zeros there.
    fn cut(&self, from: u64, length: u64) -> io::Result<()>;
}

/// Why a directory cannot be a spool's.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The file system refused.
    #[error(
        "cannot use {path} for the spool: {source}; check that the directory exists and may be written, or name another"
    )]
    Io {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("{path} is in use by another process; stop it, or name another directory for the spool")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
}

/// A directory of the file system, locked as long as this lives.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    _lock: File,
}

/// Holds the lock; never listed as a part of the spool.
const LOCK: &str = "lock";

impl Dir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be made or written, or another process holds it.
    pub fn claim(path: &Path) -> Result<Self, DirError> {
        let io = |source| DirError::Io { path: path.into(), source };
        let parents = parents(path, Path::exists);
        fs::create_dir_all(path).map_err(io)?;
        // A directory whose name is lost with the power takes everything in it along.
        parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all()).map_err(io)?;
        let lock = File::create(path.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DirError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The directories that get a new name when `path` is made with all that is missing above it.
fn parents(path: &Path, exists: impl Fn(&Path) -> bool) -> Vec<&Path> {
    let missing = path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !exists(part));
    let here = Path::new(".");
    missing.filter_map(Path::parent).map(|parent| if parent.as_os_str().is_empty() { here } else { parent }).collect()
}

impl Disk for Dir {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.path.join(name))?;
        // Sparse: the disk that measurements were made on writes no faster into blocks that were allocated or zeroed before.
        file.set_len(length)?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        match fs::hard_link(self.path.join(from), self.path.join(to)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(left) = bytes.get_mut(filled..).filter(|left| !left.is_empty()) {
            match FileExt::read_at(self, left, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&self, from: u64, length: u64) -> io::Result<()> {
        self.set_len(from)?;
        self.set_len(length)?;
        self.sync_all()
    }
}

/// All bytes of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Bytes that are read at once around those that cannot be.
const BLOCK: usize = 512;
/// Stands for bytes that cannot be read. Not zero, which would look like bytes that were never written.
const UNREADABLE: u8 = 0xff;

/// Whether the error says that bytes of the disk are gone, rather than that the moment is bad: EIO; EBADMSG and EUCLEAN of file
/// systems with checksums; ENODATA and EILSEQ of the block layer.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| matches!(code, 5 | 61 | 74 | 84 | 117))
}

/// All bytes of a file; in place of blocks that the disk does not give, others.
pub(crate) fn read_readable(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    match read_all(file) {
        Err(error) if is_unreadable(&error) => {}
        other => return other,
    }
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    for (at, block) in (0..).step_by(BLOCK).zip(bytes.chunks_mut(BLOCK)) {
        match file.read_at(block, at) {
            Ok(_) => {}
            Err(error) if is_unreadable(&error) => block.fill(UNREADABLE),
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Puts a small file in place of another, durable on return: never half of it.
pub fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    let file = disk.create(&new, bytes.len() as u64)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&new, name)?;
    disk.sync()
}

/// A small file, if it is there.
pub fn read(disk: &dyn Disk, name: &str) -> io::Result<Option<Vec<u8>>> {
    match disk.open(name) {
        Ok(file) => read_all(&*file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parents_of_what_is_missing_are_known() {
        for (path, there, expected) in [
            ("/var/lib/spool/keys", "/var/lib", vec!["/var/lib/spool", "/var/lib"]),
            ("/var/lib/spool/keys", "/var/lib/spool/keys", vec![]),
            ("a/b", "", vec!["a", "."]),
        ] {
            let found = parents(Path::new(path), |part| Path::new(there).starts_with(part));
            assert_eq!(found, expected.into_iter().map(Path::new).collect::<Vec<_>>(), "{path}");
        }
    }
}
