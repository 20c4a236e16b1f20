//! Keeps one EndTxn back and hands it to the broker in the middle of the client's next transaction: what a network may do, and
//! what librdkafka's EndTxn v1, without an epoch of its own for each transaction, gives the broker no way to tell
//! (KAFKA-17754).

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tidemark_harness::proxy::{Action, Request};

/// Requests that a transaction consists of, its end apart.
const IN_TRANSACTION: [i16; 4] =
    [Request::PRODUCE, Request::ADD_PARTITIONS_TO_TXN, Request::ADD_OFFSETS_TO_TXN, Request::TXN_OFFSET_COMMIT];

/// What the client sees of the EndTxn that is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its connection is cut: librdkafka asks again by itself and is answered.
    Cut,
    /// It hears nothing, whatever it asks, until it makes a new producer.
    Silence,
}

#[derive(Debug)]
enum State {
    Off,
    Armed(Loss, String, u32),
    Held(Loss, Request, u32),
    /// The client believes that its transaction has ended; so many requests of its next one are left until the late one comes.
    Ended(Request, u32),
    /// The broker's answer to the late one: error code, 0 for none.
    Delivered(i16),
}

/// Set once per trial.
#[derive(Debug)]
pub struct Trap {
    state: Mutex<State>,
    changed: Condvar,
    broker: Mutex<String>,
}

impl Trap {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Off), changed: Condvar::new(), broker: Mutex::default() })
    }

    /// Where the late request is delivered.
    pub fn set_broker(&self, address: &str) {
        *self.broker.lock().unwrap() = address.to_owned();
    }

    /// Waits for an EndTxn of a client whose id contains `client`; it is delivered before the `nth` request (from 1) of that
    /// client's next transaction, or before its EndTxn if it has fewer.
    pub fn arm(&self, loss: Loss, client: &str, nth: u32) {
        *self.state.lock().unwrap() = State::Armed(loss, client.to_owned(), nth);
    }

    /// The broker's answer to the late EndTxn; `None` when it was not delivered in time.
    pub fn answer(&self, patience: Duration) -> Option<i16> {
        let until = Instant::now() + patience;
        let mut state = self.state.lock().unwrap();
        loop {
            if let State::Delivered(code) = *state {
                *state = State::Off;
                return Some(code);
            }
            let left = until.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// For [`tidemark_harness::Proxy::intercept`].
    pub fn decide(&self, request: &Request) -> Action {
        let mut state = self.state.lock().unwrap();
        let of_held = |held: &Request| held.client == request.client;
        let end = request.api_key == Request::END_TXN;
        match &*state {
            State::Armed(loss, client, nth) if end && request.client.contains(client) => {
                let (loss, nth) = (*loss, *nth);
                *state = State::Held(loss, request.clone(), nth);
                if loss == Loss::Cut { Action::KeepAndCut } else { Action::Keep }
            }
            State::Held(Loss::Silence, held, _) if end && of_held(held) => Action::Keep,
            State::Held(loss, held, nth) if of_held(held) && request.api_key == answered(*loss) => {
                *state = State::Ended(held.clone(), *nth);
                Action::Forward
            }
            State::Ended(held, nth) if of_held(held) && (end || IN_TRANSACTION.contains(&request.api_key)) => {
                let (held, nth) = (held.clone(), *nth);
                *state = match nth > 1 && !end {
                    true => State::Ended(held, nth - 1),
                    // The lock is kept: nothing of this client overtakes the late request.
                    false => State::Delivered(self.deliver(&held)),
                };
                self.changed.notify_all();
                Action::Forward
            }
            _ => Action::Forward,
        }
    }

    fn deliver(&self, held: &Request) -> i16 {
        held.send_to(&self.broker.lock().unwrap()).map_or(-1, |answer| error_code(&answer))
    }
}

/// The request by which the client goes on after its loss.
fn answered(loss: Loss) -> i16 {
    match loss {
        Loss::Cut => Request::END_TXN,
        Loss::Silence => Request::INIT_PRODUCER_ID,
    }
}

/// Of an answer to EndTxn v0 or v1: throttle time (4 bytes), error code (2).
fn error_code(answer: &[u8]) -> i16 {
    answer.get(4..6).and_then(|code| code.try_into().ok()).map_or(-1, i16::from_be_bytes)
}
