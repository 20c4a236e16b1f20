//! The documents API from outside: HTTP in, commands out, answers in, rows and results out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod commands;
mod faulty;
mod list;
mod live;
mod people;
mod queues;
mod rebuild;
mod responder;
mod routes;
mod sockets;
mod stores;
mod uploads;
mod world;
