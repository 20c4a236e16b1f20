//! Job files: what is refused and how it is said, what records make of them, and that their tests can fail.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod cel;
mod examples;
mod in_rust;
mod inline;
mod joins;
mod limits;
mod nulls;
mod refused;
mod replay;
mod support;
mod tenants;
mod version;
mod views;
