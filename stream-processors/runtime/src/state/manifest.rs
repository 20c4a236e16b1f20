//! What a checkpoint consists of, and whether it may be used: pure.

#![allow(unreachable_pub, reason = "the macro declares public records")]

use std::sync::LazyLock;
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::{avro_record, catalog};
use xxhash_rust::xxh3::xxh3_64;

/// A checkpoint that is older is not used: half of the time that compaction keeps tombstones (a day), so that no removal of
/// a row can have vanished from the tail that is read after it.
pub(crate) const AGE_MS_MAX: i64 = 12 * 3_600_000;

/// Name of the file.
pub(crate) const NAME: &str = "manifest";

/// First bytes of the file.
const MAGIC: &[u8; 8] = b"tidestat";

/// Changes with the schemas that the files hold records of, so that files of other forms are never read.
static FORMAT: LazyLock<i64> = LazyLock::new(|| {
    let schemas = [catalog::ROW_STATE, catalog::LEDGER, catalog::PROGRESS];
    let texts: String = schemas.iter().map(|schema| &*schema.avsc).collect();
    xxh3_64(texts.as_bytes()) as i64
});

avro_record! {
    /// One file of a checkpoint.
    pub struct Stored {
        /// Its name is made of this number; numbers grow and are never used again.
        pub number: i64,
        /// Length.
        pub bytes: i64,
        /// XXH3, 64 bits, seed 0.
        pub checksum: i64,
    }
}

avro_record! {
    /// The rows of one window.
    pub struct StoredWindow {
        /// Start of the window.
        pub window_start: i64,
        /// Revision up to which every change of its rows is in the file.
        pub changed: i64,
        /// The file.
        pub file: Stored,
    }
}

avro_record! {
    /// A whole checkpoint.
    pub struct Manifest {
        /// Of the schemas of what is in the files.
        pub format: i64,
        /// Of the job version.
        pub fingerprint: i64,
        /// Merge partition.
        pub merge_partition: i32,
        /// Everything on the changelog below this offset is in the files.
        pub covered: i64,
        /// When it was taken, processing time.
        pub taken_at: i64,
        /// Progress and ledgers of open windows.
        pub head: Stored,
        /// Ledgers of sealed windows.
        pub sealed: Stored,
        /// Revision of the last change of these.
        pub sealed_changed: i64,
        /// Open windows with rows.
        pub windows: Vec<StoredWindow>,
    }
}

impl Stored {
    /// Name of the file in the partition's directory.
    pub(crate) fn name(&self) -> String {
        format!("{:016x}", self.number)
    }

    /// Whether `bytes` are what was written.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as i64 != self.bytes {
            return Err(format!("file {} has {} bytes where {} were written", self.name(), bytes.len(), self.bytes));
        }
        if xxh3_64(bytes) as i64 != self.checksum {
            return Err(format!("file {} is not as it was written: its checksum differs", self.name()));
        }
        Ok(())
    }
}

/// What a manifest is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Of the job that runs.
    pub(crate) fingerprint: i64,
    /// Merge partition.
    pub(crate) merge_partition: i32,
    /// Processing time.
    pub(crate) now: i64,
    /// First offset that the changelog keeps.
    pub(crate) start: i64,
    /// Its end (read_uncommitted).
    pub(crate) end: i64,
}

impl Manifest {
    pub(crate) fn format() -> i64 {
        *FORMAT
    }

    /// The file: magic, Avro, checksum of both.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        self.put(&mut bytes);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (body, checksum) = bytes.split_last_chunk::<8>().ok_or("the manifest is cut short")?;
        if xxh3_64(body).to_be_bytes() != *checksum {
            return Err("the manifest is not as it was written: its checksum differs".into());
        }
        let body = body.strip_prefix(MAGIC).ok_or("the manifest is of another program")?;
        // The format first: the rest may have another form.
        let mut reader = Reader::new(body);
        if reader.long().ok() != Some(Self::format()) {
            return Err("it was written by a version of tidemark whose state has another form".into());
        }
        let mut reader = Reader::new(body);
        let read = |error: avro::Error| format!("the manifest cannot be read: {error}");
        let manifest = Self::get(&mut reader).map_err(read)?;
        reader.finish().map_err(read)?;
        Ok(manifest)
    }

    /// Whether the state of these files and the changelog from `covered` on is the state of the whole changelog.
    pub(crate) fn judge(&self, facts: &Facts) -> Result<(), String> {
        let Facts { fingerprint, merge_partition, now, start, end } = *facts;
        if (self.fingerprint, self.merge_partition) != (fingerprint, merge_partition) {
            return Err("it belongs to another version of the job".into());
        }
        let age = now.saturating_sub(self.taken_at);
        if age.saturating_abs() > AGE_MS_MAX {
            return Err(format!("it was taken {} hours ago: removals may be missing after it", age / 3_600_000));
        }
        let covered = self.covered;
        if covered > end {
            return Err(format!(
                "it covers the changelog up to offset {covered}, which ends at {end}: it is another one"
            ));
        }
        if covered < start {
            return Err(format!("it covers the changelog up to offset {covered}, which starts at {start} by now"));
        }
        Ok(())
    }

    /// Every file that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Stored> {
        [&self.head, &self.sealed].into_iter().chain(self.windows.iter().map(|window| &window.file))
    }

    /// The rows of a window.
    pub(crate) fn window(&self, window_start: i64) -> Option<&StoredWindow> {
        self.windows.iter().find(|window| window.window_start == window_start)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = |number| Stored { number, bytes: 3, checksum: xxh3_64(b"abc") as i64 };
        Manifest {
            format: Manifest::format(),
            fingerprint: 7,
            merge_partition: 2,
            covered: 100,
            taken_at: 1_000,
            head: file(1),
            sealed: file(2),
            sealed_changed: 5,
            windows: vec![StoredWindow { window_start: 10, changed: 90, file: file(3) }],
        }
    }

    const FACTS: Facts = Facts { fingerprint: 7, merge_partition: 2, now: 1_000, start: 0, end: 100 };

    #[test]
    fn a_manifest_comes_back_and_any_other_bytes_do_not() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            Manifest::decode(&damaged).unwrap_err();
            Manifest::decode(&bytes[..at]).unwrap_err();
        }
        let other = Manifest { format: 1, ..manifest() }.encode();
        assert!(Manifest::decode(&other).unwrap_err().contains("another form"));
    }

    #[test]
    fn what_is_not_of_this_changelog_and_job_is_refused() {
        let hours = |hours: i64| 1_000 + hours * 3_600_000;
        let cases = [
            (FACTS, true),
            (Facts { fingerprint: 8, ..FACTS }, false),
            (Facts { merge_partition: 1, ..FACTS }, false),
            (Facts { now: hours(12), ..FACTS }, true),
            (Facts { now: hours(12) + 1, ..FACTS }, false),
            (Facts { now: hours(-12), ..FACTS }, true),
            (Facts { now: hours(-12) - 1, ..FACTS }, false),
            (Facts { start: 100, ..FACTS }, true),
            (Facts { start: 101, end: 200, ..FACTS }, false),
            (Facts { end: 99, ..FACTS }, false),
        ];
        for (facts, used) in cases {
            assert_eq!(manifest().judge(&facts).is_ok(), used, "{facts:?}");
        }
    }

    #[test]
    fn a_file_is_what_was_written_or_nothing() {
        let file = manifest().head;
        file.check(b"abc").unwrap();
        assert!(file.check(b"abd").unwrap_err().contains("checksum"));
        assert!(file.check(b"ab").unwrap_err().contains("2 bytes"));
    }
}
