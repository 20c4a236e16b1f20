//! The rules of fields.

use crate::problem::Problem;

/// Bytes of a document's name.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Bytes of an owner's or worker's name.
pub(crate) const WHO_BYTES_MAX: usize = 128;
/// Bytes of a step's name.
pub(crate) const STEP_BYTES_MAX: usize = 64;
/// Bytes of a queue's name.
const QUEUE_BYTES_MAX: usize = 64;
/// Bytes of a mail address.
const MAIL_BYTES_MAX: usize = 254;
/// Bytes of an Idempotency-Key; with the number of a file it still is an upload's id.
const KEY_BYTES_MAX: usize = 200;
/// Tasks that a worker takes at a time.
const CAPACITY_MAX: i32 = 1_024;

/// A text of 1 to `bytes_max` bytes without control characters.
pub(crate) fn text(field: &str, value: &str, bytes_max: usize) -> Result<(), Problem> {
    let rule = format!("1 to {bytes_max} bytes of UTF-8, no control characters");
    if value.is_empty() || value.len() > bytes_max {
        return Err(Problem::field(field, format!("`{field}` has {} bytes", value.len()), rule));
    }
    match value.chars().find(|c| c.is_control()) {
        Some(c) => {
            Err(Problem::field(field, format!("`{field}` holds the control character U+{:04X}", c as u32), rule))
        }
        None => Ok(()),
    }
}

/// As the uploader calls it. It is data and never a path, so `../` is as good as any.
pub(crate) fn name(value: &str) -> Result<(), Problem> {
    text("name", value, NAME_BYTES_MAX)
}

/// None, or what looks like an address: whether it is one, only its server knows.
pub(crate) fn mail(value: &str) -> Result<(), Problem> {
    if value.is_empty() {
        return Ok(());
    }
    text("mail", value, MAIL_BYTES_MAX)?;
    let plain = !value.contains(|c: char| c.is_whitespace() || "<>,;\"()".contains(c));
    match value.split_once('@') {
        Some((local, domain)) if plain && !local.is_empty() && !domain.is_empty() && !domain.contains('@') => Ok(()),
        _ => {
            let rule = "one address such as ann@example.org, or nothing";
            Err(Problem::field("mail", format!("`mail` is {value:?}"), rule))
        }
    }
}

/// An Idempotency-Key.
pub(crate) fn key(value: &str) -> Result<(), Problem> {
    text("Idempotency-Key", value, KEY_BYTES_MAX)
}

/// A queue's name.
pub(crate) fn queue(value: &str) -> Result<(), Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=QUEUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(plain) {
        return Ok(());
    }
    let rule = "letters, digits, `.`, `_` and `-`, 1 to 64 bytes";
    Err(Problem::field("queue", format!("the queue is called {value:?}"), rule))
}

/// How many tasks a worker takes; `least` is 0 where it may be drained.
pub(crate) fn capacity(value: i32, least: i32) -> Result<(), Problem> {
    if (least..=CAPACITY_MAX).contains(&value) {
        return Ok(());
    }
    Err(Problem::field("capacity", format!("`capacity` is {value}"), format!("{least} to {CAPACITY_MAX}")))
}

/// A FileID.
pub(crate) fn file_id(value: &str) -> Result<(), Problem> {
    if value.len() == 64 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let rule = "the SHA-256 of the contents: 64 hexadecimal digits in lower case";
    Err(Problem::field("file_id", format!("`file_id` is {value:?}"), rule))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_are_data() {
        for good in ["a", "../../etc/passwd", "C:\\x", "ö.pdf", &"n".repeat(255)] {
            name(good).unwrap();
        }
        for bad in ["", "a\0b", "a\nb", "\u{85}", &"n".repeat(256)] {
            assert_eq!(name(bad).unwrap_err().field.as_deref(), Some("name"), "{bad:?}");
        }
    }

    #[test]
    fn addresses_look_like_some() {
        for good in ["", "ann@example.org", "a+b@localhost"] {
            mail(good).unwrap();
        }
        for bad in ["ann", "@x", "a@", "a@b, c@d", "a@b\r\nBcc: x@y", "Ann <a@b>", "@b@c", "a@@", "a@b@c"] {
            mail(bad).unwrap_err();
        }
    }
}
