use std::sync::Arc;

use tidemark_spool::{Depth, Kind, Limits, Place, Reader, Spool};

use crate::support::*;

/// Eight entries in two segments, and the names of those.
fn small() -> (MemDisk, Vec<String>) {
    let disk = MemDisk::default();
    let spool = open(&disk);
    (0..8).for_each(|at| append(&spool, &format!("entry {at} {}", "x".repeat(60))).unwrap());
    drop(spool);
    let segments: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".segment")).collect();
    assert_eq!(segments.len(), 2, "{segments:?}");
    (disk, segments)
}

fn sent() -> Vec<String> {
    (0..8).map(|at| format!("entry {at} {}", "x".repeat(60))).collect()
}

/// What is read is what was appended, in order; what is not read is reported as damage, at least as many entries.
fn check(disk: &MemDisk, what: &str) -> (Vec<String>, Arc<Spool>) {
    let mut visited = Vec::new();
    let spool = Spool::open(Arc::new(disk.clone()), LIMITS, clock(5_000), &mut |entry| visited.push(entry)).unwrap();
    let entries = all(&spool);
    assert_eq!(entries, visited, "{what}");
    let sent = sent();
    for entry in &entries {
        assert_eq!(sent[entry.place.position as usize].as_bytes(), entry.payload, "{what}");
    }
    assert!(entries.windows(2).all(|two| two[0].place < two[1].place), "{what}");
    let lost = sent.len() - entries.len();
    let acknowledged = |kind: Kind| kind != Kind::Torn;
    let told: u64 = spool.damage().0.iter().filter(|d| acknowledged(d.kind)).map(|d| d.entries_max).sum();
    assert!(told >= lost as u64, "{what}: {lost} lost, {:?}", spool.damage());
    assert_eq!(spool.depth().entries, entries.len() as u64, "{what}");
    (texts(&entries), spool)
}

#[test]
fn every_flipped_bit_is_harmless_or_reported() {
    let (pristine, segments) = small();
    for name in &segments {
        let bytes = pristine.bytes(name);
        for bit in 0..bytes.len() * 8 {
            let disk = pristine.copy();
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.set(name, flipped);
            let (read, _) = check(&disk, &format!("{name} bit {bit}"));
            assert!(read.len() >= 7, "{name} bit {bit}: a flip costs one entry at most");
        }
    }
}

#[test]
fn every_truncation_is_reported_and_costs_what_was_cut() {
    let (pristine, segments) = small();
    for name in &segments {
        let bytes = pristine.bytes(name);
        for length in 0..bytes.len() {
            let disk = pristine.copy();
            disk.set(name, bytes[..length].to_vec());
            check(&disk, &format!("{name} at {length}"));
        }
    }
}

#[test]
fn a_missing_segment_is_reported_and_later_ones_are_read() {
    let (disk, segments) = small();
    // The first one is not missed: it may have been trimmed. One in between is.
    let spool = open(&disk);
    append(&spool, "third segment").unwrap();
    drop(spool);
    disk.remove_now(&segments[1]);
    let spool = open(&disk);
    let entries = all(&spool);
    assert_eq!(texts(&entries).last().unwrap(), "third segment");
    let (damage, total) = spool.damage();
    assert_eq!((total, damage[0].kind, damage[0].entries_max), (1, Kind::Missing, 9 - entries.len() as u64));
}

#[test]
fn a_damaged_segment_is_set_aside_and_outlives_the_trim() {
    let (disk, segments) = small();
    let mut bytes = disk.bytes(&segments[0]);
    bytes[150] ^= 1;
    disk.set(&segments[0], bytes.clone());
    let (_, spool) = check(&disk, "one flip");
    let damage = &spool.damage().0[0];
    assert_eq!((&damage.segment, damage.kind, damage.entries_max), (&segments[0], Kind::Damaged, 1));
    assert!(damage.bytes.contains(&150), "{damage:?}");
    spool.release(&all(&spool));
    spool.trim(spool.trimmable().unwrap()).unwrap();
    assert!(!disk.names().contains(&segments[0]));
    assert_eq!(disk.bytes(&format!("{}.damaged", segments[0])), bytes);
}

#[test]
fn bytes_that_change_while_the_spool_is_open_are_passed_over_and_reported() {
    let (disk, segments) = small();
    let spool = open(&disk);
    let mut bytes = disk.bytes(&segments[0]);
    bytes[150] ^= 1;
    disk.set(&segments[0], bytes);
    let read = all(&spool);
    assert_eq!(texts(&read)[..], sent()[1..]);
    assert_eq!((spool.damage().1, spool.lost(Kind::Damaged)), (1, 1));
    spool.release(&read);
    assert_eq!((spool.depth(), spool.oldest_age_ms()), (Depth::default(), None), "nothing waits");
}

#[test]
fn entries_lost_at_the_end_do_not_wait_for_ever() {
    let (disk, segments) = small();
    let spool = open(&disk);
    let mut bytes = disk.bytes(&segments[1]);
    let last = bytes.windows(7).position(|text| text == b"entry 7").unwrap();
    bytes[last] ^= 1;
    disk.set(&segments[1], bytes);
    let mut reader = Reader::new(Arc::clone(&spool));
    let read = reader.read(u64::MAX).unwrap();
    assert_eq!(texts(&read)[..], sent()[..7]);
    spool.release(&read[..6]);
    assert_eq!((spool.depth().entries, spool.oldest_age_ms()), (2, Some(0)), "entry 6, and the lost one until the end");
    spool.release(&read[6..]);
    assert_eq!((spool.depth(), spool.oldest_age_ms()), (Depth::default(), None));
    append(&spool, "later").unwrap();
    assert_eq!((texts(&reader.read(u64::MAX).unwrap()), spool.depth().entries), (vec!["later".to_owned()], 1));
}

#[test]
fn bytes_that_cannot_be_read_are_waited_for_and_then_passed_over() {
    let (disk, segments) = small();
    let spool = open(&disk);
    let third = disk.bytes(&segments[0]).windows(7).position(|text| text == b"entry 2").unwrap();
    disk.spoil(&segments[0], third);
    let mut read = all(&spool);
    assert_eq!(texts(&read)[..], sent()[..2], "those before are whole");
    let again = |reader: &mut Reader| reader.read(u64::MAX).map(|entries| texts(&entries));
    let from_third = || {
        let mut reader = Reader::new(Arc::clone(&spool));
        reader.seek(after(&read[1])).and_then(|()| again(&mut reader))
    };
    // Each time by a new reader, as after a reconnect.
    assert!((0..20).all(|_| from_third().is_err()));
    disk.heal();
    assert_eq!(from_third().unwrap()[..], sent()[2..], "it was only a bad moment");
    disk.spoil(&segments[0], third);
    let tries = (1..=100).find(|_| from_third().is_ok());
    assert!(tries.is_some_and(|tries| tries <= 30), "{tries:?}");
    assert_eq!((spool.damage().1, spool.lost(Kind::Damaged)), (1, 2), "a sector is lost, and what stood in it");
    read.extend(all(&spool));
    spool.release(&read);
    assert_eq!(texts(&read).last(), sent().last());
    assert_eq!(spool.depth(), Depth::default());
}

#[test]
fn a_sector_that_cannot_be_read_at_the_opening_costs_no_more_than_its_entries() {
    let limits = Limits { segment_bytes: 4_096, ..LIMITS };
    let disk = MemDisk::default();
    let reopen = || Spool::open(Arc::new(disk.clone()), limits, clock(1_000), &mut drop).unwrap();
    let spool = reopen();
    (0..30).for_each(|at| append(&spool, &format!("{at:060}")).unwrap());
    drop(spool);
    let segment = disk.names().into_iter().find(|name| name.ends_with(".segment")).unwrap();
    disk.spoil(&segment, 1_030);
    let spool = reopen();
    assert_eq!((spool.damage().1, spool.lost(Kind::Missing)), (1, 0));
    assert!((5..9).contains(&spool.lost(Kind::Damaged)), "{:?}", spool.damage());
    assert_eq!(spool.depth().entries + spool.lost(Kind::Damaged), 30);
}

#[test]
fn an_older_copy_put_back_is_told_apart() {
    let disk = MemDisk::default();
    let spool = open_at(&disk, 1_000);
    append(&spool, "old").unwrap();
    let copy = disk.copy();
    ["published", "too"].iter().for_each(|text| append(&spool, text).unwrap());
    let published = after(all(&spool).last().unwrap());
    drop(spool);
    let spool = open_at(&copy, 2_000);
    append(&spool, "new").unwrap();
    let mut reader = Reader::new(Arc::clone(&spool));
    assert!(published > Place { run: published.run, position: 1 }, "the copy gives position 1 again");
    reader.seek(published).unwrap();
    assert_eq!(texts(&reader.read(u64::MAX).unwrap()), ["new"]);
}

#[test]
fn the_id_outlives_its_file_and_a_new_directory_has_another() {
    let (disk, _) = small();
    let id = open(&disk).id();
    for bit in 0..disk.bytes("spool").len() * 8 {
        let copy = disk.copy();
        let mut bytes = copy.bytes("spool");
        bytes[bit / 8] ^= 1 << (bit % 8);
        copy.set("spool", bytes);
        assert_eq!(check(&copy, "id").1.id(), id);
    }
    disk.remove_now("spool");
    assert_eq!(open(&disk).id(), id);
    assert_ne!(open(&MemDisk::default()).id(), id);
}
