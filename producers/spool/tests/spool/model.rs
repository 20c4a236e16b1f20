//! Anything in any order, against a list of what was acknowledged.

use std::sync::Arc;

use tidemark_spool::{Error, Kind, Place, Reader};

use crate::support::*;

struct Model {
    /// Every entry that was acknowledged and is not released, with its number.
    acknowledged: Vec<u64>,
    /// Entries whose outcome was not told, or told as unknown.
    unsure: Vec<u64>,
    released: Place,
    next: u64,
}

fn run(seed: u64) -> (usize, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut disk = MemDisk::default();
    let mut model = Model { acknowledged: vec![], unsure: vec![], released: Place::default(), next: 0 };
    let (mut appended, mut crashes) = (0, 0);
    for now in 1.. {
        let spool = open_at(&disk, now);
        assert!(spool.damage().0.iter().all(|damage| damage.kind == Kind::Torn), "{seed}: {:?}", spool.damage());
        let mut reader = Reader::new(Arc::clone(&spool));
        reader.seek(model.released).unwrap();
        if random.bool() {
            let fault = [Fault::Crash, Fault::Once(std::io::ErrorKind::Other), Fault::LyingSync];
            disk.arm(random.usize(0..40), fault[random.usize(0..3)]);
        }
        let (mut read, mut held) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(1..12) {
            match random.u8(0..8) {
                0..5 => {
                    let numbers: Vec<_> = (model.next..).take(random.usize(1..8)).collect();
                    model.next += numbers.len() as u64;
                    appended += numbers.len();
                    let receivers: Vec<_> = numbers
                        .iter()
                        .map(|number| {
                            let length = random.usize(0..300);
                            let payload = format!("{number} {}", "y".repeat(length));
                            spool.append(payload.into_bytes(), 1).unwrap()
                        })
                        .collect();
                    for (number, receiver) in numbers.into_iter().zip(receivers) {
                        match receiver.blocking_recv() {
                            Ok(Ok(_)) => model.acknowledged.push(number),
                            Ok(Err(Error::Unknown(_))) | Err(_) => model.unsure.push(number),
                            Ok(Err(_)) => {}
                        }
                    }
                }
                5..7 => {
                    let more = reader.read(random.u64(1..2_000)).unwrap();
                    read.extend(more.iter().map(number_of));
                    held.extend(more);
                    let released: Vec<_> = held.drain(..random.usize(0..=held.len())).collect();
                    spool.release(&released);
                    model.released = released.last().map_or(model.released, after);
                    let last = released.last().map(number_of);
                    if let Some(at) = last.and_then(|last| read.iter().position(|number| *number == last)) {
                        let gone: Vec<_> = read.drain(..=at).collect();
                        in_order(&model, &gone, seed);
                        model.acknowledged.retain(|number| !gone.contains(number));
                    }
                }
                _ => {
                    if let Some(place) = spool.trimmable() {
                        let _ = spool.trim(place);
                    }
                }
            }
        }
        if model.next > 150 || now > 60 {
            drop((spool, reader));
            break;
        }
        let crash = random.bool();
        let after = crash.then(|| disk.after_crash(&mut random));
        drop((spool, reader));
        disk.mend();
        crashes += usize::from(crash);
        disk = after.unwrap_or(disk);
    }
    // At last everything that was acknowledged is there, in order, once.
    let after = disk.after_crash(&mut random);
    let spool = open_at(&after, 1_000);
    let mut reader = Reader::new(Arc::clone(&spool));
    reader.seek(model.released).unwrap();
    let read: Vec<_> = reader.read(u64::MAX).unwrap().iter().map(number_of).collect();
    in_order(&model, &read, seed);
    let missing: Vec<_> = model.acknowledged.iter().filter(|number| !read.contains(number)).collect();
    assert!(missing.is_empty(), "seed {seed}: {missing:?} were acknowledged and are not there: {read:?}");
    (appended, crashes)
}

fn number_of(entry: &tidemark_spool::Entry) -> u64 {
    let text = std::str::from_utf8(&entry.payload).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// In the order of the appends, nothing twice, nothing that was refused.
fn in_order(model: &Model, read: &[u64], seed: u64) {
    assert!(read.windows(2).all(|two| two[0] < two[1]), "seed {seed}: {read:?}");
    let allowed = |number: &u64| model.acknowledged.contains(number) || model.unsure.contains(number);
    assert!(read.iter().all(allowed), "seed {seed}: {read:?}");
}

#[test]
fn acknowledged_entries_are_there_in_order_once() {
    let first = std::env::var("TIDEMARK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..400, |seed: u64| seed..seed + 1);
    let (mut appended, mut crashes) = (0, 0);
    for seed in seeds {
        let (more, crashed) = run(seed);
        (appended, crashes) = (appended + more, crashes + crashed);
    }
    assert!(appended > 100 && (crashes > 100 || first.is_some()), "{appended} appended, {crashes} crashes");
}
