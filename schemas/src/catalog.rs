//! Every schema of the platform, by full name.

use std::borrow::Cow;

/// A schema that is read or written: one of the platform's, or one that a job brings with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Namespace and name, for example `tidemark.flows.FlowObserved`.
    pub name: Cow<'static, str>,
    /// The .avsc text.
    pub avsc: Cow<'static, str>,
}

macro_rules! schemas {
    ($($(#[$meta:meta])* $id:ident = $name:literal, $file:literal;)*) => {
        $($(#[$meta])* pub const $id: Schema = Schema {
            name: Cow::Borrowed($name),
            avsc: Cow::Borrowed(include_str!(concat!("../avsc/", $file))),
        };)*
        /// All of them.
        pub const ALL: &[Schema] = &[$($id),*];
    };
}

schemas! {
    /// One network flow as an agent saw it.
    FLOW_OBSERVED = "tidemark.flows.FlowObserved", "flows/FlowObserved.avsc";
    /// Hourly sums of a flow key.
    FLOW_HOURLY = "tidemark.flows.FlowHourly", "flows/FlowHourly.avsc";
    /// Pre-folded records.
    PARTIAL = "tidemark.engine.Partial", "engine/Partial.avsc";
    /// How far a commit has read.
    MARKER = "tidemark.engine.Marker", "engine/Marker.avsc";
    /// Rows of a sealed window, recomputed.
    REPAIR = "tidemark.engine.Repair", "engine/Repair.avsc";
    /// What is known of a window.
    LEDGER = "tidemark.engine.Ledger", "engine/Ledger.avsc";
    /// How far a merge partition has come.
    PROGRESS = "tidemark.engine.Progress", "engine/Progress.avsc";
    /// Changelog entry of a row.
    ROW_STATE = "tidemark.engine.RowState", "engine/RowState.avsc";
    /// Ids seen by a job that counts repeats once.
    SEEN_IDS = "tidemark.engine.SeenIds", "engine/SeenIds.avsc";
    /// A late record.
    LATE_RECORD = "tidemark.engine.LateRecord", "engine/LateRecord.avsc";
    /// A partial row for a sealed window.
    SEALED_OUT = "tidemark.engine.SealedOut", "engine/SealedOut.avsc";
    /// A record that could not be read.
    DEAD_LETTER = "tidemark.engine.DeadLetter", "engine/DeadLetter.avsc";
    /// What a gateway answered.
    ANSWER = "tidemark.gateway.Answer", "gateway/Answer.avsc";
    /// How far a gateway has published its spool.
    SPOOL_POSITION = "tidemark.gateway.SpoolPosition", "gateway/SpoolPosition.avsc";
    /// A job that was applied.
    JOB_ENTRY = "tidemark.jobs.JobEntry", "jobs/JobEntry.avsc";
}
