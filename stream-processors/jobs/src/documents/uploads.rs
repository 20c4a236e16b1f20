//! Uploads that have been answered, remembered for a day so that the same one gets the same answer and no second mail.

use super::ids::{self, File};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tidemark_schemas::documents::UploadEntry;

/// How an upload was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new document.
    Created,
    /// The contents are there already.
    Duplicate,
    /// They had failed, and are tried again.
    Retried,
}

impl Outcome {
    /// As in answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Duplicate => "DUPLICATE",
            Self::Retried => "RETRIED",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Created, Self::Duplicate, Self::Retried].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// An upload that has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) file: File,
    pub(super) outcome: Outcome,
    pub(super) at: i64,
}

/// Those of a queue.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    known: HashMap<Arc<str>, Upload>,
    by_age: BTreeSet<(i64, Arc<str>)>,
}

impl Uploads {
    pub(super) fn get(&self, upload_id: &str) -> Option<Upload> {
        self.known.get(upload_id).copied()
    }

    pub(super) fn put(&mut self, upload_id: &str, upload: Upload) {
        let id: Arc<str> = upload_id.into();
        self.by_age.insert((upload.at, Arc::clone(&id)));
        self.known.insert(id, upload);
    }

    /// When the oldest was answered.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.by_age.first().map(|(at, _)| *at)
    }

    /// Forgets the oldest if it was answered at `at` or before.
    pub(super) fn forget(&mut self, at: i64) -> Option<Arc<str>> {
        self.oldest().filter(|oldest| *oldest <= at)?;
        let (_, id) = self.by_age.pop_first()?;
        self.known.remove(&id);
        Some(id)
    }

    pub(super) fn entry(&self, upload_id: &str) -> Option<UploadEntry> {
        let Upload { file, outcome, at } = self.get(upload_id)?;
        let (file_id, outcome) = (ids::file_text(&file), outcome.name().to_owned());
        Some(UploadEntry { upload_id: upload_id.to_owned(), file_id, outcome, at })
    }

    /// Takes an entry back in; `None` if it is none.
    pub(super) fn restore(&mut self, entry: &UploadEntry) -> Option<()> {
        let (file, outcome) = (ids::file(&entry.file_id)?, Outcome::named(&entry.outcome)?);
        self.put(&entry.upload_id, Upload { file, outcome, at: entry.at });
        Some(())
    }
}
