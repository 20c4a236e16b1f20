//! The document pipeline in a process: its parts, its workers, and what the configuration makes of them.

mod children;
mod parts;
mod settings;
pub mod worker;

pub(crate) use children::Workers;
pub(crate) use parts::apply_figures;
