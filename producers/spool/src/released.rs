//! How far the spool was released, as a small file: what a start counts as waiting before anybody has said what is done with.
//!
//! Only a hint. It may be behind (it is written now and then), never ahead; nothing is deleted or passed over because of it.

use std::io;

use crate::disk::{self, Disk};
use crate::segment::Place;

const FILE: &str = "released";

/// Everything before this place was released; nothing is known without the file, or when it is damaged.
pub(crate) fn read(disk: &dyn Disk) -> Place {
    let bytes = disk::read(disk, FILE).unwrap_or_else(|error| {
        tracing::warn!(%error, "the spool's file {FILE} cannot be read: published entries count as waiting for now");
        None
    });
    bytes.as_deref().and_then(parse).unwrap_or_default()
}

pub(crate) fn write(disk: &dyn Disk, place: Place) -> io::Result<()> {
    disk::replace(disk, FILE, text_of(place).as_bytes())
}

fn text_of(place: Place) -> String {
    let text = format!("{} {}", place.run, place.position);
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text} {crc:08x}\n")
}

fn parse(bytes: &[u8]) -> Option<Place> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.split(' ');
    let place = Place { run: parts.next()?.parse().ok()?, position: parts.next()?.parse().ok()? };
    (text_of(place) == text).then_some(place)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_flip_passes() {
        let place = Place { run: 1_769_860_800_123, position: 17 };
        let mut bytes = text_of(place).into_bytes();
        assert_eq!(parse(&bytes), Some(place));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
