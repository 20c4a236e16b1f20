//! Whether a ZIP archive is whole and no bomb. Every entry is inflated to nowhere, which checks its checksum; what is inflated is bounded
//! by what has come out so far, never by what the archive says of itself.

use std::io::{self, Cursor, Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::fault::{Fault, document, failed};
use crate::input::Context;

/// The most bytes that an archive may hold, archives within it included.
const INFLATED_MAX: u64 = 256 << 20;
/// The most bytes that one byte of an archive may stand for. Text of office documents comes to 10 to 30; deflate allows 1,032.
const RATIO_MAX: u64 = 200;
/// Below this nobody is hurt, whatever the ratio.
const RATIO_FROM: u64 = 4 << 20;
/// The most entries.
const ENTRIES_MAX: usize = 10_000;
/// The most archives within one another; a document may embed another document.
const DEPTH_MAX: usize = 2;
/// The largest archive within another that is looked into; it is held in memory.
const NESTED_MAX: u64 = 16 << 20;

pub(super) fn starts(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// The names of the entries, in the order of the central directory.
pub(super) fn check(context: &Context) -> Result<Vec<String>, Fault> {
    let file = context.open()?;
    let bytes = file.metadata().map_err(|error| failed(format!("cannot read the contents: {error}")))?.len();
    let mut budget = Budget { archive: bytes, inflated: 0 };
    Ok(budget.check(io::BufReader::new(file), 0)?)
}

/// Why an archive is refused.
enum Refused {
    Bomb(String),
    Broken(Fault),
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Bomb(why) => document(format!("the ZIP archive is refused as a zip bomb: {why}")),
            Refused::Broken(fault) => fault,
        }
    }
}

/// How much has come out of an archive of that size.
struct Budget {
    archive: u64,
    inflated: u64,
}

impl Budget {
    fn check<R: Read + Seek>(&mut self, reader: R, depth: usize) -> Result<Vec<String>, Refused> {
        if depth > DEPTH_MAX {
            return Err(bomb(format!("it holds archives within one another, more than {DEPTH_MAX} deep")));
        }
        let mut archive = ZipArchive::new(reader).map_err(|error| broken(&error))?;
        if archive.len() > ENTRIES_MAX {
            return Err(bomb(format!("it has {} entries; the most is {ENTRIES_MAX}", archive.len())));
        }
        self.declared(archive.decompressed_size())?;
        let mut names = Vec::with_capacity(archive.len());
        for index in 0..archive.len() {
            names.push(self.entry(&mut archive, index, depth)?);
        }
        Ok(names)
    }

    /// What the archive says of itself is believed only when it speaks against it.
    fn declared(&self, declared: Option<u128>) -> Result<(), Refused> {
        match declared {
            Some(bytes) if bytes > u128::from(INFLATED_MAX) => {
                Err(bomb(format!("its {} bytes say that they hold {bytes}; the most is {INFLATED_MAX}", self.archive)))
            }
            _ => Ok(()),
        }
    }

    fn entry<R: Read + Seek>(
        &mut self,
        archive: &mut ZipArchive<R>,
        index: usize,
        depth: usize,
    ) -> Result<String, Refused> {
        let mut entry = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let mut kept = None;
        let mut piece = vec![0; 32 << 10];
        loop {
            let count = entry.read(&mut piece).map_err(|error| {
                Refused::Broken(document(format!(
                    "the ZIP archive is broken: entry {name:?}: {error}; upload it again"
                )))
            })?;
            if count == 0 {
                break;
            }
            self.took(count as u64)?;
            keep(&mut kept, piece.get(..count).unwrap_or_default())?;
        }
        self.within(kept.flatten(), depth)?;
        Ok(name)
    }

    /// Looks into an archive within the archive. One that is broken harms nobody: it is not read.
    fn within(&mut self, kept: Option<Vec<u8>>, depth: usize) -> Result<(), Refused> {
        let Some(bytes) = kept else { return Ok(()) };
        match self.check(Cursor::new(bytes), depth + 1) {
            Err(Refused::Bomb(why)) => Err(Refused::Bomb(why)),
            Err(Refused::Broken(_)) | Ok(_) => Ok(()),
        }
    }

    fn took(&mut self, bytes: u64) -> Result<(), Refused> {
        self.inflated += bytes;
        if self.inflated > INFLATED_MAX {
            return Err(bomb(format!("its {} bytes inflate to more than {INFLATED_MAX}, the most", self.archive)));
        }
        if self.inflated > RATIO_FROM && self.inflated / self.archive.max(1) > RATIO_MAX {
            return Err(bomb(format!("it inflates to more than {RATIO_MAX} times its {} bytes", self.archive)));
        }
        Ok(())
    }
}

/// Keeps what an entry holds only when it begins as an archive does.
fn keep(kept: &mut Option<Option<Vec<u8>>>, piece: &[u8]) -> Result<(), Refused> {
    let Some(kept) = kept.get_or_insert_with(|| starts(piece).then(Vec::new)) else { return Ok(()) };
    kept.extend_from_slice(piece);
    if kept.len() as u64 > NESTED_MAX {
        return Err(bomb(format!("an archive within it is larger than {NESTED_MAX} bytes, the most")));
    }
    Ok(())
}

fn bomb(why: String) -> Refused {
    Refused::Bomb(why)
}

fn broken(error: &ZipError) -> Refused {
    Refused::Broken(match error {
        ZipError::Io(error) => document(format!("the ZIP archive is broken: {error}; upload it again")),
        ZipError::InvalidArchive(why) if why.contains("EOCD") => document(
            "the ZIP archive is broken: no central directory at its end; it was probably cut off, upload it again",
        ),
        ZipError::UnsupportedArchive(why) if why.to_ascii_lowercase().contains("password") => {
            document("the ZIP archive is encrypted and needs a password; upload it without one")
        }
        ZipError::UnsupportedArchive(why) => document(format!("the ZIP archive cannot be read: {why}")),
        ZipError::CompressionMethodNotSupported(method) => {
            document(format!("the ZIP archive cannot be read: compression method {method} is not used in DOCX"))
        }
        error => document(format!("the ZIP archive is broken: {error}; upload it again")),
    })
}
