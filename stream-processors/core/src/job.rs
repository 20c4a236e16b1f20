//! What a job is: its specification, and the code that reads a record and adds it up.

use crate::join::KeyedTable;
use crate::window::Windowing;
use std::sync::Arc;
use tidemark_schemas::avro;

/// State that records are added to; the default is the identity. Merging is bitwise commutative and associative, so that the
/// order of arrival, the split over partitions and the place of commits change nothing.
pub trait Accumulator: Clone + Default + PartialEq + std::fmt::Debug + Send + 'static {
    /// What one record adds; it may borrow from the record and from the job.
    type Item<'a>: std::fmt::Debug;
    /// Adds a record.
    fn add(&mut self, item: &Self::Item<'_>);
    /// Adds `other` to `self`.
    fn merge(&mut self, other: &Self);
    /// Appends the Avro form.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads the Avro form.
    fn get(reader: &mut avro::Reader<'_>) -> Result<Self, avro::Error>;
}

/// A record of a source topic, as a job reads it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Which of the job's source schemas the datum is of.
    pub schema: usize,
    /// Which of [`JobSpec::sources`] it was on.
    pub topic: usize,
    /// Its partition there.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Its append time, milliseconds.
    pub appended_at: i64,
    /// The Avro datum.
    pub datum: &'a [u8],
}

impl<'a> Input<'a> {
    /// A datum of the first schema, at the very start.
    pub fn of(datum: &'a [u8]) -> Self {
        Self { schema: 0, topic: 0, partition: 0, offset: 0, appended_at: 0, datum }
    }
}

/// What one record says to a job.
#[derive(Debug)]
pub struct Sample<'a, A: Accumulator> {
    /// Event time.
    pub event_time: i64,
    /// The key fields, Avro-encoded one after the other.
    pub key: &'a [u8],
    /// What the record adds.
    pub add: A::Item<'a>,
    /// What makes it one with its tenant's repeats of it, [`crate::dedupe::id`]; 0 when the job counts every record.
    pub id: u128,
    /// False when the job's `where` takes the record out: it moves the watermark and is counted, nothing else.
    pub wanted: bool,
}

/// Event time of a record that has none: it moves no watermark.
pub const UNTIMED: i64 = i64::MIN;

/// Longer than any platform runs, 100 years in milliseconds: of what is never to happen, such as that a source falls silent
/// which says by itself how far it is.
pub const NEVER_MS: i64 = 36_500 * 86_400_000;

impl<A: Accumulator> Sample<'_, A> {
    /// Whether the record moves the watermark of its source partition. Where a source says how far it is, nothing else does: of
    /// its records those that are not wanted and have a time.
    #[inline]
    pub fn moves(&self, punctuated: bool) -> bool {
        !punctuated || (!self.wanted && self.event_time != UNTIMED)
    }
}

/// Why a record cannot be counted: it goes to the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Short name of the rule, for example `negative`.
    pub rule: &'static str,
    /// What was found, for people.
    pub detail: String,
}

/// One row of the view, before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewRow<'a, A> {
    /// The key fields, Avro-encoded one after the other; of a session its start comes last.
    pub key: &'a [u8],
    /// Start of the window; of a session, of its bucket.
    pub window_start: i64,
    /// Merge partition that holds the key.
    pub merge_partition: u32,
    /// Append time of the first partial of the window here.
    pub opened_at: i64,
    /// Records folded; none in a session that was retracted.
    pub records: i64,
    /// Their sum.
    pub accumulator: &'a A,
    /// Grows when partials are rebuilt.
    pub epoch: i32,
    /// Last folded partials offset + 1.
    pub revision: i64,
}

/// A windowed aggregation.
pub trait Job: Send + Sync + 'static {
    /// What it sums up.
    type Accumulator: Accumulator;

    /// Its specification.
    fn spec(&self) -> &JobSpec;

    /// Reads a record. `scratch` is empty; a key that does not stand in the datum is put together there.
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, Self::Accumulator>, Reject>;

    /// Whether the sources say how far they are: [`Sample::moves`].
    fn is_punctuated(&self) -> bool {
        false
    }

    /// As [`Job::read`]; `take` sees the sample where it was made. A job whose samples are large makes them here: to move what has
    /// just been written costs as much as to read the record.
    #[inline]
    fn with_sample<'a, R>(
        &'a self,
        input: Input<'a>,
        scratch: &'a mut Vec<u8>,
        take: impl FnOnce(Result<&Sample<'a, Self::Accumulator>, Reject>) -> R,
    ) -> R {
        match self.read(input, scratch) {
            Ok(sample) => take(Ok(&sample)),
            Err(reject) => take(Err(reject)),
        }
    }

    /// The tables that [`Job::read`] looks things up in: whoever reads records keeps them read up to where those were appended.
    fn tables(&self) -> &[Arc<dyn KeyedTable>] {
        &[]
    }

    /// Appends the datum of the view schema.
    fn put_row(&self, row: &ViewRow<'_, Self::Accumulator>, out: &mut Vec<u8>);

    /// Appends the datum of a session, which ends with its event at `last` and is over a gap later. Its key has the session's
    /// start after the key fields, an Avro long; its window is the bucket. Without records it is retracted: it is no more, and
    /// readers pass over it.
    ///
    /// A job whose view has no column for `last` leaves this as it is.
    fn put_session(&self, row: &ViewRow<'_, Self::Accumulator>, last: i64, out: &mut Vec<u8>) {
        let _ = last;
        self.put_row(row, out);
    }
}

/// What becomes of late records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatePolicy {
    /// Folded, and the window is marked amended.
    Amend,
    /// Not folded.
    Hold,
}

/// How a job knows the repeats of a record. They must come in the same source partition as the record itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// Field of the source schema that is unique to a record.
    pub by: String,
    /// A repeat so much later, by append time, counts as a new record. Milliseconds.
    pub for_ms: i64,
}

/// A job's specification. Two jobs with the same fingerprint give the same rows from the same records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// Name, for example `flows.hourly`; letters, digits, `.`, `_` and `-`, at most 39 bytes with `_v` and the version.
    pub name: String,
    /// Grows with every change of meaning.
    pub version: u32,
    /// Source topics.
    pub sources: Vec<String>,
    /// Field of the source schema that is the event time.
    pub time: String,
    /// Repeats of a record are counted once; `None` counts every record.
    pub dedupe: Option<Dedupe>,
    /// Fields of the source schema that make up the key, tenant first.
    pub key: Vec<String>,
    /// The aggregates and their accumulator formats, for people and for the fingerprint.
    pub aggregates: Vec<String>,
    /// `where`, `let`, `emit` and the like, for people and for the fingerprint.
    pub expressions: Vec<String>,
    /// The windows.
    pub window: Windowing,
    /// How long after its end a window waits for stragglers, in event time.
    pub grace_ms: i64,
    /// What becomes of late records.
    pub late: LatePolicy,
    /// How long a window can still change: it is sealed once the watermark has passed end + grace + `amend_for_ms` *and*
    /// so much append time has gone by since its first partial.
    pub amend_for_ms: i64,
    /// A partition is idle after so much silence.
    pub idle_after_ms: i64,
    /// A record whose event time is further ahead of its append time is dead-lettered.
    pub max_future_ms: i64,
    /// M: partitions of the partials topic, 1 to 1,000.
    pub merge_partitions: u32,
    /// How long view rows are kept, from the write of the first revision; at least [`JobSpec::least_retention_ms`].
    pub retention_ms: i64,
}

/// Longest name of a view's table: CQL's, with room for those beside it.
const TABLE_BYTES_MAX: usize = 39;

/// A rule that a specification breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {job}: {field} {rule}")]
pub struct Invalid {
    /// Name of the job.
    pub job: String,
    /// Field of the specification.
    pub field: &'static str,
    /// What the field must be.
    pub rule: &'static str,
}

impl JobSpec {
    /// Checks every field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let name_ok = |name: &str| {
            !name.is_empty()
                && self.view_table().len() <= TABLE_BYTES_MAX
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let rules = [
            (
                name_ok(&self.name),
                "name",
                "must be letters, digits, '.', '_' or '-', at most 39 with `_v` and the version",
            ),
            (self.version >= 1, "version", "must be at least 1"),
            (!self.sources.is_empty(), "source", "must name at least one topic"),
            (!self.key.is_empty(), "key", "must name at least one field"),
            (
                self.dedupe.as_ref().is_none_or(|dedupe| dedupe.for_ms >= 1 && !dedupe.by.is_empty()),
                "dedupe",
                "must name a field, and be for at least 1 ms",
            ),
            (self.window.is_sound(), "window", self.window.rule()),
            (self.grace_ms >= 0, "grace", "must not be negative"),
            (self.amend_for_ms >= 0, "amend_for", "must not be negative"),
            (self.idle_after_ms >= 1, "idle_after", "must be at least 1 ms"),
            (self.max_future_ms >= 0, "max_future", "must not be negative"),
            ((1..=1000).contains(&self.merge_partitions), "merge_partitions", "must be 1 to 1000"),
            (
                self.retention_ms >= self.least_retention_ms(),
                "retention",
                "must be at least the window's length with grace, idle_after, max_future and amend_for, else rows vanish that can \
                 still change",
            ),
        ];
        match rules.into_iter().find(|(ok, ..)| !ok) {
            None => Ok(()),
            Some((_, field, rule)) => Err(Invalid { job: self.name.clone(), field, rule }),
        }
    }

    /// So long after its first write a window can still change, milliseconds: it is first written `max_future_ms` before its start at
    /// the earliest, and can be amended until `amend_for_ms` after it closed.
    pub fn least_retention_ms(&self) -> i64 {
        let waits = [self.grace_ms, self.idle_after_ms, self.max_future_ms, self.amend_for_ms];
        self.window.least_retention_ms(waits)
    }

    /// Hash of everything that changes the meaning of partials and rows; on every partial and marker. What only decides how
    /// long to wait or to keep (`idle_after`, `max_future`, retention) may change at any time and is not in it.
    pub fn fingerprint(&self) -> i64 {
        let Self { name, version, sources, time, key, aggregates, window, grace_ms, late, amend_for_ms, .. } = self;
        let what = format!("{name}|v{version}|{sources:?}|{time}|{key:?}|{aggregates:?}");
        let when = format!("{window}|{grace_ms}|{late:?}|{amend_for_ms}|{}|xxh3", self.merge_partitions);
        let dedupe = self.dedupe.as_ref().map_or(String::new(), |dedupe| format!("|{dedupe:?} of a tenant"));
        let expressions = match self.expressions.as_slice() {
            [] => String::new(),
            some => format!("|{some:?}"),
        };
        crate::table::hash(format!("{what}|{when}{dedupe}{expressions}").as_bytes()) as i64
    }

    /// `tidemark.<job>.v<version>.<role>`: the name of an internal topic, and of the stage's consumer group.
    pub fn internal(&self, role: &str) -> String {
        format!("tidemark.{}.v{}.{role}", self.name, self.version)
    }

    /// `view.<job>.v<version>`: the view topic.
    pub fn view_topic(&self) -> String {
        format!("view.{}.v{}", self.name, self.version)
    }

    /// The view's table: the name with everything but letters and digits turned into `_`, and the version.
    pub fn view_table(&self) -> String {
        let name: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        format!("{name}_v{}", self.version)
    }
}
