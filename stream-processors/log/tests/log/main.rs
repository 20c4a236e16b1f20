//! One suite that holds every log to the promises of the crate's traits: see [`conformance`]. A log takes part with a
//! module that has a [`support::Fixture`] and says `conformance_suite!(fixture)`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[macro_use]
mod conformance;
mod crash;
mod deletions;
mod embedded;
mod kafka;
mod kafka_faults;
mod simulated;
mod support;
