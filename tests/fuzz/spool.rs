//! A segment of the spool as a disk may give it back. Every entry handed over is one that was appended, in its place; what is
//! handed over once is handed over again.

use crate::corpus::fuzz;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use tidemark_spool::disk::{Disk, DiskFile};
use tidemark_spool::{Limits, Spool};

const SEGMENT: &str = "0000000000-0000000001000-0000000000000000.segment";
const LIMITS: Limits = Limits { bytes_max: 1 << 20, age_max_ms: i64::MAX, segment_bytes: 8 << 10 };

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in memory; nothing fails.
#[derive(Default, Clone)]
struct Memory(Arc<Mutex<BTreeMap<String, Bytes>>>);

struct MemoryFile(Bytes);

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let bytes = Bytes::new(Mutex::new(vec![0; usize::try_from(length).unwrap()]));
        self.0.lock().unwrap().insert(name.to_owned(), Arc::clone(&bytes));
        Ok(Box::new(MemoryFile(bytes)))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let bytes = self.0.lock().unwrap().get(name).cloned();
        bytes.map(|bytes| Box::new(MemoryFile(bytes)) as _).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }
    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let bytes = files.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        files.entry(to.to_owned()).or_insert(bytes);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut file, offset) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        let end = offset + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.0.lock().unwrap();
        let from = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = from.len().min(bytes.len());
        bytes[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
    fn cut(&self, from: u64, length: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        file.truncate(usize::try_from(from).unwrap());
        file.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }
}

/// What was appended as number `position` of the spool that the corpus was cut from.
fn payload(position: u64) -> Vec<u8> {
    format!("payload {position} ").repeat(1 + position as usize % 7).into_bytes()
}

/// Position and payload.
type Handed = (u64, Vec<u8>);

/// Opens the spool; positions and payloads of what it hands over, and whether it reports damage.
fn open(disk: &Memory, now: i64) -> Result<(Vec<Handed>, bool), String> {
    let mut entries = Vec::new();
    let opened = Spool::open(Arc::new(disk.clone()), LIMITS, Arc::new(move || now), &mut |entry| {
        entries.push((entry.place.position, entry.payload));
    });
    let spool = opened.map_err(|error| format!("cannot be opened: {error}"))?;
    let damaged = !spool.damage().0.is_empty();
    spool.close();
    Ok((entries, damaged))
}

fn check(segment: &[u8]) -> Result<(), String> {
    let disk = Memory::default();
    disk.create(SEGMENT, 0).unwrap().write_at(segment, 0).unwrap();
    let (entries, damaged) = open(&disk, 2_000)?;
    let mut next = 0;
    for (position, bytes) in &entries {
        if *position < next || *bytes != payload(*position) {
            return Err(format!("position {position} after {next}, with {bytes:?}"));
        }
        if *position > next && !damaged {
            return Err(format!("positions {next} to {position} are missing, and no damage is reported"));
        }
        next = position + 1;
    }
    // Whole, an entry takes more than its payload; what is neither an entry nor zeros must be told.
    let used = entries.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let left = segment.iter().rev().skip_while(|byte| **byte == 0).count();
    if entries.is_empty() && left > 128 && !damaged {
        return Err(format!("{left} bytes that are no entry, and no damage reported"));
    }
    if used > left {
        return Err(format!("{used} bytes of payload in {left}"));
    }
    let (again, _) = open(&disk, 3_000)?;
    if again == entries { Ok(()) } else { Err(format!("{} entries at first, then {}", entries.len(), again.len())) }
}

#[test]
fn spool() {
    fuzz("spool", check);
}
