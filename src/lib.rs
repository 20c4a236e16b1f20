//! The parts of the one binary, `tidemark`.

pub mod registry;
