//! The read API over embedded views, without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod answers;
mod conditional;
mod consistency;
mod paging;
mod parameters;
mod service;
mod support;
