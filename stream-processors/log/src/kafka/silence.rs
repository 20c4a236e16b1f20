//! When a client that gets no answers is made anew.
//!
//! librdkafka keeps the coordinator of each group that an admin client has asked, and uses it for as long as it is asked. When
//! the brokers leave the metadata for a moment, as one that was stopped does while it is fenced, their handles are given up; the
//! kept one is then never connected again, and every request for that group ends without an answer, while other requests of the
//! same client are answered (seen with 2.12.1, `rd_kafka_coord_req_fsm`). So silence is counted for each group on its own.

use std::collections::BTreeMap;

/// So many requests for the same in a row without an answer, and their client is made anew.
const SILENT_REQUESTS: u32 = 2;

/// Requests in a row that got no answer, by what they asked for: a group, or the cluster (an empty name).
#[derive(Debug, Default)]
pub(super) struct Silence(BTreeMap<String, u32>);

impl Silence {
    /// Notes a request for `of`; whether the client should be made anew now.
    pub(super) fn note(&mut self, of: &str, is_silent: bool) -> bool {
        if !is_silent {
            self.0.remove(of);
            return false;
        }
        let count = self.0.entry(of.to_owned()).or_default();
        *count += 1;
        let is_due = *count >= SILENT_REQUESTS;
        if is_due {
            self.0.clear();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_to_others_do_not_hide_the_silence_about_a_group() {
        let mut silence = Silence::default();
        assert!(!silence.note("merge", true));
        assert!(!silence.note("", false) && !silence.note("partial", false));
        assert!(silence.note("merge", true));
        assert!(!silence.note("merge", true), "the new client has its own chance");
    }

    #[test]
    fn an_answer_ends_the_silence() {
        let mut silence = Silence::default();
        assert!(!silence.note("merge", true) && !silence.note("merge", false) && !silence.note("merge", true));
    }
}
