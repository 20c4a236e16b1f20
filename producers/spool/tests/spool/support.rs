//! A disk in memory: what is not synced is lost at a crash, in part or whole, torn at any byte.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use tidemark_spool::disk::{Disk, DiskFile};
use tidemark_spool::{Clock, Entry, Error, Limits, Place, Reader, Spool};

pub(crate) const LIMITS: Limits = Limits { bytes_max: 1 << 30, age_max_ms: i64::MAX, segment_bytes: 600 };

#[derive(Default, Clone)]
struct File {
    /// As it is on the platters.
    durable: Vec<u8>,
    /// As everybody sees it.
    seen: Vec<u8>,
    /// Where it was written since the last sync, in order.
    writes: Vec<(usize, usize)>,
}

#[derive(Default)]
struct Contents {
    files: Vec<File>,
    /// Names as everybody sees them, and as they were last synced.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Operations until the next fault.
    fuse: Option<(usize, Fault)>,
    failed: usize,
    dead: bool,
    /// Bytes that cannot be read, by file.
    unreadable: Vec<(usize, usize)>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An operation fails; a write does half.
    Once(io::ErrorKind),
    /// Every one from then on: the machine is off.
    Crash,
    /// Every one from then on until it is mended.
    Broken(io::ErrorKind),
    /// A sync fails, its data are lost, and later syncs succeed all the same: Linux until 4.13, and most since.
    LyingSync,
}

#[derive(Clone, Default)]
pub(crate) struct MemDisk(Arc<Mutex<Contents>>);

struct MemFile(MemDisk, usize);

impl MemDisk {
    /// After so many operations more this goes wrong.
    pub(crate) fn arm(&self, operations: usize, fault: Fault) {
        self.0.lock().unwrap().fuse = Some((operations, fault));
    }

    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().fuse = None;
    }

    /// Faults met so far.
    pub(crate) fn failed(&self) -> usize {
        self.0.lock().unwrap().failed
    }

    /// The disk after the power went: synced data, and of the rest what `random` says, torn at any byte.
    pub(crate) fn after_crash(&self, random: &mut fastrand::Rng) -> Self {
        let mut contents = self.0.lock().unwrap();
        contents.dead = true;
        let names = if random.bool() { &contents.names } else { &contents.durable_names };
        let (mut files, mut kept) = (Vec::new(), BTreeMap::new());
        for (name, at) in names {
            let durable = survivors(&contents.files[*at], random);
            kept.insert(name.clone(), files.len());
            files.push(File { seen: durable.clone(), durable, writes: Vec::new() });
        }
        let after = Contents { files, durable_names: kept.clone(), names: kept, ..Contents::default() };
        Self(Arc::new(Mutex::new(after)))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().names.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let contents = self.0.lock().unwrap();
        contents.files[contents.names[name]].seen.clone()
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn set(&self, name: &str, bytes: Vec<u8>) {
        let mut contents = self.0.lock().unwrap();
        let at = contents.names[name];
        contents.files[at] = File { durable: bytes.clone(), seen: bytes, writes: Vec::new() };
    }

    /// A copy of everything.
    pub(crate) fn copy(&self) -> Self {
        let contents = self.0.lock().unwrap();
        let (files, names) = (contents.files.clone(), contents.names.clone());
        let copy = Contents { files, durable_names: names.clone(), names, ..Contents::default() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// A byte of a file can no longer be read.
    pub(crate) fn spoil(&self, name: &str, at: usize) {
        let mut contents = self.0.lock().unwrap();
        let file = contents.names[name];
        contents.unreadable.push((file, at));
    }

    pub(crate) fn heal(&self) {
        self.0.lock().unwrap().unreadable.clear();
    }

    pub(crate) fn remove_now(&self, name: &str) {
        let mut contents = self.0.lock().unwrap();
        contents.names.remove(name);
        contents.durable_names.remove(name);
    }
}

/// Synced bytes, and of each unsynced write a prefix, or sectors of it.
fn survivors(file: &File, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = file.durable.clone();
    bytes.resize(file.seen.len().max(bytes.len()), 0);
    for (from, to) in &file.writes {
        match random.u8(..3) {
            0 => {
                let end = random.usize(*from..=*to).min(file.seen.len());
                bytes[*from..end.max(*from)].copy_from_slice(&file.seen[*from..end.max(*from)]);
            }
            1 => {
                for start in (from / 512 * 512..*to).step_by(512).filter(|_| random.bool()) {
                    let sector = start.max(*from)..(start + 512).min(*to).min(file.seen.len());
                    bytes[sector.clone()].copy_from_slice(&file.seen[sector]);
                }
            }
            _ => {}
        }
    }
    bytes
}

impl Contents {
    /// Counts an operation; `Some` when it fails.
    fn trip(&mut self) -> Option<Fault> {
        if self.dead {
            return Some(Fault::Crash);
        }
        let (left, fault) = self.fuse.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.failed += 1;
        let fault = *fault;
        if matches!(fault, Fault::Once(_) | Fault::LyingSync) {
            self.fuse = None;
        }
        Some(fault)
    }

    fn operate(&mut self) -> io::Result<()> {
        self.trip().map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Once(kind) | Self::Broken(kind) => kind.into(),
            Self::Crash | Self::LyingSync => io::Error::other("injected"),
        }
    }
}

impl Disk for MemDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut contents = self.0.lock().unwrap();
        contents.operate()?;
        let at = contents.files.len();
        let zeros = vec![0; length as usize];
        contents.files.push(File { durable: Vec::new(), seen: zeros, writes: Vec::new() });
        contents.names.insert(name.to_owned(), at);
        Ok(Box::new(MemFile(self.clone(), at)))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let contents = self.0.lock().unwrap();
        let at = contents.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemFile(self.clone(), at)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.operate()?;
        let at = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.names.insert(to.to_owned(), at);
        Ok(())
    }
    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        let at = contents.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        contents.names.entry(to.to_owned()).or_insert(at);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.operate()?;
        contents.names.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync(&self) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.operate()?;
        contents.durable_names = contents.names.clone();
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        let fault = contents.trip();
        let half = if fault.is_some() { bytes.len() / 2 } else { bytes.len() };
        let file = &mut contents.files[self.1];
        let (from, to) = (offset as usize, offset as usize + half);
        file.seen.resize(file.seen.len().max(to), 0);
        file.seen[from..to].copy_from_slice(&bytes[..half]);
        file.writes.push((from, to));
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.0.lock().unwrap();
        let asked = offset as usize..offset as usize + bytes.len();
        if contents.unreadable.iter().any(|(file, at)| *file == self.1 && asked.contains(at)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let seen = contents.files[self.1].seen.get(offset as usize..).unwrap_or_default();
        let read = seen.len().min(bytes.len());
        bytes[..read].copy_from_slice(&seen[..read]);
        Ok(read)
    }
    fn sync(&self) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        let fault = contents.trip();
        let file = &mut contents.files[self.1];
        if fault == Some(Fault::LyingSync) {
            file.writes.clear(); // the pages are clean now, and were never written
        }
        fault.map_or(Ok(()), |fault| Err(fault.error()))?;
        for (from, to) in std::mem::take(&mut file.writes) {
            file.durable.resize(file.durable.len().max(to), 0);
            file.durable[from..to].copy_from_slice(&file.seen[from..to]);
        }
        file.durable.resize(file.seen.len(), 0);
        Ok(())
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().files[self.1].seen.len() as u64)
    }
    fn cut(&self, from: u64, length: u64) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        contents.operate()?;
        let file = &mut contents.files[self.1];
        for bytes in [&mut file.seen, &mut file.durable] {
            bytes.truncate(from as usize);
            bytes.resize(length as usize, 0);
        }
        file.writes.clear();
        Ok(())
    }
}

pub(crate) fn clock(at: i64) -> Clock {
    Arc::new(move || at)
}

pub(crate) fn open(disk: &MemDisk) -> Arc<Spool> {
    open_at(disk, 1_000)
}

pub(crate) fn open_at(disk: &MemDisk, now: i64) -> Arc<Spool> {
    Spool::open(Arc::new(disk.clone()), LIMITS, clock(now), &mut drop).unwrap()
}

pub(crate) fn append(spool: &Spool, payload: &str) -> Result<(), Error> {
    spool.append(payload.as_bytes().to_vec(), 1)?.blocking_recv().unwrap().map(drop)
}

pub(crate) fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.payload.clone()).unwrap()).collect()
}

pub(crate) fn all(spool: &Arc<Spool>) -> Vec<Entry> {
    Reader::new(Arc::clone(spool)).read(u64::MAX).unwrap()
}

pub(crate) fn after(entry: &Entry) -> Place {
    Place { run: entry.place.run, position: entry.place.position + 1 }
}
