//! The first fold of a job of session windows: the records of one commit are put together into sessions, key by key, as far
//! as they are closer to each other than the gap. What they touch beyond that is found by the merge fold.
//!
//! A session goes out under the bucket of its start, with its late records. A record that is held is in no session: it counts
//! for the bucket of its own time.

use super::writer::PartialWriter;
use super::{LatePolicy, PartialFold, Share, Verdict};
use crate::job::{Accumulator, Sample};
use crate::session::{self, Session, Span};
use crate::table::{self, Table};
use crate::window::{self, Window};
use std::collections::BTreeMap;

/// A session of one commit, and the source offsets that it was made of.
#[derive(Debug, Clone)]
struct Local<A> {
    session: Session<A>,
    first_offset: i64,
    last_offset: i64,
}

/// Sessions of one commit, by key and start.
#[derive(Debug)]
pub(super) struct LocalSessions<A> {
    keys: Table<Vec<Local<A>>>,
    sessions: usize,
}

impl<A> Default for LocalSessions<A> {
    fn default() -> Self {
        Self { keys: Table::default(), sessions: 0 }
    }
}

impl<A: Accumulator> LocalSessions<A> {
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.sessions * size_of::<Local<A>>()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.sessions = 0;
    }

    #[inline]
    fn add(&mut self, offset: i64, gap_ms: i64, late: bool, sample: &Sample<'_, A>) {
        let at = self.keys.position(table::hash(sample.key), sample.key, || Vec::with_capacity(1));
        let Some(sessions) = self.keys.get_mut(at) else { return };
        let event = Span { start: sample.event_time, last: sample.event_time };
        let near = session::near(sessions, |local| local.session.span, event, gap_ms);
        let (from, before) = (near.start, sessions.len());
        if near.is_empty() {
            let session = Session { span: event, records: 0, late: 0, sum: A::default() };
            sessions.insert(from, Local { session, first_offset: offset, last_offset: offset });
        } else {
            // One event lies between two sessions at most.
            let next = (near.len() > 1).then(|| sessions.remove(from + 1));
            let local = sessions.get_mut(from);
            if let (Some(local), Some(next)) = (local, next) {
                local.session.join(&next.session);
                local.first_offset = local.first_offset.min(next.first_offset);
            }
        }
        self.sessions += sessions.len();
        self.sessions -= before;
        if let Some(Local { session, last_offset, .. }) = sessions.get_mut(from) {
            session.span = session.span.with(event);
            session.records += 1;
            session.late += i64::from(late);
            session.sum.add(&sample.add);
            *last_offset = offset;
        }
    }
}

/// What a merge partition gets for a bucket, the rows by key and place.
#[derive(Default)]
struct Group {
    share: Share,
    rows: Vec<(u32, u32)>,
}

impl<A: Accumulator> PartialFold<A> {
    // Not inlined: the fold of fixed windows stays as small as it is without sessions.
    #[inline(never)]
    pub(super) fn fold_session(
        &mut self,
        offset: i64,
        gap_ms: i64,
        before: Option<i64>,
        sample: &Sample<'_, A>,
    ) -> Verdict {
        let time = sample.event_time;
        let late = before.filter(|_| session::is_late(time, self.grace_ms, before));
        if late.is_some() && self.late == LatePolicy::Hold {
            self.counts.held += 1;
            let merge_partition = table::merge_partition(table::hash(sample.key), self.merge_partitions);
            let open = self.open(window::session_bucket(time).start);
            if let Some(share) = open.shares.get_mut(merge_partition as usize) {
                share.widen(offset, offset);
                share.held += 1;
            }
        } else {
            self.counts.late += i64::from(late.is_some());
            self.sessions.add(offset, gap_ms, late.is_some(), sample);
        }
        match late {
            None => Verdict::OnTime,
            Some(watermark) => {
                let window = Window { start: time, end: time.saturating_add(gap_ms) };
                Verdict::Late { window, windows: 1, watermark }
            }
        }
    }

    /// As [`PartialFold::partials`].
    pub(super) fn session_partials<E>(&self, mut send: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut groups = self.session_groups();
        for merge_partition in 0..self.merge_partitions {
            let mut writer = PartialWriter::new(self, merge_partition, &mut send);
            let later = groups.split_off(&(merge_partition + 1, i64::MIN));
            for ((_, bucket), Group { share, rows }) in std::mem::replace(&mut groups, later) {
                writer.window(bucket, &share, &rows, |&(key_at, at), out| {
                    let Some((key, entry)) = self.sessions.keys.get(key_at as usize) else { return };
                    if let Some(local) = entry.value.get(at as usize) {
                        out.session(key, &local.session);
                    }
                })?;
            }
            writer.end()?;
        }
        Ok(())
    }

    fn session_groups(&self) -> BTreeMap<(u32, i64), Group> {
        let mut groups: BTreeMap<(u32, i64), Group> = BTreeMap::new();
        for window in &self.windows {
            for (merge_partition, share) in window.shares.iter().enumerate().filter(|(_, s)| s.offsets.is_some()) {
                groups.entry((merge_partition as u32, window.start)).or_default().share = *share;
            }
        }
        for (key_at, (_, entry)) in self.sessions.keys.iter().enumerate() {
            let merge_partition = table::merge_partition(entry.hash(), self.merge_partitions);
            for (at, local) in entry.value.iter().enumerate() {
                let bucket = window::session_bucket(local.session.span.start).start;
                let group = groups.entry((merge_partition, bucket)).or_default();
                group.share.widen(local.first_offset, local.last_offset);
                group.share.late += local.session.late;
                group.rows.push((key_at as u32, at as u32));
            }
        }
        groups
    }
}
