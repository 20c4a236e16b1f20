//! Why the notifier does not start.

use std::path::PathBuf;

/// Why the notifier does not start. Each is for whoever configures it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting breaks a rule.
    #[error("{setting}: {rule}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong, and what it should be.
        rule: String,
    },
    /// A template cannot be used.
    #[error("{file} line {line}: {reason}")]
    Template {
        /// Its file; `built-in` before the name of one that comes with the platform.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Topics, schemas or first offsets cannot be made.
    #[error(transparent)]
    Runtime(#[from] tidemark_runtime::Error),
}

impl Error {
    pub(crate) fn setting(setting: &'static str, rule: impl Into<String>) -> Self {
        Self::Setting { setting, rule: rule.into() }
    }
}
