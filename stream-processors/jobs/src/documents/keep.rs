//! Documents in memory: packed, since most of them are finished and only wait to be asked for.
//!
//! A packed document is its Avro datum without what its place says already (tenant, queue and file_id), and with task_id and
//! result in 16 and 32 bytes instead of 36 and 64 digits. About 200 bytes for one that is done with names of usual length; with
//! the two maps and the allocator about 400 (`tests::a_finished_document_costs_little`).

use super::ids::{self, File};
use super::keys::LaneId;
use std::collections::HashMap;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::documents::Document;

/// The documents of a queue.
#[derive(Debug, Default)]
pub(super) struct Documents {
    by_file: HashMap<File, Box<[u8]>>,
    /// Every document has had one task since it was created.
    by_task: HashMap<u128, File>,
}

impl Documents {
    /// Puts a document in, in place of what was known of it. One whose ids are none is not kept: the rules let none in.
    pub(super) fn put(&mut self, document: Document) {
        let (file, task) = (ids::file(&document.file_id), ids::uuid(&document.task_id));
        if let (Some(file), Some(task)) = (file, task) {
            self.by_task.insert(task, file);
            self.by_file.insert(file, pack(document, task));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    /// A document of this queue.
    pub(super) fn get(&self, lane: &LaneId, file_id: &str) -> Option<Document> {
        let file = ids::file(file_id)?;
        unpack(self.by_file.get(&file)?, lane, &file)
    }

    /// The FileID of a task.
    pub(super) fn of_task(&self, task_id: &str) -> Option<String> {
        self.by_task.get(&ids::uuid(task_id)?).map(ids::file_text)
    }
}

fn pack(mut document: Document, task: u128) -> Box<[u8]> {
    let mut packed = Vec::with_capacity(256);
    packed.extend_from_slice(&task.to_le_bytes());
    let result = document.result.take().and_then(|result| ids::file(&result));
    packed.push(u8::from(result.is_some()));
    packed.extend_from_slice(result.as_ref().map_or(&[][..], |result| result));
    for placed in [&mut document.tenant, &mut document.queue, &mut document.file_id, &mut document.task_id] {
        placed.clear();
    }
    document.put(&mut packed);
    packed.into_boxed_slice()
}

fn unpack(packed: &[u8], lane: &LaneId, file: &File) -> Option<Document> {
    let (task, rest) = packed.split_first_chunk::<16>()?;
    let (has_result, mut rest) = rest.split_first()?;
    let mut result = None;
    if *has_result == 1 {
        let (file, after) = rest.split_first_chunk::<32>()?;
        (result, rest) = (Some(ids::file_text(file)), after);
    }
    let document = Document::get(&mut Reader::new(rest)).ok()?;
    let (tenant, queue) = (lane.tenant.clone(), lane.queue.clone());
    let (file_id, task_id) = (ids::file_text(file), ids::uuid_text(u128::from_le_bytes(*task)));
    Some(Document { tenant, queue, file_id, task_id, result, ..document })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]
mod tests {
    use super::*;

    fn lane() -> LaneId {
        LaneId { tenant: "default".into(), queue: "documents".into() }
    }

    fn document() -> Document {
        Document {
            tenant: "default".into(),
            queue: "documents".into(),
            file_id: "ab".repeat(32),
            task_id: "0190c1f0-1234-7000-8000-00000000abcd".into(),
            name: "Annual report of the northern region, 2026.pdf".into(),
            media_type: "application/pdf".into(),
            bytes: 1_234_567,
            owner: "ann.lindqvist".into(),
            mail: "ann.lindqvist@example.org".into(),
            state: "DONE".into(),
            uploaded_at: 1_800_000_000_000,
            changed_at: 1_800_000_100_000,
            queued_at: 1_800_000_000_000,
            leased_at: 1_800_000_050_000,
            worker: Some("worker-0190c1f0".into()),
            token: 1_000_000,
            attempt: 1,
            step: None,
            error: None,
            result: Some("cd".repeat(32)),
            result_bytes: 45_678,
            duplicates: 0,
            infrastructure_failures: 0,
            seq: 3,
            revision: 5_000_000,
        }
    }

    #[test]
    fn documents_come_back() {
        let failed = Document { result: None, error: Some("broken".into()), step: Some("D2".into()), ..document() };
        for document in [document(), failed] {
            let mut documents = Documents::default();
            assert_eq!(documents.get(&lane(), &document.file_id), None);
            documents.put(document.clone());
            assert_eq!(documents.get(&lane(), &document.file_id), Some(document.clone()));
            assert_eq!(documents.of_task(&document.task_id), Some(document.file_id));
        }
    }

    #[test]
    fn a_finished_document_costs_little() {
        let task = ids::uuid(&document().task_id).unwrap();
        assert!(pack(document(), task).len() <= 250, "{} bytes", pack(document(), task).len());
    }
}
