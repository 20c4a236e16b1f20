//! Writes the files of one checkpoint, on a thread of its own where the storage is slow, and reads them back.

use super::manifest::{Manifest, NAME, Stored};
use super::{Claim, Storage};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

/// The manifest before it takes its place.
const NEW_MANIFEST: &str = "manifest.new";
/// Pieces on their way to the disk: with pieces of a few megabytes, what a checkpoint takes in memory.
const PIECES_MAX: usize = 4;

/// What is done next.
pub(crate) enum Piece {
    /// Bytes are added to a file.
    Append(String, Vec<u8>),
    /// A file is whole.
    Sync(String),
    /// All files are whole: the manifest takes its place.
    Publish(Box<Manifest>),
}

/// What became of a checkpoint: the manifest, once it is durable.
pub(crate) type Outcome = Result<Box<Manifest>, String>;

/// Writes one checkpoint. Dropping it before [`Piece::Publish`] gives the checkpoint up.
pub(crate) enum Writer {
    /// On the calling thread.
    Inline(Files),
    /// On a thread of its own: pieces to it, the outcome from it.
    Thread(SyncSender<Piece>, Receiver<Outcome>),
}

impl Writer {
    pub(crate) fn start(claim: &Arc<Claim>) -> io::Result<Self> {
        let files = Files { claim: Arc::clone(claim), made: Vec::new(), outcome: None };
        if !claim.storage().is_slow() {
            return Ok(Self::Inline(files));
        }
        let (pieces, incoming) = sync_channel(PIECES_MAX);
        let (outcome, done) = sync_channel(1);
        let work = move || {
            let mut files = files;
            while files.outcome.is_none() {
                let Ok(piece) = incoming.recv() else { return };
                files.take(piece);
            }
            if let Some(end) = files.outcome.take() {
                // Nobody may be left to hear it.
                let _ = outcome.send(end);
            }
        };
        std::thread::Builder::new().name(format!("checkpoint {}", claim.partition())).spawn(work)?;
        Ok(Self::Thread(pieces, done))
    }

    /// Hands a piece over; gives it back when the disk is behind.
    pub(crate) fn offer(&mut self, piece: Piece) -> Option<Piece> {
        match self {
            Self::Inline(files) => {
                files.take(piece);
                None
            }
            Self::Thread(pieces, _) => match pieces.try_send(piece) {
                Ok(()) => None,
                Err(TrySendError::Full(piece)) => Some(piece),
                // It has ended: the outcome says why.
                Err(TrySendError::Disconnected(_)) => None,
            },
        }
    }

    /// What became of it, if that is known yet.
    pub(crate) fn outcome(&mut self) -> Option<Outcome> {
        match self {
            Self::Inline(files) => files.outcome.take(),
            Self::Thread(_, done) => match done.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err("the thread that wrote it is gone".into())),
            },
        }
    }
}

/// The files of a checkpoint that is being written.
pub(crate) struct Files {
    claim: Arc<Claim>,
    made: Vec<String>,
    outcome: Option<Outcome>,
}

impl Files {
    fn take(&mut self, piece: Piece) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = match self.step(piece) {
            Ok(None) => None,
            Ok(Some(manifest)) => {
                self.made.clear();
                self.claim.sweep(&manifest);
                Some(Ok(manifest))
            }
            Err(error) => {
                self.remove_made();
                Some(Err(error.to_string()))
            }
        };
    }

    fn step(&mut self, piece: Piece) -> io::Result<Option<Box<Manifest>>> {
        let (storage, dir) = (self.claim.storage(), self.claim.name());
        match piece {
            Piece::Append(name, bytes) => {
                if !self.made.contains(&name) {
                    self.made.push(name.clone());
                }
                storage.append(dir, &name, &bytes)?;
                Ok(None)
            }
            Piece::Sync(name) => {
                storage.sync(dir, &name)?;
                Ok(None)
            }
            Piece::Publish(manifest) => {
                // One that a process left that was killed here: it would come before the bytes of this one.
                match storage.remove(dir, NEW_MANIFEST) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => self.made.push(NEW_MANIFEST.into()),
                }
                storage.append(dir, NEW_MANIFEST, &manifest.encode())?;
                storage.sync(dir, NEW_MANIFEST)?;
                storage.replace(dir, NEW_MANIFEST, NAME)?;
                Ok(Some(manifest))
            }
        }
    }

    fn remove_made(&mut self) {
        for name in std::mem::take(&mut self.made) {
            let _ = self.claim.storage().remove(self.claim.name(), &name);
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Given up half-way: what is written is of no use to anybody.
        self.remove_made();
    }
}

impl Claim {
    pub(super) fn storage(&self) -> &dyn Storage {
        self.dir.storage.as_ref()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    /// The manifest, if there is one.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, String> {
        match self.storage().read(&self.name, NAME) {
            Ok(bytes) => Manifest::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("the manifest cannot be read: {error}")),
        }
    }

    /// A file, held against its checksum.
    pub(crate) fn read(&self, file: &Stored) -> Result<Vec<u8>, String> {
        let name = file.name();
        let bytes = self.storage().read(&self.name, &name).map_err(|error| format!("file {name}: {error}"))?;
        file.check(&bytes).map(|()| bytes)
    }

    /// The first number that no file has.
    pub(crate) fn next_number(&self) -> i64 {
        let names = self.storage().list(&self.name).unwrap_or_default();
        let numbers = names.iter().filter_map(|name| i64::from_str_radix(name, 16).ok());
        numbers.max().map_or(1, |last| last + 1)
    }

    /// Makes the checkpoint unknown: what is restored next comes from the changelog alone.
    pub(crate) fn forget(&self) {
        if let Err(error) = self.storage().remove(&self.name, NAME)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(merge_partition = self.partition, %error, "the manifest of a checkpoint cannot be removed");
        }
    }

    /// Removes files that the manifest does not name. One that stays is tried again after the next checkpoint.
    fn sweep(&self, manifest: &Manifest) {
        let mut kept: BTreeSet<String> = manifest.files().map(Stored::name).collect();
        kept.insert(NAME.into());
        for name in self.storage().list(&self.name).unwrap_or_default() {
            if !kept.contains(&name) {
                let _ = self.storage().remove(&self.name, &name);
            }
        }
    }
}
