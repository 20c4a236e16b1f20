//! Opens the index of a folder, or makes it anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::{Deserialize, Serialize};
use tantivy::directory::{Directory, INDEX_WRITER_LOCK, MmapDirectory};
use tantivy::{IndexWriter, ReloadPolicy};

use super::build::Indexer;
use super::{Fields, Index, schema};
use crate::Error;

/// Grows when documents are put into the index in another way: older ones are made anew.
const VERSION: u32 = 1;
/// Memory for what is not committed.
const WRITER_BYTES: usize = 20 << 20;

/// What a commit of the index says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    version: u32,
    /// The next offset of each partition of the topic.
    pub(super) positions: BTreeMap<u32, i64>,
}

impl Payload {
    pub(super) fn new(positions: BTreeMap<u32, i64>) -> Self {
        Self { version: VERSION, positions }
    }
}

/// The index of a folder, and what keeps it up to date. What of it is of no use is removed.
pub(crate) fn open(dir: &Path) -> Result<(Arc<Index>, Indexer), Error> {
    let failed = |source: tantivy::TantivyError| Error::Index { dir: dir.to_owned(), source: Box::new(source) };
    let (index, fields, positions) = match existing(dir) {
        Ok(found) => found,
        Err(why) => {
            tracing::info!(why, dir = %dir.display(), "the index is made anew");
            clear(dir)?;
            let (schema, fields) = schema();
            (tantivy::Index::create_in_dir(dir, schema).map_err(failed)?, fields, BTreeMap::new())
        }
    };
    let writer = writer(&index).map_err(failed)?;
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
    let (caught_up, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let index = Arc::new(Index { index, reader, fields, caught_up, commits });
    Ok((Arc::clone(&index), Indexer::new(index, writer, positions)))
}

/// One thread writes, one merges.
pub(super) fn writer(index: &tantivy::Index) -> tantivy::Result<IndexWriter> {
    let options = tantivy::indexer::IndexWriterOptions::builder()
        .num_worker_threads(1)
        .memory_budget_per_thread(WRITER_BYTES)
        .num_merge_threads(1)
        .build();
    index.writer_with_options(options)
}

/// What is there, if it is whole and ours.
fn existing(dir: &Path) -> Result<(tantivy::Index, Fields, BTreeMap<u32, i64>), String> {
    if !dir.join("meta.json").exists() {
        return Err("there is none yet".to_owned());
    }
    let damaged = |error: tantivy::TantivyError| format!("it cannot be read: {error}");
    let index = tantivy::Index::open_in_dir(dir).map_err(damaged)?;
    let (schema, fields) = schema();
    if index.schema() != schema {
        return Err("its fields are those of another version".to_owned());
    }
    let broken = index.validate_checksum().map_err(damaged)?;
    if !broken.is_empty() {
        return Err(format!("{} of its files are damaged", broken.len()));
    }
    let Some(payload) = index.load_metas().map_err(damaged)?.payload else {
        return Ok((index, fields, BTreeMap::new()));
    };
    match serde_json::from_str::<Payload>(&payload) {
        Ok(payload) if payload.version == VERSION => Ok((index, fields, payload.positions)),
        Ok(payload) => Err(format!("it is of version {}, not {VERSION}", payload.version)),
        Err(error) => Err(format!("its position cannot be read: {error}")),
    }
}

/// Empties the folder, unless another process writes to it.
fn clear(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Index { dir: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(|error| failed(Box::new(error)))?;
    let directory = MmapDirectory::open(dir).map_err(|error| failed(Box::new(error)))?;
    let lock = directory.acquire_lock(&INDEX_WRITER_LOCK).map_err(|error| failed(Box::new(error)))?;
    let files = std::fs::read_dir(dir).map_err(|error| failed(Box::new(error)))?;
    for file in files.flatten().filter(|file| file.path().is_file()) {
        std::fs::remove_file(file.path()).map_err(|error| failed(Box::new(error)))?;
    }
    drop(lock);
    Ok(())
}
