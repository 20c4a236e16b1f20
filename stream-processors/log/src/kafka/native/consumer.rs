//! A consumer whose revocations are answered when the caller is ready, not inside the poll.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;

use super::fault::{self, Fault, check_code, code};
use super::handle::{Handle, Kind};
use super::list::{self, List};
use super::messages::{BATCH, Messages};
use super::{Conf, millis};
use crate::TopicPartition;
use crate::watch::{Call, blocking};

/// A call without a timeout that only waits for librdkafka's own thread.
const ASSIGNING: Duration = Duration::from_secs(2);

/// What the group decided; to be answered by [`Consumer::assign`] or [`Consumer::unassign`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebalance {
    /// These partitions are the member's now.
    Assign(Vec<TopicPartition>),
    /// These are to be given up.
    Revoke(Vec<TopicPartition>),
    /// These belong to somebody else already.
    Lost(Vec<TopicPartition>),
}

/// Where the callback leaves what it is told, in order.
type Mailbox = Mutex<VecDeque<Rebalance>>;

/// A consumer, in a group or reading assigned partitions.
pub(crate) struct Consumer {
    // Before the handle: a queue must be gone before its client is.
    queue: Queue,
    handle: Handle,
    mailbox: Arc<Mailbox>,
}

/// The consumer's queue of messages and callbacks.
struct Queue(*mut sys::rd_kafka_queue_t);

// SAFETY: queue calls may be made from any thread.
unsafe impl Send for Queue {}
// SAFETY: and from several at once.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// Generation and identity of a group member, as a transaction needs them.
pub(crate) struct GroupMetadata(*mut sys::rd_kafka_consumer_group_metadata_t);

impl GroupMetadata {
    /// −1 when the member is in no generation.
    pub(crate) fn generation(&self) -> i32 {
        // SAFETY: ours and live.
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0) }
    }

    /// Live as long as this value.
    pub(super) fn pointer(&self) -> *const sys::rd_kafka_consumer_group_metadata_t {
        self.0
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

impl Consumer {
    pub(crate) fn new(mut conf: Conf) -> Result<Self, String> {
        let mailbox = Arc::new(Mailbox::default());
        // SAFETY: the callback gets the mailbox as its opaque pointer; the handle keeps it until the client has ended.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.pointer(), Arc::as_ptr(&mailbox).cast_mut().cast::<c_void>());
            sys::rd_kafka_conf_set_rebalance_cb(conf.pointer(), Some(on_rebalance));
        }
        let handle = Handle::new(Kind::Consumer, conf, Some(Box::new(Arc::clone(&mailbox))))?;
        // SAFETY: a live consumer has a consumer queue; the reference taken here is given back by `Queue`.
        let queue = unsafe {
            sys::rd_kafka_poll_set_consumer(handle.pointer());
            Queue(sys::rd_kafka_queue_get_consumer(handle.pointer()))
        };
        Ok(Self { queue, handle, mailbox })
    }

    /// Joins the group of the configuration, for these topics.
    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), Fault> {
        let unassigned = topics.iter().map(|topic| TopicPartition::new(topic.as_str(), 0)).collect::<Vec<_>>();
        let list = List::of(&unassigned);
        // SAFETY: live client and list; the list is copied.
        let call = || unsafe { sys::rd_kafka_subscribe(self.handle.pointer(), list.pointer()) };
        check_code(blocking(Call::Assign, ASSIGNING, call) as i32)
    }

    /// Takes what there is; when that is nothing, waits for a first message or callback up to `timeout`. The batch call waits
    /// its whole timeout unless the batch fills, so the waiting is done for a batch of one.
    pub(crate) fn consume(&self, timeout: Duration, into: &mut Messages) {
        self.take(BATCH, Duration::ZERO, into);
        if into.is_empty() && !timeout.is_zero() && self.mail().is_empty() {
            self.take(1, timeout, into);
            if !into.is_empty() {
                self.take(BATCH, Duration::ZERO, into);
            }
        }
    }

    fn take(&self, most: usize, timeout: Duration, into: &mut Messages) {
        // SAFETY: the queue is live; what the call writes are messages that the caller owns.
        blocking(Call::Poll, timeout, || unsafe {
            into.fill(most, |room, size| sys::rd_kafka_consume_batch_queue(self.queue.0, millis(timeout), room, size));
        });
    }

    /// The oldest decision not yet fetched.
    pub(crate) fn rebalance(&self) -> Option<Rebalance> {
        self.mail().pop_front()
    }

    fn mail(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads exactly these partitions from these offsets; also answers an assignment, then possibly with none yet.
    pub(crate) fn assign<'p>(&self, from: impl IntoIterator<Item = (&'p TopicPartition, i64)>) -> Result<(), Fault> {
        let mut list = List::new(0);
        for (partition, offset) in from {
            list.add(&partition.topic, partition.partition, Some(offset), "");
        }
        // SAFETY: live client and list; the list is copied.
        let call = || unsafe { sys::rd_kafka_assign(self.handle.pointer(), list.pointer()) };
        check_code(blocking(Call::Assign, ASSIGNING, call) as i32)
    }

    /// Reads nothing any more; also answers a revocation.
    pub(crate) fn unassign(&self) -> Result<(), Fault> {
        // SAFETY: live client; null means none.
        let call = || unsafe { sys::rd_kafka_assign(self.handle.pointer(), std::ptr::null()) };
        check_code(blocking(Call::Assign, ASSIGNING, call) as i32)
    }

    /// Stops or goes on fetching partitions that are assigned.
    pub(crate) fn pause(&self, partitions: &[TopicPartition], paused: bool) -> Result<(), Fault> {
        let list = List::of(partitions);
        // SAFETY: live client and list; results are written into the list.
        let call = || unsafe {
            match paused {
                true => sys::rd_kafka_pause_partitions(self.handle.pointer(), list.pointer()),
                false => sys::rd_kafka_resume_partitions(self.handle.pointer(), list.pointer()),
            }
        };
        check_code(blocking(Call::Assign, ASSIGNING, call) as i32)?;
        list.entries().into_iter().try_for_each(|entry| entry.result)
    }

    /// The offset after the last message *or control marker* taken from the queue; `None` before the first one since
    /// the partition was assigned.
    pub(crate) fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, Fault> {
        let list = List::of([partition]);
        // SAFETY: live client and list; the positions are written into the list.
        check_code(unsafe { sys::rd_kafka_position(self.handle.pointer(), list.pointer()) } as i32)?;
        match list.entries().into_iter().next() {
            Some(entry) => entry.result.map(|()| (entry.offset >= 0).then_some(entry.offset)),
            None => Ok(None),
        }
    }

    /// The high watermark of the last fetch of a partition; none before any, and after one that failed. librdkafka notes it
    /// before it queues the fetch's messages.
    pub(crate) fn end(&self, partition: &TopicPartition) -> Option<i64> {
        let topic = std::ffi::CString::new(&*partition.topic).ok()?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: live client, a terminated name, two numbers that outlive the call.
        let code = unsafe {
            let client = self.handle.pointer();
            sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition.partition as i32, &mut low, &mut high)
        };
        (code as i32 == 0 && high >= 0).then_some(high)
    }

    /// Identity and generation as of now.
    pub(crate) fn group_metadata(&self) -> Option<GroupMetadata> {
        // SAFETY: live client; null when it is in no group, else ours.
        let call = || unsafe { sys::rd_kafka_consumer_group_metadata(self.handle.pointer()) };
        let metadata = blocking(Call::Assign, ASSIGNING, call);
        (!metadata.is_null()).then_some(GroupMetadata(metadata))
    }

    /// What made the client unusable, if anything did.
    pub(crate) fn fatal(&self) -> Option<Fault> {
        // SAFETY: live client.
        unsafe { fault::fatal(self.handle.pointer()) }
    }

    /// Leaves the group and waits for the broker's answer; false when `timeout` passes before. Unsubscribing comes first and
    /// must have been sent before the close: a static member that is closed says nothing to the group, and keeps its
    /// partitions until the session ends.
    pub(crate) fn leave(&self, timeout: Duration) -> bool {
        blocking(Call::Leave, timeout, || self.take_leave(timeout))
    }

    fn take_leave(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        // SAFETY: live client.
        unsafe { sys::rd_kafka_unsubscribe(self.handle.pointer()) };
        if !self.serve_until(deadline, || !self.is_member()) {
            return false;
        }
        // SAFETY: live client and queue, which is served below until closed; the error object returned is ours.
        let closing = unsafe { fault::check(sys::rd_kafka_consumer_close_queue(self.handle.pointer(), self.queue.0)) };
        // SAFETY: live client.
        let closed = || unsafe { sys::rd_kafka_consumer_closed(self.handle.pointer()) } != 0;
        closing.is_ok() && self.serve_until(deadline, closed)
    }

    /// Drops messages and gives partitions up until `done`; false when the deadline passes before.
    fn serve_until(&self, deadline: Instant, done: impl Fn() -> bool) -> bool {
        let mut discarded = Messages::new();
        while !done() {
            if Instant::now() >= deadline {
                return false;
            }
            self.take(BATCH, Duration::from_millis(5), &mut discarded);
            discarded.clear();
            while self.rebalance().is_some() {
                let _ = self.unassign();
            }
        }
        true
    }

    /// Whether the group knows this member: librdkafka forgets its id when it sends the farewell.
    fn is_member(&self) -> bool {
        // SAFETY: live client; the id is null or a NUL-terminated string of ours, freed once.
        unsafe {
            let id = sys::rd_kafka_memberid(self.handle.pointer());
            let known = !id.is_null() && *id != 0;
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.handle.pointer(), id.cast::<c_void>());
            }
            known
        }
    }
}

/// Notes the decision and wakes the poll; called inside `rd_kafka_consume_batch_queue`, on the polling thread.
unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    decision: sys::rd_kafka_resp_err_t,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque pointer is the mailbox, alive as long as the client; client and list are valid for the call.
    unsafe {
        let named = list::entries(partitions).into_iter().map(|entry| entry.partition).collect();
        let rebalance = match decision as i32 {
            code::LOCAL_ASSIGN_PARTITIONS => Rebalance::Assign(named),
            _ if sys::rd_kafka_assignment_lost(rk) != 0 => Rebalance::Lost(named),
            _ => Rebalance::Revoke(named),
        };
        let mailbox = &*opaque.cast::<Mailbox>();
        mailbox.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
        // Ends a wait for messages. Not rd_kafka_yield: that one makes the batch call drop the message it holds.
        let queue = sys::rd_kafka_queue_get_consumer(rk);
        sys::rd_kafka_queue_yield(queue);
        sys::rd_kafka_queue_destroy(queue);
    }
}
