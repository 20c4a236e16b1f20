//! The read API over embedded views, without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_arguments,
    missing_docs,
    unreachable_pub
)]

mod answers;
mod conditional;
mod consistency;
mod paging;
mod parameters;
mod service;
mod support;
mod versions;
mod views;
mod views_support;
mod why;
mod windows;
