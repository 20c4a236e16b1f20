//! Topics and groups that are deleted.
//!
//! A topic goes in two steps. One durable write takes it out of the list and notes its number: from then on it is gone,
//! whatever happens. Then what it holds is removed a bounded step at a time, and the note with the last of it; a log that
//! died in between goes on with its next round of maintenance. What was begun on the topic, a cursor or a commit, holds its
//! number and so never meets a new topic of the same name.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Inner;
use super::maintain::{RECLAIM_ROUNDS, STEP_BATCHES};
use super::state::{State, TopicNumber};
use crate::{Error, failpoint, members_left};

impl Inner {
    pub(crate) fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.take_out(names)?;
        failpoint::hit("embedded-topic-deleted", "");
        let _one_at_a_time = self.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.empty_deleted(&AtomicBool::new(false))?;
        self.settle_deletions(bytes, RECLAIM_ROUNDS).map_err(Error::Retriable)
    }

    /// The topics are gone on return, and what they hold is not.
    fn take_out(&self, names: &[String]) -> Result<(), Error> {
        let mut state = self.lock();
        self.check_failed(&state)?;
        let numbers: Vec<TopicNumber> = names.iter().filter_map(|name| state.topics.number(name)).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let mut write = self.storage.write();
        numbers.iter().for_each(|number| write.delete_topic(*number));
        write.apply().and_then(|()| self.storage.sync()).map_err(Error::Retriable)?;
        let State { topics, deleted, offsets, .. } = &mut *state;
        numbers.iter().for_each(|number| topics.remove(*number));
        deleted.extend(&numbers);
        offsets.values_mut().for_each(|of_group| of_group.retain(|(topic, _), _| !numbers.contains(topic)));
        // Who waits for records of them is to learn of it.
        self.changed.notify_all();
        self.regroup(&mut state, &names.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(())
    }

    /// Removes what deleted topics hold; returns its bytes. One at a time: compaction might put back a batch of theirs.
    pub(super) fn empty_deleted(&self, stopping: &AtomicBool) -> Result<usize, Error> {
        let state = self.lock();
        let (deleted, ticket) = (state.deleted.clone(), state.queue.accepted);
        if deleted.is_empty() {
            return Ok(0);
        }
        // Commits that were accepted before may still be on their way to the disk, and would come there afterwards.
        drop(self.wait_durable(state, ticket).map_err(|e| Error::Retriable(e.to_string()))?);
        let mut bytes = 0;
        for number in deleted {
            bytes += self.storage.batch_bytes(number)?;
            if !self.empty(number, stopping)? {
                break;
            }
            self.lock().deleted.remove(&number);
        }
        Ok(bytes)
    }

    /// False when it was cut short.
    fn empty(&self, number: TopicNumber, stopping: &AtomicBool) -> Result<bool, Error> {
        let mut keys = self.storage.batch_keys(number).peekable();
        while keys.peek().is_some() {
            if stopping.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let mut write = self.storage.write();
            for key in keys.by_ref().take(STEP_BATCHES) {
                write.remove_batch_key(&key?);
            }
            write.apply().map_err(Error::Retriable)?;
            failpoint::hit("embedded-topic-step", "");
        }
        // The note goes last: without it nobody would look for what is left.
        self.storage.sync().map_err(Error::Retriable)?;
        let mut write = self.storage.write();
        for key in self.storage.mark_keys(number) {
            write.remove_mark_key(&key?);
        }
        self.storage
            .offsets()?
            .iter()
            .filter(|offset| offset.1 == number)
            .for_each(|offset| write.remove_offset(offset));
        write.forget_topic(number);
        write.apply().and_then(|()| self.storage.sync()).map_err(Error::Retriable)?;
        Ok(true)
    }

    pub(crate) fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        let mut state = self.lock();
        self.check_failed(&state)?;
        groups.iter().try_for_each(|group| self.check_empty(&mut state, group))?;
        for group in groups {
            // The group itself stays, so that no seat in it is given twice.
            state.offsets.remove(group);
        }
        self.drop_open_offsets(&mut state, groups);
        let ticket = state.queue.accepted;
        // What members committed before they left may be on its way to the disk still.
        let state = self.wait_durable(state, ticket).map_err(|e| Error::Retriable(e.to_string()))?;
        let mut write = self.storage.write();
        let kept = |group: &str, place| state.offsets.get(group).is_some_and(|offsets| offsets.contains_key(&place));
        for offset in self.storage.offsets()? {
            // One that is known again was committed since, by a new group of that name.
            if groups.contains(&offset.0) && !kept(&offset.0, (offset.1, offset.2)) {
                write.remove_offset(&offset);
            }
        }
        write.apply().and_then(|()| self.storage.sync()).map_err(Error::Retriable)
    }

    fn check_empty(&self, state: &mut State, name: &str) -> Result<(), Error> {
        let now = self.elapsed_ms();
        let members = match state.groups.contains_key(name) {
            false => 0,
            true => self.with_group(state, name, |group, counts| {
                group.expire(now, counts);
                group.len()
            }),
        };
        if members == 0 { Ok(()) } else { Err(members_left(name, Some(members))) }
    }
}
