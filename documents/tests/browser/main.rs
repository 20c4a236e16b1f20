//! The page in a real browser, against the real API: headless Chromium from the system's packages (`apt-get install chromium`), or
//! the program that `CHROMIUM` names. Without one these tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../../../query-api/tests/browser/chromium.rs"]
mod chromium;
#[path = "../documents/faulty.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod faulty;
mod grid;
mod page;
#[path = "../documents/responder.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod responder;
mod uploads;
#[path = "../documents/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;
