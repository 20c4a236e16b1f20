//! Client configuration, and librdkafka's own log.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int};

use rdkafka::bindings as sys;

use super::{ErrorText, c_string, text};

/// A configuration under construction.
pub(crate) struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    /// The properties given to every client first, then the particular ones, which win.
    pub(crate) fn new(shared: &BTreeMap<String, String>, own: &[(&str, &str)]) -> Result<Self, String> {
        // SAFETY: no preconditions; the callback is a static function.
        let mut conf = unsafe {
            let conf = sys::rd_kafka_conf_new();
            sys::rd_kafka_conf_set_log_cb(conf, Some(log));
            Self(conf)
        };
        for (name, value) in shared {
            conf.set(name, value)?;
        }
        for (name, value) in own {
            conf.set(name, value)?;
        }
        Ok(conf)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (name_c, value_c) = (c_string(name), c_string(value));
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        // SAFETY: live configuration, NUL-terminated strings, a buffer as long as said.
        let result = unsafe { sys::rd_kafka_conf_set(self.0, name_c.as_ptr(), value_c.as_ptr(), pointer, size) };
        match result {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN | sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID => {
                Err(format!("kafka property {name}: {}", room.take()))
            }
        }
    }

    /// The configuration itself, for callbacks; still owned by this value.
    pub(super) fn pointer(&mut self) -> *mut sys::rd_kafka_conf_t {
        self.0
    }

    /// Gives the configuration away.
    pub(super) fn into_pointer(mut self) -> *mut sys::rd_kafka_conf_t {
        std::mem::replace(&mut self.0, std::ptr::null_mut())
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, and destroyed once.
            unsafe { sys::rd_kafka_conf_destroy(self.0) }
        }
    }
}

/// Passes librdkafka's log on. Called from its threads, with syslog levels.
unsafe extern "C" fn log(_rk: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, message: *const c_char) {
    // SAFETY: librdkafka passes NUL-terminated strings that live for the call.
    let (facility, message) = unsafe { (text(facility), text(message)) };
    match level {
        ..=3 => tracing::error!(target: "librdkafka", "{facility}: {message}"),
        4 => tracing::warn!(target: "librdkafka", "{facility}: {message}"),
        5 | 6 => tracing::info!(target: "librdkafka", "{facility}: {message}"),
        7.. => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
    }
}
