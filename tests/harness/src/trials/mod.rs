//! Long trials and what is written down of them: mutation checks, the table of faults, and `docs/faults.md`.
//!
//! Results are JSON files under `tests/faults/results`, one a fault, so that runs can be cut and taken up again, on another
//! machine too.

pub mod elsewhere;
pub mod mutants;
pub mod table;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Why trials could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or program.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A list of trials is not of its form, or does not fit the code any more.
    #[error("{file}: {reason}")]
    List {
        /// Which list.
        file: String,
        /// What is wrong, and with which entry.
        reason: String,
    },
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }

    fn list(file: &str, reason: impl std::fmt::Display) -> Self {
        Self::List { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// The workspace.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// Where results are kept.
#[must_use]
pub fn results() -> PathBuf {
    root().join("tests/faults/results")
}

/// Writes a result.
fn save(name: &str, result: &serde_json::Value) -> Result<(), Error> {
    let path = results().join(format!("{name}.json"));
    std::fs::create_dir_all(results()).map_err(Error::io(results().display()))?;
    std::fs::write(&path, format!("{result:#}\n")).map_err(Error::io(path.display()))
}

/// Removes results whose name begins so: of entries that may not be in the list any more.
fn clear(prefix: &str) {
    for entry in std::fs::read_dir(results()).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            // One that stays is told again by the next run.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A result, if there is one.
fn load(path: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// When and on what a trial was made: `date` and `commit` (with `+` when files differ from it).
#[must_use]
pub fn stamp() -> serde_json::Value {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = if said("git", &["status", "--porcelain"]).is_empty() { "" } else { "+" };
    let commit = format!("{}{changed}", said("git", &["rev-parse", "--short", "HEAD"]));
    serde_json::json!({ "date": said("date", &["-u", "+%Y-%m-%d %H:%M"]), "commit": commit })
}
