//! What a step is given: its input, and where the contents are.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::fault::{Fault, failed};

/// The most bytes of JSON that a step reads: the bound of a step's output in the protocol.
pub const INPUT_MAX: u64 = 32 << 20;

/// What a step knows of its document besides its input.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Where the contents are (`TIDEMARK_CONTENTS`). D2 needs it; D1 needs it for PDF and ZIP.
    pub contents: Option<PathBuf>,
    /// The SHA-256 of the contents as the platform knows it, in lowercase hex (`TIDEMARK_FILE_ID`).
    pub file_id: Option<String>,
}

impl Context {
    /// Opens the contents.
    pub(crate) fn open(&self) -> Result<File, Fault> {
        let path = self.contents.as_ref().ok_or_else(|| {
            failed("TIDEMARK_CONTENTS is not set; it must name the file that holds the document's contents")
        })?;
        File::open(path).map_err(|error| failed(format!("cannot open the contents at {}: {error}", path.display())))
    }
}

/// The output of the step before.
pub(crate) fn json<T: DeserializeOwned>(input: &mut dyn Read, step: &str) -> Result<T, Fault> {
    let mut bytes = Vec::new();
    input
        .take(INPUT_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(format!("cannot read the input: {error}")))?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(failed(format!("the input is longer than {INPUT_MAX} bytes, the most that {step} may give")));
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(format!("the input is not the output of {step}: {error}")))
}
