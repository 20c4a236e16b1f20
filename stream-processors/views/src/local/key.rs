//! Keys whose byte order is the order of what they encode.
//!
//! - text: its UTF-8 bytes with each NUL as `00 FF`, ended by `00 01`. The end sorts below every continuation, an embedded
//!   NUL included, so that a text sorts before those it is a prefix of and no key is the beginning of another one.
//! - integers and times: big-endian two's complement with the sign bit flipped.
//! - booleans: `00` and `01`.

use std::ops::Bound;

use crate::{Column, Kind, RowPartition, Value};

const END: [u8; 2] = [0x00, 0x01];
const NUL: [u8; 2] = [0x00, 0xff];

/// Bytes that no key of the given columns has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed key")]
pub(super) struct Malformed;

/// A range of keys, as fjall takes it.
pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        if byte == 0 { out.extend(NUL) } else { out.push(byte) }
    }
    out.extend(END);
}

pub(super) fn put_long(out: &mut Vec<u8>, value: i64) {
    out.extend((value ^ i64::MIN).to_be_bytes());
}

fn put_integer(out: &mut Vec<u8>, value: i128) {
    out.extend((value ^ i128::MIN).to_be_bytes());
}

pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => put_text(out, text),
        Value::Long(long) | Value::Time(long) => put_long(out, *long),
        Value::Integer(integer) => put_integer(out, *integer),
        Value::Boolean(boolean) => out.push(u8::from(*boolean)),
        // No key has these: the view's spec and every row and query have been checked before.
        Value::Null | Value::Double(_) | Value::Json(_) => {}
    }
}

/// The beginning that the keys of all rows of `partition` share.
pub(super) fn of_partition(partition: &RowPartition) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_text(&mut out, &partition.tenant);
    put_long(&mut out, partition.window_start);
    put_long(&mut out, partition.merge_partition.into());
    out
}

/// A row's key, or the beginning of the keys of all rows with these first clustering values.
pub(super) fn of_row(partition: &RowPartition, clustering: &[Value]) -> Vec<u8> {
    let mut out = of_partition(partition);
    clustering.iter().for_each(|value| put_value(&mut out, value));
    out
}

/// A key that begins with a text: what the tables that views share are ordered by.
pub(super) fn of_text(text: &str, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2 + rest.len());
    put_text(&mut out, text);
    out.extend(rest);
    out
}

/// All keys that begin with `prefix` and come after `after`.
pub(super) fn range(prefix: Vec<u8>, after: Option<Vec<u8>>) -> Option<Range> {
    let end = successor(&prefix);
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    // A range that ends before it starts is empty here but a panic in ordered maps.
    match (&from, &end) {
        (Bound::Excluded(from), Bound::Excluded(end)) if from >= end => None,
        _ => Some((from, end)),
    }
}

/// The bound above all keys that begin with `prefix`.
fn successor(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Reads the clustering values behind the partition's prefix.
pub(super) fn clustering(columns: &[Column], mut left: &[u8]) -> Result<Vec<Value>, Malformed> {
    let values = columns.iter().map(|column| take_value(column.kind, &mut left)).collect::<Result<_, _>>()?;
    if left.is_empty() { Ok(values) } else { Err(Malformed) }
}

fn take_value(kind: Kind, left: &mut &[u8]) -> Result<Value, Malformed> {
    Ok(match kind {
        Kind::Text => Value::Text(take_text(left)?),
        Kind::Long => Value::Long(i64::from_be_bytes(take(left)?) ^ i64::MIN),
        Kind::Integer => Value::Integer(i128::from_be_bytes(take(left)?) ^ i128::MIN),
        Kind::Time => Value::Time(i64::from_be_bytes(take(left)?) ^ i64::MIN),
        Kind::Boolean => match take(left)? {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return Err(Malformed),
        },
        Kind::Double | Kind::Json => return Err(Malformed),
    })
}

fn take<const N: usize>(left: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = left.split_first_chunk().ok_or(Malformed)?;
    *left = rest;
    Ok(*taken)
}

fn take_text(left: &mut &[u8]) -> Result<String, Malformed> {
    let mut text = Vec::new();
    loop {
        let [byte] = take(left)?;
        if byte != 0 {
            text.push(byte);
            continue;
        }
        match take(left)? {
            [0xff] => text.push(0),
            [0x01] => return String::from_utf8(text).map_err(|_| Malformed),
            _ => return Err(Malformed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a\\x00\\x01]{0,4}", any::<String>()]
    }

    fn key(values: &(String, i64, i128, String)) -> Vec<u8> {
        let mut out = vec![];
        put_text(&mut out, &values.0);
        put_long(&mut out, values.1);
        put_integer(&mut out, values.2);
        put_text(&mut out, &values.3);
        out
    }

    fn columns(kinds: &[Kind]) -> Vec<Column> {
        kinds.iter().map(|kind| Column { name: "c".into(), kind: *kind }).collect()
    }

    proptest! {
        #[test]
        fn bytes_order_as_values(a in (text(), -2i64..2, any::<i128>(), text()), b in (text(), -2i64..2, any::<i128>(), text())) {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn values_come_back(a in (text(), any::<i64>(), any::<i128>(), text())) {
            let kinds = columns(&[Kind::Text, Kind::Long, Kind::Integer, Kind::Text]);
            let values = clustering(&kinds, &key(&a)).unwrap();
            prop_assert_eq!(values, vec![Value::Text(a.0), Value::Long(a.1), Value::Integer(a.2), Value::Text(a.3)]);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = clustering(&columns(&[Kind::Text, Kind::Long]), &bytes);
        }

        #[test]
        fn a_range_holds_its_prefix_and_no_more(prefix: Vec<u8>, after: Option<Vec<u8>>, key: Vec<u8>, longer: bool) {
            use std::ops::RangeBounds;
            let key = if longer { [prefix.clone(), key].concat() } else { key };
            let held = range(prefix.clone(), after.clone()).is_some_and(|range| range.contains(&key));
            prop_assert_eq!(held, key.starts_with(&prefix) && after.is_none_or(|after| key > after));
        }
    }
}
