//! End to end: the shipped binary as its users run it, on embedded parts and on real Kafka, a CQL store and a registry.

mod browser;
mod collector;
mod embedded;
mod flows;
mod process;
mod servers;
mod traces;
mod webdriver;
