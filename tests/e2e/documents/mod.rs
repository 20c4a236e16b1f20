//! The document pipeline: folders of documents in, results, mails and figures out.

mod on_servers;
mod pipeline;
mod recovery;
mod world;
