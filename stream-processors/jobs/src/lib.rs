//! Jobs: the one that is built in, and those that people apply.

pub mod decide;
pub mod directory;
pub mod documents;
pub mod flows;
pub mod hosted;
pub mod platform;
pub mod recompute;
mod retire;
pub mod sources;
