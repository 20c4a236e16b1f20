//! The topics that events in the spool go to, besides the one of flows: how many partitions they have, and which of them are gone.
//!
//! A topic that was there when its events were accepted may be deleted before they are published. Those behind them must not wait
//! for it for ever: once the log has said for [`GONE_AFTER`] that there is no such topic, its events are set aside.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidemark_log::{Error, Log};

/// How often a partition count is asked for.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long a topic is missing until its events are set aside.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(10);
/// Most topics remembered; beyond that all are asked for again.
const TOPICS_MAX: usize = 1_024;

/// What was asked of the log.
#[derive(Default)]
pub(crate) struct Destinations {
    counts: HashMap<String, (u32, Instant)>,
    missing: HashMap<String, Instant>,
}

impl Destinations {
    /// Partition counts of `topics`; those that are gone for good are left out.
    ///
    /// # Errors
    /// The log does not answer, or a topic has been missing for a short time only.
    pub(crate) fn of<'t>(
        &mut self,
        log: &dyn Log,
        topics: impl Iterator<Item = &'t str>,
    ) -> Result<BTreeMap<&'t str, u32>, Error> {
        let mut found = BTreeMap::new();
        for topic in topics {
            if !found.contains_key(topic) {
                found.insert(topic, self.count(log, topic)?);
            }
        }
        Ok(found.into_iter().filter_map(|(topic, count)| Some((topic, count?))).collect())
    }

    fn count(&mut self, log: &dyn Log, topic: &str) -> Result<Option<u32>, Error> {
        let known = self.counts.get(topic).copied();
        if let Some((count, asked)) = known
            && asked.elapsed() < ASK_EVERY
        {
            return Ok(Some(count));
        }
        if self.counts.len().max(self.missing.len()) >= TOPICS_MAX {
            self.counts.clear();
            self.missing.clear();
        }
        match log.partitions(topic) {
            Ok(Some(count)) => {
                self.missing.remove(topic);
                self.counts.insert(topic.to_owned(), (count, Instant::now()));
                Ok(Some(count))
            }
            Ok(None) => {
                self.counts.remove(topic);
                let since = *self.missing.entry(topic.to_owned()).or_insert_with(Instant::now);
                if since.elapsed() >= GONE_AFTER {
                    return Ok(None);
                }
                Err(Error::Retriable(format!(
                    "the topic {topic} is not there any more; make it again within {} s, or its events are set aside",
                    GONE_AFTER.as_secs()
                )))
            }
            // Partitions are never taken away: the known count still holds.
            Err(error) => known.map(|(count, _)| Some(count)).ok_or(error),
        }
    }

    /// The log may have changed under what was asked: ask again.
    pub(crate) fn doubt(&mut self) {
        self.counts.clear();
    }
}
