//! Headers of a message that librdkafka holds.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::bindings as sys;

/// Headers of a message that librdkafka holds: parsed by it when first asked for.
#[derive(Debug, Clone, Copy)]
pub struct NativeHeaders<'a> {
    message: *const sys::rd_kafka_message_t,
    borrowed: PhantomData<&'a sys::rd_kafka_message_t>,
}

// SAFETY: only the first look at a message's headers changes it, and that one holds the lock of its message.
unsafe impl Send for NativeHeaders<'_> {}
// SAFETY: as above.
unsafe impl Sync for NativeHeaders<'_> {}

/// Locks for the parsing of headers, chosen by the message's address: two copies of a record may be on two threads.
static PARSING: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

fn parsing(message: *const sys::rd_kafka_message_t) -> Option<MutexGuard<'static, ()>> {
    // Messages are bigger than 64 bytes: the bits above tell neighbours apart.
    let lock = PARSING.get((message.addr() >> 6) % PARSING.len())?;
    Some(lock.lock().unwrap_or_else(PoisonError::into_inner))
}

impl<'a> NativeHeaders<'a> {
    /// # Safety
    /// `message` stays valid for `'a`.
    pub(super) unsafe fn new(message: *const sys::rd_kafka_message_t) -> Self {
        Self { message, borrowed: PhantomData }
    }

    /// The value of the last header called `name`; `None` also when that header's value is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers: *mut sys::rd_kafka_headers_t = null_mut();
        let parsed = {
            let _alone = parsing(self.message);
            // SAFETY: the message is valid for 'a and parsed by this thread alone; librdkafka frees the list with it.
            unsafe { sys::rd_kafka_message_headers(self.message, &mut headers) }
        };
        if parsed != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let mut found = None;
        // By index, since a look-up by name wants a NUL-terminated copy of the name.
        for index in 0.. {
            match at(headers, index) {
                Some((header, value)) if header == name.as_bytes() => found = value,
                Some(_) => {}
                None => break,
            }
        }
        found
    }
}

/// Name and value of header number `index`.
fn at<'a>(headers: *const sys::rd_kafka_headers_t, index: usize) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (null(), null(), 0);
    // SAFETY: `headers` is valid and only read; the out parameters are set when there is no error.
    let result = unsafe { sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
    if result != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return None;
    }
    // SAFETY: the name is NUL-terminated, the value `size` bytes long; both live as long as the message.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes();
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
        Some((name, value))
    }
}
