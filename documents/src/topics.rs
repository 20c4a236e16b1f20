//! The topics that are written and followed here. Whoever starts the process `documents` makes them.

/// What the process `documents` is told.
pub const COMMANDS: &str = "documents.commands";
/// Its answers to requests.
pub const ANSWERS: &str = "documents.answers";
/// The documents, compacted, by file_id.
pub const DOCUMENTS: &str = "view.documents.v1";
/// The workers, compacted, by tenant, queue and worker.
pub const WORKERS: &str = "documents.workers";
/// The queue of documents.
pub const QUEUE: &str = "documents";
