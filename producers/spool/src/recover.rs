//! What is found when a spool is opened.

use std::io;

use uuid::Uuid;

use crate::depth::{Depth, Times};
use crate::disk::{self, Disk};
use crate::frame::{Framing, HEADER, Header, OVERHEAD};
use crate::scan::{Kind, Scan, Step};
use crate::segment::{self, Place, Segment};
use crate::{Damage, Entry, released};

/// Holds the spool's id.
const ID: &str = "spool";

/// A spool as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(crate) segments: Vec<Segment>,
    /// The position after the last.
    pub(crate) next: u64,
    pub(crate) depth: Depth,
    pub(crate) times: Times,
    /// Entries before it are released, and in neither of the two.
    pub(crate) counted_from: Place,
    pub(crate) damage: Vec<Damage>,
}

/// Reads every segment and hands over every entry that is whole, in order.
pub(crate) fn recover(disk: &dyn Disk, segment_bytes: u64, visit: &mut dyn FnMut(Entry)) -> io::Result<Found> {
    let segments = segment::list(disk)?;
    let id = id(disk, &segments)?;
    let next = segments.first().map_or(0, |segment| segment.first);
    let mut found = Found {
        id,
        segments: Vec::new(),
        next,
        depth: Depth::default(),
        times: Times::default(),
        counted_from: released::read(disk),
        damage: Vec::new(),
    };
    for (at, segment) in segments.iter().enumerate() {
        let limit = segments.get(at + 1).map(|next| next.first);
        if limit.is_none() {
            // A process that was killed may have left what only the page cache has: it is made durable before it counts.
            disk.open(&segment.name())?.sync()?;
        }
        found.read(disk, *segment, (limit, segment_bytes), visit)?;
    }
    found.segments = segments;
    Ok(found)
}

/// The spool's id: from its file, else from its segments, else a new one.
fn id(disk: &dyn Disk, segments: &[Segment]) -> io::Result<Uuid> {
    if let Some(id) = disk::read(disk, ID)?.as_deref().and_then(parse_id) {
        return Ok(id);
    }
    let mut id = Uuid::now_v7();
    for segment in segments {
        let mut bytes = [0; HEADER];
        disk.open(&segment.name())?.read_at(&mut bytes, 0)?;
        if let Some(header) = Header::decode(&bytes) {
            id = header.spool;
        }
    }
    disk::replace(disk, ID, text_of(id).as_bytes())?;
    Ok(id)
}

/// With a checksum: an id with a flipped bit would be another spool's.
fn text_of(id: Uuid) -> String {
    format!("{id} {:08x}\n", crc32c::crc32c(id.as_bytes()))
}

fn parse_id(text: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(text).ok()?;
    let id = Uuid::parse_str(text.split(' ').next()?).ok()?;
    (text_of(id) == text).then_some(id)
}

impl Found {
    /// The run that begins now, and where it begins.
    pub(crate) fn begin(&self, now: i64) -> Place {
        let last = self.segments.last().map_or(0, |segment| segment.run);
        Place { run: u64::try_from(now).unwrap_or(0).max(last + 1), position: self.next }
    }

    fn read(
        &mut self,
        disk: &dyn Disk,
        segment: Segment,
        (limit, made): (Option<u64>, u64),
        visit: &mut dyn FnMut(Entry),
    ) -> io::Result<()> {
        let bytes = match disk.open(&segment.name()).and_then(|file| disk::read_readable(&*file)) {
            Ok(bytes) => bytes,
            // A disk that cannot read a file any more is no reason to keep the others back.
            Err(error) => {
                tracing::error!(%error, segment = segment.name(), "a segment of the spool cannot be read");
                Vec::new()
            }
        };
        let header = Header::decode(&bytes);
        if header.is_none() && bytes.len() >= HEADER {
            self.report(disk, segment, Kind::Damaged, 0..HEADER as u64, 0);
        }
        let made = header.map_or(made, |header| header.length);
        let mut scan = Scan::new(Framing::of(self.id), &bytes, segment.first, limit);
        loop {
            match scan.step() {
                Step::End => break,
                Step::Gap(gap) => {
                    let range = gap.bytes.start as u64..gap.bytes.end as u64;
                    self.report(disk, segment, gap.kind, range, gap.entries_max);
                }
                Step::Entry(frame) => {
                    let entry = Entry::of(segment.run, &frame);
                    if entry.place >= self.counted_from {
                        self.depth.add(&entry);
                        self.times.push(entry.place.position, entry.appended_at);
                    }
                    visit(entry);
                }
            }
        }
        self.next = scan.next();
        let length = bytes.len() as u64;
        if limit.is_none() && length < made {
            let entries_max = (made - length).div_ceil(OVERHEAD as u64);
            self.report(disk, segment, Kind::Missing, length..made, entries_max);
        }
        Ok(())
    }

    fn report(&mut self, disk: &dyn Disk, segment: Segment, kind: Kind, bytes: std::ops::Range<u64>, entries_max: u64) {
        let damage = Damage { segment: segment.name(), kind, bytes, entries_max };
        if kind != Kind::Torn {
            set_aside(disk, segment);
        }
        self.damage.push(damage);
    }
}

/// Keeps a damaged segment for people to look into, also when its entries are published and it is deleted.
pub(crate) fn set_aside(disk: &dyn Disk, segment: Segment) {
    let name = segment.name();
    if let Err(error) = disk.link(&name, &format!("{name}.damaged")).and_then(|()| disk.sync()) {
        tracing::warn!(%error, segment = name, "a damaged segment of the spool cannot be set aside");
    }
}
