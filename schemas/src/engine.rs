//! The engine's own records, field by field as in `avsc/engine/`. Times are milliseconds since the epoch, UTC.

use crate::avro_record;

avro_record! {
    /// `Partial.avsc`: what one commit of one source partition adds to the windows of one merge partition.
    pub struct Partial<'a> {
        /// Of the job version.
        pub fingerprint: i64,
        /// Source topic.
        pub topic: &'a str,
        /// Source partition.
        pub partition: i32,
        /// By window.
        pub windows: Vec<PartialWindow<'a>>,
    }
}

avro_record! {
    /// One window of a [`Partial`].
    pub struct PartialWindow<'a> {
        /// Start of the window.
        pub start: i64,
        /// Lowest source offset counted.
        pub first_offset: i64,
        /// Highest source offset counted.
        pub last_offset: i64,
        /// Late records in the rows.
        pub late: i64,
        /// Late records not in the rows.
        pub held: i64,
        /// By key.
        pub rows: Vec<PartialRow<'a>>,
    }
}

avro_record! {
    /// One key of a [`PartialWindow`].
    pub struct PartialRow<'a> {
        /// Avro-encoded key fields.
        pub key: &'a [u8],
        /// Records folded.
        pub records: i64,
        /// Avro-encoded accumulators.
        pub accumulator: &'a [u8],
    }
}

avro_record! {
    /// `Marker.avsc`: how far a commit has read its source partitions.
    pub struct Marker {
        /// Of the job version.
        pub fingerprint: i64,
        /// Processing time of the commit.
        pub at: i64,
        /// Append time of the oldest record in this commit.
        pub oldest_append: Option<i64>,
        /// Every source partition of this commit.
        pub sources: Vec<SourceMark>,
        /// Of every source topic.
        pub partition_counts: Vec<TopicPartitions>,
    }
}

avro_record! {
    /// One source partition of a [`Marker`]. The counts are of this commit alone.
    pub struct SourceMark {
        /// Source topic.
        pub topic: String,
        /// Source partition.
        pub partition: i32,
        /// Every record below it is in partials before the marker.
        pub next_offset: i64,
        /// Highest event time accepted.
        pub watermark: Option<i64>,
        /// When the partition was last found read to its end.
        pub idle_at: Option<i64>,
        /// Records read.
        pub records: i64,
        /// Late and folded.
        pub late: i64,
        /// Late and not folded.
        pub held: i64,
        /// Taken out by the job's where.
        pub filtered: i64,
        /// Dead-lettered.
        pub dead_lettered: i64,
        /// Repeats of a record that the job counts once.
        pub duplicates: i64,
    }
}

avro_record! {
    /// How many partitions a topic has.
    pub struct TopicPartitions {
        /// Topic name.
        pub topic: String,
        /// Number of partitions.
        pub partitions: i32,
    }
}

avro_record! {
    /// `Repair.avsc`: rows of a sealed window, recomputed. All of one merge partition stand in one transaction; the last of them
    /// ends with the ledger.
    pub struct Repair<'a> {
        /// Of the job version.
        pub fingerprint: i64,
        /// Start of the window.
        pub window_start: i64,
        /// Epoch of the ledger that it was computed from.
        pub replaces: i32,
        /// They take the place of those of the same key; one of no records takes it away.
        pub rows: Vec<PartialRow<'a>>,
        /// Of the last one: what the window holds from now on.
        pub ledger: Option<RepairedLedger>,
    }
}

avro_record! {
    /// What a window holds after a [`Repair`].
    pub struct RepairedLedger {
        /// Distinct keys.
        pub rows: i64,
        /// Records in the rows.
        pub records: i64,
        /// Of these, late ones that were not in the rows before: held.
        pub held: i64,
        /// Likewise: come after the window was sealed.
        pub sealed_out: i64,
        /// Where the records came from.
        pub sources: Vec<SourceRange>,
    }
}

avro_record! {
    /// `Ledger.avsc`: what one merge partition knows of one window.
    pub struct Ledger {
        /// Start of the window.
        pub window_start: i64,
        /// Its end, not in it.
        pub window_end: i64,
        /// Merge partition.
        pub merge_partition: i32,
        /// Distinct keys.
        pub rows: i64,
        /// Records in the rows.
        pub records: i64,
        /// Of these, late when read.
        pub late: i64,
        /// Late and not in the rows.
        pub held: i64,
        /// Came after sealing; not in the rows.
        pub sealed_out: i64,
        /// Late or straggling records are in the rows.
        pub amended: bool,
        /// No record can change the window any more; only a recomputation can.
        pub sealed: bool,
        /// Append time of the first partial.
        pub opened_at: i64,
        /// Append time of the marker that made it final here.
        pub closed_at: Option<i64>,
        /// Append time of the last partial folded, or of the recomputation.
        pub updated_at: i64,
        /// Where its records came from, by topic and partition.
        pub sources: Vec<SourceRange>,
        /// Grows by one with each recomputation that is written.
        pub epoch: i32,
        /// Partials offset + 1 of the last change.
        pub revision: i64,
    }
}

avro_record! {
    /// Source offsets that a window was made of; both ends are in it.
    pub struct SourceRange {
        /// Source topic.
        pub topic: String,
        /// Source partition.
        pub partition: i32,
        /// Lowest offset.
        pub first_offset: i64,
        /// Highest offset.
        pub last_offset: i64,
    }
}

avro_record! {
    /// `Progress.avsc`: how far one merge partition has come.
    pub struct Progress {
        /// Of the job version.
        pub fingerprint: i64,
        /// Merge partition.
        pub merge_partition: i32,
        /// M.
        pub merge_partitions: i32,
        /// Minimum over all source partitions.
        pub watermark: Option<i64>,
        /// Processing time of the last marker folded.
        pub as_of: i64,
        /// Append time of the oldest source record among what this entry is the first to speak of.
        pub oldest_append: Option<i64>,
        /// By topic and partition.
        pub sources: Vec<SourceProgress>,
        /// Of every source topic.
        pub partition_counts: Vec<TopicPartitions>,
        /// Grows when partials are rebuilt.
        pub epoch: i32,
        /// Partials offset + 1 of the last marker folded, or of the last recomputation of a window.
        pub revision: i64,
    }
}

avro_record! {
    /// One source partition of a [`Progress`]. The counts are since the job version began.
    pub struct SourceProgress {
        /// Source topic.
        pub topic: String,
        /// Source partition.
        pub partition: i32,
        /// Every record below it is folded.
        pub next_offset: i64,
        /// Highest event time accepted.
        pub watermark: Option<i64>,
        /// When the partition was last found read to its end.
        pub idle_at: Option<i64>,
        /// Records read.
        pub records: i64,
        /// Late and folded.
        pub late: i64,
        /// Late and not folded.
        pub held: i64,
        /// Taken out by the job's where.
        pub filtered: i64,
        /// Dead-lettered.
        pub dead_lettered: i64,
        /// Repeats of a record that the job counts once.
        pub duplicates: i64,
    }
}

avro_record! {
    /// `SeenIds.avsc`: ids that one commit of a source partition has seen for the first time.
    pub struct SeenIds<'a> {
        /// Of the job version.
        pub fingerprint: i64,
        /// Source topic.
        pub topic: &'a str,
        /// Source partition.
        pub partition: i32,
        /// 24 bytes each: the id and the log time it was seen at.
        pub ids: &'a [u8],
    }
}

avro_record! {
    /// `RowState.avsc`: changelog entry of one row of window state.
    pub struct RowState<'a> {
        /// Start of the window.
        pub window_start: i64,
        /// Avro-encoded key fields.
        pub key: &'a [u8],
        /// Records folded.
        pub records: i64,
        /// Avro-encoded accumulators.
        pub accumulator: &'a [u8],
        /// Partials offset + 1 of the last change.
        pub revision: i64,
    }
}

avro_record! {
    /// `LateRecord.avsc`: a record that was late for one of its windows.
    pub struct LateRecord<'a> {
        /// Source topic.
        pub topic: &'a str,
        /// Source partition.
        pub partition: i32,
        /// Its offset.
        pub offset: i64,
        /// Its event time.
        pub event_time: i64,
        /// Start of the window it was late for.
        pub window_start: i64,
        /// End of that window.
        pub window_end: i64,
        /// Of its source partition, before it.
        pub watermark: i64,
        /// The job's grace.
        pub grace_ms: i64,
        /// What became of it.
        pub reason: LateReason,
        /// Bytes of the record's value.
        pub value_length: i64,
        /// The first of them, as read.
        pub value: &'a [u8],
    }
}

/// What became of a late record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateReason {
    /// Folded all the same (policy amend).
    Amended,
    /// Not folded (policy hold).
    Held,
}

impl crate::avro::Avro<'_> for LateReason {
    fn put(&self, out: &mut Vec<u8>) {
        crate::avro::put_long(out, matches!(self, Self::Held).into());
    }
    fn get(reader: &mut crate::avro::Reader<'_>) -> Result<Self, crate::avro::Error> {
        match reader.long()? {
            0 => Ok(Self::Amended),
            1 => Ok(Self::Held),
            other => Err(crate::avro::Error::Branch(other)),
        }
    }
}

avro_record! {
    /// `SealedOut.avsc`: a partial row that came after its window was sealed.
    pub struct SealedOut<'a> {
        /// Source topic.
        pub topic: &'a str,
        /// Source partition.
        pub partition: i32,
        /// Lowest source offset of the partial window it was in.
        pub first_offset: i64,
        /// Highest one.
        pub last_offset: i64,
        /// Start of the window.
        pub window_start: i64,
        /// Its end.
        pub window_end: i64,
        /// Avro-encoded key fields.
        pub key: &'a [u8],
        /// Records not folded.
        pub records: i64,
        /// Avro-encoded accumulators.
        pub accumulator: &'a [u8],
    }
}

avro_record! {
    /// `DeadLetter.avsc`: a record that a job could not read or may not count.
    pub struct DeadLetter<'a> {
        /// Source topic.
        pub topic: &'a str,
        /// Source partition.
        pub partition: i32,
        /// Its offset.
        pub offset: i64,
        /// Its append time.
        pub appended_at: i64,
        /// Short name of the rule it broke.
        pub rule: &'a str,
        /// What was found, for people.
        pub detail: &'a str,
        /// The first bytes of the record's key.
        pub key: Option<&'a [u8]>,
        /// Bytes of the record's value.
        pub value_length: i64,
        /// The first of them.
        pub value: Option<&'a [u8]>,
    }
}

avro_record! {
    /// `Ticked.avsc`: Time has passed: a timer of a keyed process is due. Its append time is the time; written by the owner of the partition to its own input.
    pub struct Ticked {
        /// The timer that called for it.
        pub due: i64,
    }
}
