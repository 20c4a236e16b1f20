//! Headers of a message that librdkafka holds.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};

use rdkafka::bindings as sys;

/// Headers of a message that librdkafka holds: parsed by it when first asked for.
#[derive(Debug, Clone, Copy)]
pub struct NativeHeaders<'a> {
    message: *const sys::rd_kafka_message_t,
    borrowed: PhantomData<&'a sys::rd_kafka_message_t>,
}

impl<'a> NativeHeaders<'a> {
    /// # Safety
    /// `message` stays valid for `'a` and is used by one thread only (neither type is `Send`).
    pub(super) unsafe fn new(message: *const sys::rd_kafka_message_t) -> Self {
        Self { message, borrowed: PhantomData }
    }

    /// The value of the last header called `name`; `None` also when that header's value is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers: *mut sys::rd_kafka_headers_t = null_mut();
        // SAFETY: the message is valid for 'a; librdkafka keeps the parsed list with it and frees both together.
        let parsed = unsafe { sys::rd_kafka_message_headers(self.message, &mut headers) };
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
