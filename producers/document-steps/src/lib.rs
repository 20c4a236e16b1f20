//! The built-in steps of the document pipeline: each reads bytes and gives JSON.
//!
//! | Step | Reads | Gives |
//! |---|---|---|
//! | `D1` [`Step::Identify`] | the contents | media type, size, SHA-256, integrity |
//! | `D2` [`Step::Text`] | D1's output and the contents | text, title, author, pages |
//! | `D3` [`Step::Normalise`] | D2's output | language, normal form of the text, counts |
//! | `D4` [`Step::Facts`] | D3's output | dates, amounts, addresses, URLs, coordinates |
//! | `D5` [`Step::Summarise`] | D4's output | figures, keywords, extract |
//!
//! Each step is a function of its input and the contents: no clock, no network, nothing kept. The same input gives the same output,
//! byte for byte. A document at fault is [`Fault::Document`], which no other try would mend. Memory is bounded by [`TEXT_MAX`],
//! [`INPUT_MAX`] and the limits named in the modules, whatever the size of the document; time is linear in it.

mod command;
mod facts;
mod fault;
mod identify;
mod input;
mod normalise;
mod summary;
mod text;

pub use command::main;
pub use fault::Fault;
pub use input::{Context, INPUT_MAX};
pub use text::TEXT_MAX;

use std::io::Read;

/// One of the five steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// D1: what the contents are, and whether they are whole.
    Identify,
    /// D2: the text of the document.
    Text,
    /// D3: its language and its normal form.
    Normalise,
    /// D4: the facts found in it.
    Facts,
    /// D5: figures, keywords and an extract.
    Summarise,
}

impl Step {
    /// All steps, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Identify, Self::Text, Self::Normalise, Self::Facts, Self::Summarise];

    /// The step's name in a pipeline: `D1` … `D5`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "D1",
            Self::Text => "D2",
            Self::Normalise => "D3",
            Self::Facts => "D4",
            Self::Summarise => "D5",
        }
    }

    /// The step of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// Runs one step: D1 reads the contents from `input`, each later one the JSON output of its predecessor.
///
/// # Errors
/// [`Fault::Document`] when the document is at fault, [`Fault::Failed`] for all else.
pub fn run(step: Step, input: &mut dyn Read, context: &Context) -> Result<serde_json::Value, Fault> {
    match step {
        Step::Identify => identify::run(input, context),
        Step::Text => text::run(input::json(input, "D1")?, context),
        Step::Normalise => Ok(normalise::run(input::json(input, "D2")?)),
        Step::Facts => facts::run(input::json(input, "D3")?),
        Step::Summarise => Ok(summary::run(input::json(input, "D4")?)),
    }
}
