use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use tidemark_spool::disk::{Dir, DirError};
use tidemark_spool::{Error, Limits, Reader, Spool};

use crate::support::*;

#[test]
fn what_was_appended_is_read_in_order_over_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut sent = Vec::new();
    for run in 0..3 {
        let disk = Arc::new(Dir::claim(dir.path()).unwrap());
        let spool = Spool::open(disk, LIMITS, clock(5), &mut drop).unwrap();
        let mut receivers = Vec::new();
        for at in 0..50 {
            sent.push(format!("entry {run} {at}"));
            receivers.push(spool.append(sent.last().unwrap().clone().into_bytes(), 2).unwrap());
        }
        receivers.into_iter().for_each(|receiver| receiver.blocking_recv().unwrap().map(drop).unwrap());
        assert_eq!(texts(&all(&spool)), sent);
        assert_eq!((spool.depth().entries, spool.depth().records), (sent.len() as u64, 2 * sent.len() as u64));
        assert_eq!(spool.damage().1, 0);
    }
}

#[test]
fn appends_that_wait_share_a_sync() {
    let spool = open(&MemDisk::default());
    let receivers: Vec<_> = (0..1_000).map(|_| spool.append(b"x".to_vec(), 1).unwrap()).collect();
    receivers.into_iter().for_each(|receiver| receiver.blocking_recv().unwrap().map(drop).unwrap());
    let stats = spool.stats();
    assert_eq!((stats.entries(), stats.appends.count()), (1_000, 1_000));
    assert!(stats.syncs.count() < 500, "{} syncs", stats.syncs.count());
}

#[test]
fn a_reader_keeps_up_with_a_writer() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let mut reader = Reader::new(Arc::clone(&spool));
    for at in 0..200 {
        append(&spool, &format!("{at}")).unwrap();
        assert!(spool.wait(at, Duration::ZERO) && !spool.wait(at + 1, Duration::ZERO));
        assert_eq!(texts(&reader.read(u64::MAX).unwrap()), [format!("{at}")]);
    }
    assert_eq!(spool.damage(), (vec![], 0));
}

#[test]
fn segments_go_once_all_their_entries_are_released() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    (0..100).for_each(|at| append(&spool, &format!("entry {at}")).unwrap());
    let before = disk.names().len();
    let mut reader = Reader::new(Arc::clone(&spool));
    let entries = reader.read(u64::MAX).unwrap();
    spool.release(&entries[..60]);
    let kept = spool.trimmable().unwrap();
    spool.trim(kept).unwrap();
    assert!(disk.names().len() < before && spool.trimmable().is_none());
    assert_eq!(spool.depth().entries, 40);
    drop((spool, reader));
    let spool = open(&disk);
    let entries = all(&spool);
    assert!(entries[0].place.position <= 60 && entries[0].place == kept, "{kept:?}");
    let mut reader = Reader::new(Arc::clone(&spool));
    reader.seek(after(&entries.iter().find(|e| e.place.position == 59).unwrap().clone())).unwrap();
    assert_eq!(texts(&reader.read(u64::MAX).unwrap())[0], "entry 60");
    assert_eq!(spool.depth().entries, 40);
}

#[test]
fn a_full_spool_takes_nothing_and_takes_again_once_there_is_room() {
    let limits = Limits { bytes_max: 500, ..LIMITS };
    let spool = Spool::open(Arc::new(MemDisk::default()), limits, clock(0), &mut drop).unwrap();
    let taken = (0..100).take_while(|_| append(&spool, "0123456789").is_ok()).count();
    assert_eq!(taken, 500 / (41 + 10));
    assert!(matches!(append(&spool, "0123456789"), Err(Error::Full { bytes: 459, bytes_max: 500 })));
    assert_eq!(spool.depth().bytes, 459);
    let entries = all(&spool);
    spool.release(&entries[..1]);
    append(&spool, "0123456789").unwrap();
    assert_eq!((all(&spool).len(), spool.stats().refused()), (taken + 1, 2));
}

#[test]
fn a_spool_whose_oldest_entry_waits_too_long_takes_nothing() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now);
    let limits = Limits { age_max_ms: 10_000, ..LIMITS };
    let disk = MemDisk::default();
    let spool = Spool::open(Arc::new(disk), limits, Arc::new(move || clock.load(SeqCst)), &mut drop).unwrap();
    append(&spool, "first").unwrap();
    now.store(10_000, SeqCst);
    append(&spool, "second").unwrap();
    now.store(10_001, SeqCst);
    assert!(matches!(append(&spool, "third"), Err(Error::Old { age_ms: 10_001, age_max_ms: 10_000 })));
    assert_eq!(spool.oldest_age_ms(), Some(10_001));
    spool.release(&all(&spool)[..1]);
    append(&spool, "third").unwrap();
    spool.release(&all(&spool));
    assert_eq!((spool.oldest_age_ms(), spool.depth().entries), (None, 0));
}

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let held = Dir::claim(dir.path()).unwrap();
    let error = Dir::claim(dir.path()).unwrap_err();
    assert!(matches!(error, DirError::InUse { .. }) && error.to_string().contains(dir.path().to_str().unwrap()));
    drop(held);
    Dir::claim(dir.path()).unwrap();
}

#[test]
fn a_closed_spool_has_written_what_it_took() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let receivers: Vec<_> = (0..100).map(|at| spool.append(format!("{at}").into_bytes(), 1).unwrap()).collect();
    spool.close();
    receivers.into_iter().for_each(|receiver| receiver.blocking_recv().unwrap().map(drop).unwrap());
    assert!(matches!(append(&spool, "late"), Err(Error::Closed)));
    assert_eq!(all(&open(&disk)).len(), 100);
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let large = "x".repeat(5_000);
    for text in ["a", &large, "b"] {
        append(&spool, text).unwrap();
    }
    assert_eq!(texts(&all(&open(&disk.copy()))), ["a", &large, "b"]);
    let huge = spool.append(vec![0; tidemark_spool::PAYLOAD_MAX + 1], 1);
    assert!(matches!(huge, Err(Error::TooLarge { bytes_max: tidemark_spool::PAYLOAD_MAX, .. })));
}

#[test]
fn an_entry_larger_than_the_spool_is_refused_for_good() {
    let limits = Limits { bytes_max: 500, ..LIMITS };
    let spool = Spool::open(Arc::new(MemDisk::default()), limits, clock(0), &mut drop).unwrap();
    let refused = append(&spool, &"x".repeat(460));
    assert!(matches!(refused, Err(Error::TooLarge { bytes: 460, bytes_max: 459 })), "{refused:?}");
    append(&spool, &"x".repeat(459)).unwrap();
}

#[test]
fn what_was_released_before_a_restart_does_not_count() {
    let disk = MemDisk::default();
    let spool = open_at(&disk, 0);
    (0..4).for_each(|at| append(&spool, &format!("entry {at}")).unwrap());
    let entries = all(&spool);
    spool.release(&entries[..3]);
    spool.keep_released().unwrap();
    drop(spool);
    let spool = open_at(&disk, 50_000);
    assert_eq!((spool.depth().entries, spool.oldest_age_ms()), (1, Some(50_000)));
    assert_eq!((all(&spool).len(), spool.trimmable()), (4, None), "only a hint: nothing goes because of it");
    spool.release(&entries[..1]);
    assert_eq!(spool.depth().entries, 1, "it had been released");
    spool.release(&entries[1..]);
    spool.keep_released().unwrap();
    append(&spool, "last").unwrap();
    assert_eq!((spool.depth().entries, spool.oldest_age_ms()), (1, Some(0)));
    drop(spool);
    let spool = open_at(&disk, 50_001);
    assert_eq!((spool.depth().entries, spool.oldest_age_ms()), (1, Some(1)));
}
