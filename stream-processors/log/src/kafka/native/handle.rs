//! A client, and its end.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::{Conf, ErrorText};
use crate::watch::{Call, blocking};

/// What making a client may take: certificates are read from disk.
const MAKING: Duration = Duration::from_secs(10);
/// What ending one usually takes at most, with brokers that do not answer.
const ENDING: Duration = Duration::from_secs(30);

/// Which side a client is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Producer,
    Consumer,
}

/// A librdkafka client. Dropped, it ends on a thread of its own, without leaving its group and without committing, since
/// `rd_kafka_destroy` can block for more than a minute.
pub(super) struct Handle {
    rk: *mut sys::rd_kafka_t,
    /// What callbacks point to: must outlive the client.
    kept: Option<Box<dyn Any + Send>>,
}

// SAFETY: every rd_kafka_* call that takes a client may be made from any thread.
unsafe impl Send for Handle {}
// SAFETY: and from several at once.
unsafe impl Sync for Handle {}

impl Handle {
    /// Makes a client. `kept` lives until the client has ended.
    pub(super) fn new(kind: Kind, conf: Conf, kept: Option<Box<dyn Any + Send>>) -> Result<Self, String> {
        let kind = match kind {
            Kind::Producer => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Kind::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        };
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        let conf = conf.into_pointer();
        // SAFETY: a live configuration, which the client takes over when it can be made, and a buffer as long as said.
        let rk = blocking(Call::Connect, MAKING, || unsafe { sys::rd_kafka_new(kind, conf, pointer, size) });
        if rk.is_null() {
            // SAFETY: the configuration is still ours when no client was made.
            unsafe { sys::rd_kafka_conf_destroy(conf) };
            return Err(room.take());
        }
        Ok(Self { rk, kept })
    }

    /// The client; live as long as this value.
    pub(super) fn pointer(&self) -> *mut sys::rd_kafka_t {
        self.rk
    }
}

/// Carries the client to the thread that ends it. What callbacks point to is dropped after the client or never.
struct Ending(*mut sys::rd_kafka_t, ManuallyDrop<Option<Box<dyn Any + Send>>>);

// SAFETY: see `Handle`.
unsafe impl Send for Ending {}

impl Ending {
    fn run(self) {
        blocking(Call::Disconnect, ENDING, || {
            // SAFETY: the last use of the client; queues, topics and messages made from it hold the handle, so are gone.
            unsafe { sys::rd_kafka_destroy_flags(self.0, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
        });
        drop(ManuallyDrop::into_inner(self.1));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let ending = Ending(self.rk, ManuallyDrop::new(self.kept.take()));
        // When no thread can be had the client is leaked, with what its callbacks point to: better than a drop that hangs.
        if let Err(error) = std::thread::Builder::new().name("kafka-destroy".to_owned()).spawn(move || ending.run()) {
            tracing::warn!("a kafka client could not be ended: {error}");
        }
    }
}
