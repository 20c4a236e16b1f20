//! The built-in jobs.

pub mod flows;
