//! The mails of one partition that are read and not handled yet, and what of it a commit says.
//!
//! The committed offset is that of the first mail that is not handled. Mails after it may be handled already, since one that is
//! deferred does not hold the others: the offset's metadata says how far (`HANDLED_TO:`) and which of them are *not* handled,
//! each as a distance from the committed offset. So a successor sends none of them again. A mail is begun only while fewer than
//! [`AHEAD_MAX`] unhandled ones stand before it, so that the metadata has its bound.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_log::{GroupOffset, TopicPartition};

use crate::backoff::Backoff;
use crate::mail::Mail;

/// Unhandled mails of a partition that later ones may overtake.
pub const AHEAD_MAX: usize = 100;
/// Tries of a mail before its age may give it up.
pub const TRIES_MIN: u32 = 5;
/// What a log keeps with an offset, bytes.
const METADATA_MAX: usize = 4_000;
/// A distance between offsets, with its separator.
const DISTANCE_MAX: usize = 20;
const _: () = assert!((AHEAD_MAX + 1) * DISTANCE_MAX <= METADATA_MAX);

/// A record that waits.
#[derive(Debug)]
pub(crate) enum Item {
    /// To be sent.
    Mail(Box<Pending>),
    /// Cannot be sent: its dead letter, encoded.
    Dead(Vec<u8>),
}

/// A mail with what is known of its tries.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) mail: Mail,
    /// By this process.
    pub(crate) tries: u32,
    /// The next one is not made before this time.
    pub(crate) not_before: i64,
}

impl Pending {
    pub(crate) fn new(mail: Mail) -> Self {
        Self { mail, tries: 0, not_before: i64::MIN }
    }

    /// Whether it is put off no longer: it is old, and it was not only the pause between two tries that made it so.
    pub(crate) fn is_given_up(&self, now: i64, give_up_after_ms: i64) -> bool {
        self.tries >= TRIES_MIN && now.saturating_sub(self.mail.at) >= give_up_after_ms
    }

    fn bytes(&self) -> usize {
        self.mail.text.body.len() + self.mail.text.subject.len()
    }
}

/// A partition of the mails.
pub(crate) struct Waiting {
    pub(crate) partition: TopicPartition,
    items: BTreeMap<i64, Item>,
    /// Everything before is read.
    next_offset: i64,
    /// Nothing from here on is handled.
    handled_to: i64,
    /// Before `handled_to`, not handled, and not read by this owner yet.
    unread: BTreeSet<i64>,
    bytes: usize,
}

impl Waiting {
    /// A partition as it was committed.
    pub(crate) fn restore(committed: GroupOffset) -> Self {
        let GroupOffset { partition, offset, metadata } = committed;
        let (handled_to, unread) = parse(offset, &metadata).unwrap_or((offset, BTreeSet::new()));
        Self { partition, items: BTreeMap::new(), next_offset: offset, handled_to, unread, bytes: 0 }
    }

    /// Where reading begins.
    pub(crate) fn start(&self) -> i64 {
        self.next_offset
    }

    /// A record was read. False: it was handled before, by an owner that has committed it.
    pub(crate) fn read(&mut self, offset: i64) -> bool {
        self.next_offset = self.next_offset.max(offset + 1);
        let is_open = self.unread.remove(&offset);
        is_open || offset >= self.handled_to
    }

    pub(crate) fn push(&mut self, offset: i64, item: Item) {
        self.bytes += bytes(&item);
        self.items.insert(offset, item);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn pending(&mut self, offset: i64) -> Option<&mut Pending> {
        match self.items.get_mut(&offset) {
            Some(Item::Mail(pending)) => Some(pending),
            Some(Item::Dead(_)) | None => None,
        }
    }

    /// Offsets of the mails that may be tried now, in order.
    pub(crate) fn due(&self, now: i64, backoff: Backoff) -> impl Iterator<Item = i64> {
        self.within_reach().filter_map(move |(offset, item)| match item {
            Item::Mail(pending) if backoff.is_over(pending.not_before, now) => Some(offset),
            Item::Mail(_) | Item::Dead(_) => None,
        })
    }

    /// Offset of the first dead letter that may be written now.
    pub(crate) fn dead(&self) -> Option<i64> {
        self.within_reach().find_map(|(offset, item)| matches!(item, Item::Dead(_)).then_some(offset))
    }

    fn within_reach(&self) -> impl Iterator<Item = (i64, &Item)> {
        self.items.iter().take(AHEAD_MAX).map(|(offset, item)| (*offset, item))
    }

    /// What waited there is handled.
    pub(crate) fn handled(&mut self, offset: i64) -> Option<Item> {
        let item = self.items.remove(&offset)?;
        self.bytes = self.bytes.saturating_sub(bytes(&item));
        self.handled_to = self.handled_to.max(offset + 1);
        Some(item)
    }

    /// What a commit says of it.
    pub(crate) fn offset(&self) -> GroupOffset {
        let end = self.next_offset.max(self.handled_to);
        let first = [self.items.keys().next(), self.unread.first()].into_iter().flatten().min().copied();
        let offset = first.unwrap_or(end);
        let open = self.items.range(..self.handled_to).map(|(offset, _)| offset).chain(&self.unread);
        let open: BTreeSet<i64> = open.copied().filter(|open| *open > offset).collect();
        let metadata = if self.handled_to > offset { write(offset, self.handled_to, &open) } else { String::new() };
        GroupOffset { partition: self.partition.clone(), offset, metadata }
    }
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Mail(pending) => pending.bytes(),
        Item::Dead(letter) => letter.len(),
    }
}

fn write(offset: i64, handled_to: i64, open: &BTreeSet<i64>) -> String {
    let open: Vec<String> = open.iter().map(|open| (open - offset).to_string()).collect();
    format!("{}:{}", handled_to - offset, open.join(","))
}

/// Reads what [`write`] wrote; `None` for anything else, which leaves the offset alone to go by.
fn parse(offset: i64, metadata: &str) -> Option<(i64, BTreeSet<i64>)> {
    let (handled_to, open) = metadata.split_once(':')?;
    let at = |distance: &str| {
        distance.parse::<i64>().ok().filter(|distance| *distance > 0).map(|distance| offset.saturating_add(distance))
    };
    let handled_to = at(handled_to)?;
    // The first is open by definition: the offset is its.
    let mut unread = BTreeSet::from([offset]);
    for distance in open.split(',').filter(|distance| !distance.is_empty()) {
        unread.insert(at(distance).filter(|open| *open < handled_to)?);
    }
    Some((handled_to, unread))
}

#[cfg(test)]
mod tests;
