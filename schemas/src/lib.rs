//! Avro schemas of every topic, the Confluent wire codec and the schema registry client.
//!
//! `avsc/` is the contract with every other publisher and reader; the structs here are the same records for our own code,
//! held in step by a test. Every record on every topic is the [wire] format: a zero byte, the schema id, the Avro datum.

pub mod avro;
pub mod catalog;
pub mod dispatch;
pub mod documents;
pub mod engine;
pub mod flows;
pub mod gateway;
pub mod jobs;
pub mod near;
pub mod notifications;
pub mod registry;
pub mod resolve;
pub mod wire;
