//! A thread of its own for a transport, which blocks: the stage's thread never waits for a mail server longer than a moment.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::transport::{Letter, Outcome, Transport};

/// A transport that has had nothing to do for so long is told to rest.
const IDLE: Duration = Duration::from_secs(30);

/// Hands one letter at a time to a transport. Dropping it lets the letter under way come to its end unheard.
pub(crate) struct Courier {
    /// Until the first letter; then the thread has it.
    transport: Option<Box<dyn Transport>>,
    letters: SyncSender<Letter>,
    waiting: Option<Receiver<Letter>>,
    outcomes: Receiver<Outcome>,
    answer: Option<SyncSender<Outcome>>,
}

impl Courier {
    pub(crate) fn new(transport: Box<dyn Transport>) -> Self {
        let (letters, waiting) = sync_channel(1);
        let (answer, outcomes) = sync_channel(1);
        Self { transport: Some(transport), letters, waiting: Some(waiting), outcomes, answer: Some(answer) }
    }

    /// Begins to send a letter; the one before it must have been answered for.
    pub(crate) fn send(&mut self, letter: Letter) -> Result<(), String> {
        self.begin()?;
        self.letters.try_send(letter).map_err(|error| match error {
            TrySendError::Full(_) => "the letter before it is still under way".to_owned(),
            TrySendError::Disconnected(_) => "the thread that sends mails has ended".to_owned(),
        })
    }

    fn begin(&mut self) -> Result<(), String> {
        let (Some(transport), Some(waiting), Some(answer)) =
            (self.transport.take(), self.waiting.take(), self.answer.take())
        else {
            return Ok(());
        };
        let carry = move || carry(transport, &waiting, &answer);
        let thread = std::thread::Builder::new().name("mails".to_owned()).spawn(carry);
        thread.map(drop).map_err(|error| format!("no thread to send mails: {error}"))
    }

    /// What became of the letter under way; `None` when that is not known after `wait`.
    pub(crate) fn outcome(&mut self, wait: Duration) -> Option<Outcome> {
        match self.outcomes.recv_timeout(wait) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Outcome::Broken(
                "the thread that sends mails has ended; please report it with the log of the process".to_owned(),
            )),
        }
    }
}

fn carry(mut transport: Box<dyn Transport>, letters: &Receiver<Letter>, answer: &SyncSender<Outcome>) {
    loop {
        match letters.recv_timeout(IDLE) {
            Ok(letter) => {
                let outcome = caught(transport.as_mut(), &letter);
                if answer.send(outcome).is_err() {
                    return transport.rest();
                }
            }
            Err(RecvTimeoutError::Timeout) => transport.rest(),
            Err(RecvTimeoutError::Disconnected) => return transport.rest(),
        }
    }
}

/// A panic is about this letter alone: the next one is tried as if nothing had been.
fn caught(transport: &mut dyn Transport, letter: &Letter) -> Outcome {
    let send = std::panic::AssertUnwindSafe(|| transport.send(letter));
    std::panic::catch_unwind(send).unwrap_or_else(|_| {
        Outcome::Broken("to send it made the transport panic; please report it with the log of the process".to_owned())
    })
}
