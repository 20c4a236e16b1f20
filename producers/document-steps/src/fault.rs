//! Why a step gives no output, and whose fault that is.

/// Why a step gives no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The document is broken or of a type that the pipeline does not read. Another try would end alike: exit 65, `EX_DATAERR`.
    #[error("{0}")]
    Document(String),
    /// Anything else: the contents could not be read, or the input is not the output of the step before. Exit 1, tried again.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    /// The exit status of a step command that ends so.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Document(_) => 65,
            Self::Failed(_) => 1,
        }
    }
}

/// A document's fault, as people read it.
pub(crate) fn document(message: impl Into<String>) -> Fault {
    Fault::Document(message.into())
}

/// A failure that is not the document's.
pub(crate) fn failed(message: impl Into<String>) -> Fault {
    Fault::Failed(message.into())
}
