//! The document pipeline: folders of documents in, results, mails and figures out.

mod on_servers;
mod page;
mod pipeline;
mod recovery;
mod world;
