//! The parts of the one binary, `tidemark`: what each command does with the libraries.

pub mod auth;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod documents;
mod hello;
pub mod jobs;
pub mod logging;
pub mod open;
pub mod ops;
mod process;
pub mod registry;
pub mod remote;
pub mod replica;
pub mod schemas;
pub mod serve;
pub mod server;
pub mod telemetry;
pub mod topics;
pub mod watchdog;
