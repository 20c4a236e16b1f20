//! Inputs that are kept, and what is done with them.

use crate::alloc;
use crate::mutate::{Random, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// In a test run, for each target.
const SECONDS: u64 = 2;
/// What may be held besides a multiple of the input: tables, compiled schemas.
const HELD_FIXED: usize = 2 << 20;
/// Bytes held for each byte of input.
const HELD_PER_BYTE: usize = 256;
/// A run that tried fewer inputs a second proves nothing.
const RUNS_PER_SECOND_MIN: u64 = 50;

/// What a target makes of an input: `Err` is a property that does not hold.
pub type Check = fn(&[u8]) -> Result<(), String>;

/// Replays the corpus of `target`, then changes its members for a while.
pub fn fuzz(target: &str, check: Check) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let members: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!members.is_empty(), "the corpus {} is empty", dir.display());
    for (path, member) in paths.iter().zip(&members) {
        if let Err(why) = holds(check, member) {
            panic!("{}: {why}", path.display());
        }
    }
    let seconds = std::env::var("TIDEMARK_FUZZ_SECONDS").ok().map_or(SECONDS, |text| text.parse().unwrap());
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = u64::try_from(nanos & u128::from(u64::MAX)).unwrap();
    let (mut random, began, mut runs) = (Random(seed), Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        let mut input = random.pick(&members).clone();
        let other = random.pick(&members);
        mutate(&mut random, &mut input, other);
        if let Err(why) = holds(check, &input) {
            let kept = dir.join(format!("failed-{seed:016x}-{runs}"));
            std::fs::write(&kept, &input).unwrap();
            panic!("{why}\nseed {seed}, input {runs}, kept as {}", kept.display());
        }
        runs += 1;
    }
    println!("{target}: {} kept inputs, {runs} changed ones in {seconds} s, seed {seed}", members.len());
    assert!(runs >= seconds * RUNS_PER_SECOND_MIN, "only {runs} inputs in {seconds} s");
}

fn holds(check: Check, input: &[u8]) -> Result<(), String> {
    let (checked, held) = alloc::peak(|| catch_unwind(AssertUnwindSafe(|| check(input))));
    let limit = HELD_FIXED + HELD_PER_BYTE * input.len();
    if held > limit {
        return Err(format!("{held} bytes were held for an input of {}; the limit is {limit}", input.len()));
    }
    checked.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of no text")))
    })
}
