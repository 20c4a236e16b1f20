use std::io::ErrorKind::{Other, QuotaExceeded, StorageFull};

use tidemark_spool::Error;

use crate::support::*;

/// What was appended, and what came of it.
type Answered = (String, Result<(), Error>);

/// Three appends before the fault, one that meets it at the given operation, three after; then the process ends.
fn around(operation: usize, fault: Fault) -> (MemDisk, Vec<Answered>) {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let mut answers = Vec::new();
    for at in 0..7 {
        if at == 3 {
            disk.arm(operation, fault);
        }
        if at == 4 {
            disk.mend();
        }
        let text = format!("entry {at} {}", "x".repeat(100));
        let answer = append(&spool, &text);
        answers.push((text, answer));
    }
    let acknowledged: Vec<_> = answers.iter().filter(|(_, a)| a.is_ok()).map(|(text, _)| text.clone()).collect();
    assert_eq!(texts(&all(&spool)), acknowledged, "read at once");
    (disk, answers)
}

#[test]
fn what_a_failed_write_or_sync_left_is_never_read_and_the_spool_goes_on() {
    let faults = [
        Fault::Once(StorageFull),
        Fault::Once(Other),
        Fault::Broken(StorageFull),
        Fault::Broken(Other),
        Fault::LyingSync,
    ];
    let mut met = 0;
    for fault in faults {
        for operation in 0..9 {
            let (disk, answers) = around(operation, fault);
            met += disk.failed();
            assert!(answers.iter().enumerate().all(|(at, (_, answer))| at == 3 || answer.is_ok()), "{answers:?}");
            let acknowledged = answers.iter().filter(|(_, a)| a.is_ok()).map(|(text, _)| text.clone());
            let acknowledged: Vec<_> = acknowledged.collect();
            for seed in 0..20 {
                let disk = disk.after_crash(&mut fastrand::Rng::with_seed(seed));
                let spool = open(&disk);
                let mut read = texts(&all(&spool));
                // Only what is not known to be refused may be there besides.
                if let (text, Err(Error::Unknown(_))) = &answers[3] {
                    read.retain(|entry| entry != text || acknowledged.contains(entry));
                }
                assert_eq!(read, acknowledged, "{fault:?} at {operation}, seed {seed}");
            }
        }
    }
    assert!(met > 20, "{met} faults were met");
}

#[test]
fn a_disk_without_room_says_so() {
    for full in [StorageFull, QuotaExceeded] {
        let (_, answers) = around(0, Fault::Broken(full));
        assert!(answers[3].1.as_ref().is_err_and(Error::no_space), "{:?}", answers[3].1);
    }
}
