//! Calls that block: each is noted while it is under way with how long it may take, so that one that hangs is seen.
//!
//! A thread that hangs in a C library or a driver cannot be freed from within the process. Such a call is first told of
//! ([`stuck`]); one that overstays by [`HARD_LIMIT_MS`] is a reason for the process to end itself: all state is durable, and a
//! supervisor starts it again. Noting a call costs a look at the clock and two atomic stores.

use std::cell::OnceCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a call may take beyond its own timeout before it counts as stuck: a machine that is short of cores is slow, not stuck.
const SLACK_MS: u64 = 5_000;
/// A call that is stuck for longer ends the process.
pub const HARD_LIMIT_MS: u64 = 120_000;
/// Clients that cannot be ended are left behind, each with a few threads and some memory; so many at a time end the process.
pub const ENDINGS_MAX: usize = 16;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Waiting for records or a rebalance.
    Poll,
    /// Telling a consumer what to read, or asking it where it stands.
    Assign,
    /// Leaving a group.
    Leave,
    /// Making a client.
    Connect,
    /// Ending a client; on a thread of its own, so that it holds nobody up.
    Disconnect,
    /// A request to the cluster: topics, offsets.
    Request,
    /// Fencing a predecessor.
    InitTransactions,
    /// Opening a transaction.
    BeginTransaction,
    /// Adding a group's offsets to a transaction.
    SendOffsets,
    /// Waiting for records to be acknowledged.
    Flush,
    /// Ending a transaction as committed.
    CommitTransaction,
    /// Ending a transaction as aborted.
    AbortTransaction,
    /// Folding a batch, the schema registry's answers included.
    Fold,
    /// Loading the state of a stage.
    Restore,
    /// Writing to a view store.
    ViewWrite,
}

impl Call {
    const ALL: [Self; 15] = [
        Self::Poll,
        Self::Assign,
        Self::Leave,
        Self::Connect,
        Self::Disconnect,
        Self::Request,
        Self::InitTransactions,
        Self::BeginTransaction,
        Self::SendOffsets,
        Self::Flush,
        Self::CommitTransaction,
        Self::AbortTransaction,
        Self::Fold,
        Self::Restore,
        Self::ViewWrite,
    ];

    /// As it is told to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poll => "polling kafka",
            Self::Assign => "assigning partitions",
            Self::Leave => "leaving the group",
            Self::Connect => "making a kafka client",
            Self::Disconnect => "ending a kafka client",
            Self::Request => "asking kafka",
            Self::InitTransactions => "init_transactions",
            Self::BeginTransaction => "begin_transaction",
            Self::SendOffsets => "send_offsets_to_transaction",
            Self::Flush => "flush",
            Self::CommitTransaction => "commit_transaction",
            Self::AbortTransaction => "abort_transaction",
            Self::Fold => "folding records",
            Self::Restore => "loading state",
            Self::ViewWrite => "writing to the view store",
        }
    }
}

/// A call that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// Name of the thread that makes it.
    pub thread: Arc<str>,
    /// What it does.
    pub call: Call,
    /// When it began, milliseconds on the clock of [`now_ms`].
    pub began_ms: u64,
    /// What it may take.
    pub limit_ms: u64,
}

impl UnderWay {
    /// How long it has overstayed, if it has.
    fn over_ms(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.began_ms + self.limit_ms + SLACK_MS)
    }
}

/// A call that has taken longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub call: UnderWay,
    /// For how long it is under way.
    pub for_ms: u64,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, thread, name) = (self.call.limit_ms as f64 / 1e3, &self.call.thread, self.call.call.name());
        write!(f, "{thread}: {name} has taken {} s and may take {limit} s", self.for_ms / 1_000)
    }
}

/// Those of the calls that have taken longer than they may.
pub fn overdue(calls: &[UnderWay], now_ms: u64) -> Vec<Stuck> {
    let late = calls.iter().filter(|call| call.over_ms(now_ms).is_some());
    late.map(|call| Stuck { call: call.clone(), for_ms: now_ms.saturating_sub(call.began_ms) }).collect()
}

/// Why the process should end itself, if it should.
pub fn hopeless(calls: &[UnderWay], now_ms: u64) -> Option<String> {
    let stuck = overdue(calls, now_ms);
    let (endings, others): (Vec<&Stuck>, Vec<&Stuck>) =
        stuck.iter().partition(|stuck| stuck.call.call == Call::Disconnect);
    let hard = |stuck: &&&Stuck| stuck.call.over_ms(now_ms) >= Some(HARD_LIMIT_MS);
    if let Some(stuck) = others.iter().find(hard) {
        return Some(stuck.to_string());
    }
    (endings.len() >= ENDINGS_MAX).then(|| format!("{} kafka clients could not be ended", endings.len()))
}

/// Why a process with these calls is not at work as it should be.
///
/// # Errors
/// The stuck calls; a client that does not end holds nobody up and is none.
pub fn ready(stuck: &[Stuck]) -> Result<(), String> {
    let told: Vec<String> =
        stuck.iter().filter(|stuck| stuck.call.call != Call::Disconnect).map(ToString::to_string).collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
}

/// The threads of this process that have ever made such a call.
static CALLS: LazyLock<Calls> = LazyLock::new(|| Calls { epoch: Instant::now(), slots: Mutex::default() });

struct Calls {
    epoch: Instant,
    slots: Mutex<Vec<Weak<Slot>>>,
}

/// What one thread is about.
struct Slot {
    thread: Arc<str>,
    /// 0 when nothing is under way; else began (40 bits), limit in tenths of a second (16 bits), call + 1 (8 bits).
    under_way: AtomicU64,
}

thread_local! {
    static SLOT: OnceCell<Arc<Slot>> = const { OnceCell::new() };
}

/// Milliseconds since the first call of this process.
pub fn now_ms() -> u64 {
    u64::try_from(CALLS.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Makes a call that blocks and may take `limit`, up to 6,553 s. Calls may nest: the inner one is then the one that is told of.
pub fn blocking<T>(call: Call, limit: Duration, work: impl FnOnce() -> T) -> T {
    let Ok(slot) = SLOT.try_with(|slot| Arc::clone(slot.get_or_init(register))) else { return work() };
    let before = slot.under_way.swap(packed(call, limit, now_ms()), Ordering::Relaxed);
    let _over = Over { slot, before };
    work()
}

/// Ends a note, also when the call panics.
struct Over {
    slot: Arc<Slot>,
    before: u64,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.slot.under_way.store(self.before, Ordering::Relaxed);
    }
}

fn register() -> Arc<Slot> {
    let thread = std::thread::current().name().unwrap_or("unnamed thread").into();
    let slot = Arc::new(Slot { thread, under_way: AtomicU64::new(0) });
    let mut slots = CALLS.slots.lock().unwrap_or_else(PoisonError::into_inner);
    slots.retain(|slot| slot.strong_count() > 0);
    slots.push(Arc::downgrade(&slot));
    slot
}

fn packed(call: Call, limit: Duration, began_ms: u64) -> u64 {
    let kind = Call::ALL.iter().position(|one| *one == call).map_or(0, |at| at as u64 + 1);
    let limit_ds = u64::try_from(limit.as_millis().div_ceil(100)).unwrap_or(u64::MAX).min(u64::from(u16::MAX));
    (began_ms << 24) | (limit_ds << 8) | kind
}

fn unpacked(thread: &Arc<str>, note: u64) -> Option<UnderWay> {
    let kind = usize::try_from(note & 0xff).ok()?.checked_sub(1)?;
    let call = Call::ALL.get(kind).copied()?;
    let (began_ms, limit_ms) = (note >> 24, ((note >> 8) & 0xffff) * 100);
    Some(UnderWay { thread: Arc::clone(thread), call, began_ms, limit_ms })
}

/// Every call of this process that is under way.
pub fn under_way() -> Vec<UnderWay> {
    let slots = CALLS.slots.lock().unwrap_or_else(PoisonError::into_inner);
    let live = slots.iter().filter_map(Weak::upgrade);
    live.filter_map(|slot| unpacked(&slot.thread, slot.under_way.load(Ordering::Relaxed))).collect()
}

/// The calls of this process that have taken longer than they may.
pub fn stuck() -> Vec<Stuck> {
    overdue(&under_way(), now_ms())
}

/// Ends the process at once, without the exit handlers of libraries: one of them may wait for what the stuck thread holds.
pub fn end_process(status: i32) -> ! {
    crate::kafka::end_process(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call: Call, began_ms: u64, limit_ms: u64) -> UnderWay {
        UnderWay { thread: "flows merge 0".into(), call, began_ms, limit_ms }
    }

    #[test]
    fn a_call_is_stuck_after_its_limit_and_the_slack() {
        let calls = [call(Call::Flush, 1_000, 2_000), call(Call::Poll, 7_000, 50)];
        assert_eq!(overdue(&calls, 7_999), []);
        let stuck = overdue(&calls, 8_000);
        assert_eq!(stuck, [Stuck { call: calls[0].clone(), for_ms: 7_000 }]);
        assert_eq!(stuck[0].to_string(), "flows merge 0: flush has taken 7 s and may take 2 s");
        assert_eq!(ready(&stuck), Err(stuck[0].to_string()));
        assert_eq!(ready(&[]), Ok(()));
    }

    #[test]
    fn a_call_that_never_ends_ends_the_process() {
        let calls = [call(Call::CommitTransaction, 0, 5_000)];
        assert_eq!(hopeless(&calls, 10_000 + HARD_LIMIT_MS - 1), None);
        let why = hopeless(&calls, 10_000 + HARD_LIMIT_MS);
        assert_eq!(why.as_deref(), Some("flows merge 0: commit_transaction has taken 130 s and may take 5 s"));
    }

    #[test]
    fn clients_that_do_not_end_are_left_behind_up_to_a_bound() {
        let mut calls = vec![call(Call::Disconnect, 0, 1_000); ENDINGS_MAX - 1];
        let now = 6_000 + HARD_LIMIT_MS;
        assert_eq!((hopeless(&calls, now), ready(&overdue(&calls, now))), (None, Ok(())));
        calls.push(calls[0].clone());
        assert_eq!(hopeless(&calls, now).as_deref(), Some("16 kafka clients could not be ended"));
    }

    #[test]
    fn notes_hold_what_they_are_given() {
        let thread: Arc<str> = "t".into();
        for call in Call::ALL {
            let read = unpacked(&thread, packed(call, Duration::from_millis(5_050), 1 << 39)).unwrap();
            assert_eq!((read.call, read.limit_ms, read.began_ms), (call, 5_100, 1 << 39));
        }
        assert_eq!(unpacked(&thread, 0), None);
    }

    #[test]
    fn a_thread_is_seen_in_its_call_and_not_after_it() {
        let mine =
            |calls: Vec<UnderWay>| calls.into_iter().filter(|call| &*call.thread == "watched").collect::<Vec<_>>();
        let (enter, entered) = std::sync::mpsc::channel();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("watched".into()).spawn(move || {
            blocking(Call::Fold, Duration::from_secs(9), || {
                blocking(Call::Poll, Duration::from_secs(1), || enter.send(()).unwrap());
                enter.send(()).unwrap();
                left.recv().unwrap();
            });
            enter.send(()).unwrap();
            left.recv().unwrap();
        });
        (0..2).for_each(|_| entered.recv().unwrap());
        let seen = mine(under_way());
        assert_eq!(seen.iter().map(|call| (call.call, call.limit_ms)).collect::<Vec<_>>(), [(Call::Fold, 9_000)]);
        assert_eq!(overdue(&seen, now_ms() + 14_001).len(), 1);
        leave.send(()).unwrap();
        entered.recv().unwrap();
        assert_eq!(mine(under_way()), []);
        leave.send(()).unwrap();
        thread.unwrap().join().unwrap();
    }
}
