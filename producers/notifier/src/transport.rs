//! The seam to whatever takes mails.

pub use crate::letter::Letter;

/// What became of one try to send a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted: whoever took it answers for it now.
    Sent,
    /// It will never be accepted: why.
    Refused(String),
    /// This mail is not accepted now, others may be: why.
    Deferred(String),
    /// No mail can be handed over now: why. This one was not.
    Away(String),
    /// The connection ended while this mail was handed over: why. It may have been accepted.
    Broken(String),
}

/// Takes mails, one at a time. A call may block for as long as the transport's own limits say.
pub trait Transport: Send {
    /// Tries once.
    fn send(&mut self, letter: &Letter) -> Outcome;

    /// Nothing is to be sent for a while: lets a connection go.
    fn rest(&mut self) {}
}
