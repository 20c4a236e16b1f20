//! Publishes without a pause: known records from a seed, and among them some that cannot be counted and
//! some that repeat an earlier one.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::content::{Content, Shape};
use crate::target::{Sent, Target};

/// Key of a record that cannot be counted: jobs do not read keys, the checks do.
pub const POISON: &[u8] = b"poison";
/// A commit each.
const BATCH_EVERY: Duration = Duration::from_millis(100);

/// What was published.
#[derive(Debug, Default, Clone)]
pub struct Published {
    /// Numbers of records whose commit was acknowledged.
    pub acknowledged: Vec<Range<u64>>,
    /// Numbers of records whose commit failed for sure.
    pub refused: Vec<Range<u64>>,
}

/// How it publishes.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub shape: Shape,
    /// Numbered records a second.
    pub records_per_second: u64,
    /// One in so many is followed by a record that cannot be counted; 0 for none.
    pub poison_one_in: u64,
    /// One in so many is sent a second time; 0 for none.
    pub repeat_one_in: u64,
}

/// The thread that publishes.
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    paused: AtomicBool,
    stop: AtomicBool,
    /// Held while a batch is under way.
    published: Mutex<Published>,
    load: Mutex<Load>,
    /// Number of the next record.
    next: AtomicU64,
}

impl Publisher {
    pub fn start(mut target: Target, content: Content, load: Load) -> Self {
        let shared = Arc::new(Shared {
            paused: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            published: Mutex::new(Published::default()),
            load: Mutex::new(load),
            next: AtomicU64::new(0),
        });
        let running = Arc::clone(&shared);
        let thread = std::thread::spawn(move || publish(&mut target, &content, &running));
        Self { shared, thread: Some(thread) }
    }

    /// Waits for the batch under way, publishes nothing more, and says what was published so far.
    pub fn pause(&self) -> Published {
        self.shared.paused.store(true, Ordering::SeqCst);
        self.shared.published.lock().unwrap().clone()
    }

    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// How many records were acknowledged so far; waits for the batch under way.
    pub fn acknowledged(&self) -> u64 {
        self.shared.published.lock().unwrap().acknowledged.iter().map(|range| range.end - range.start).sum()
    }

    /// Publishes otherwise from the next batch on.
    pub fn change(&self, load: Load) {
        *self.shared.load.lock().unwrap() = load;
    }

    /// Number of the next record.
    pub fn next(&self) -> u64 {
        self.shared.next.load(Ordering::SeqCst)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn publish(target: &mut Target, content: &Content, shared: &Shared) {
    let (mut from, mut next) = (0, Instant::now());
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + BATCH_EVERY).max(Instant::now());
        let mut published = shared.published.lock().unwrap();
        if shared.paused.load(Ordering::SeqCst) {
            continue;
        }
        if !target.open() {
            continue;
        }
        let load = *shared.load.lock().unwrap();
        let range = from..from + (load.records_per_second * BATCH_EVERY.as_millis() as u64 / 1000).max(1);
        from = range.end;
        shared.next.store(from, Ordering::SeqCst);
        match target.send(content, load, range.clone()) {
            Sent::Acknowledged => published.acknowledged.push(range),
            Sent::Refused => published.refused.push(range),
            Sent::Unknown => {}
        }
    }
}
