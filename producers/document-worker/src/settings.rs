//! What a worker is told, checked before it asks anybody anything.

use std::path::PathBuf;
use std::time::Duration;
use std::{io, thread};

use crate::client::Token;
use crate::pipeline::Pipeline;

/// Tasks that one worker may take at a time.
pub const CAPACITY_MAX: usize = 256;
const ID_MAX: usize = 128;

/// What a worker is to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The service: `http://host:port`.
    pub url: String,
    /// What it shows to be let in.
    pub token: Option<Token>,
    /// The queue that it works on.
    pub queue: String,
    /// Its id, 1 to 128 bytes; none: made of host name, process id and something random. No two workers may have the same.
    pub worker: Option<String>,
    /// Tasks at a time, 1 to [`CAPACITY_MAX`]; default: one for each core.
    pub capacity: usize,
    /// The steps.
    pub pipeline: Pipeline,
    /// How often it says that it lives. The service takes a worker that is silent for 15 s for gone.
    pub heartbeat: Duration,
    /// How long the service is asked to wait for a task.
    pub wait: Duration,
    /// The longest pause before it asks again.
    pub pause_max: Duration,
    /// When it is asked to stop, the time for finishing what is in hand.
    pub stop_within: Duration,
    /// Where documents and outputs are kept while they are worked on.
    pub directory: PathBuf,
}

impl Settings {
    /// For the service at `url`, everything else as by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            queue: "documents".into(),
            worker: None,
            capacity: thread::available_parallelism().map_or(1, usize::from).min(CAPACITY_MAX),
            pipeline: Pipeline::default(),
            heartbeat: Duration::from_secs(3),
            wait: Duration::from_secs(30),
            pause_max: Duration::from_secs(30),
            stop_within: Duration::from_secs(30),
            directory: std::env::temp_dir(),
        }
    }
}

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting breaks a rule.
    #[error("{key}: {rule}; {fix}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What is wrong.
        rule: String,
        /// What to do.
        fix: &'static str,
    },
    /// No place to work.
    #[error("cannot work in {directory}: {source}; give the worker a directory that it may write to")]
    Directory {
        /// Where.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// It does not know its own binary.
    #[error("cannot tell the path of this program: {0}")]
    Program(io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; raise the limit on threads, or lower the capacity")]
    Thread(io::Error),
}

pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    let seconds = |time: Duration, max: u64| (1..=max).contains(&time.as_secs());
    let rule = |key, rule: &str, fix| Err(Error::Setting { key, rule: rule.to_owned(), fix });
    if !["http://", "https://"].iter().any(|scheme| settings.url.starts_with(scheme)) {
        return rule("url", "it begins with http:// or https://", "give the address of the service, http://host:port");
    } else if !(1..=CAPACITY_MAX).contains(&settings.capacity) {
        return rule("capacity", "it is from 1 to 256", "choose a value of that range, best the number of cores");
    } else if settings.worker.as_ref().is_some_and(|id| !(1..=ID_MAX).contains(&id.len())) {
        return rule("worker", "an id has 1 to 128 bytes", "leave it out, or choose a shorter one");
    } else if settings.queue.is_empty() {
        return rule("queue", "it has a name", "leave it out for documents");
    } else if !seconds(settings.wait, 60) {
        return rule("wait", "it is from 1 to 60 seconds", "leave it out for 30");
    } else if settings.heartbeat < Duration::from_millis(100) || settings.heartbeat > Duration::from_secs(10) {
        return rule("heartbeat", "it is from 0.1 to 10 seconds", "leave it out for 3");
    }
    Ok(())
}

/// Host name, process id, something random.
pub(crate) fn own_id() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().take(64).collect();
    format!("{host}-{}-{:08x}", std::process::id(), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_the_same() {
        let (one, other) = (own_id(), own_id());
        assert!(one != other && one.contains(&std::process::id().to_string()), "{one} {other}");
        assert!(one.len() <= ID_MAX);
    }

    #[test]
    fn settings_are_checked() {
        let good = Settings::new("http://127.0.0.1:8080");
        assert!(check(&good).is_ok());
        let cases: [(Settings, &str); 6] = [
            (Settings::new("127.0.0.1:8080"), "url: it begins with http:// or https://; give"),
            (Settings { capacity: 0, ..good.clone() }, "capacity: it is from 1 to 256"),
            (Settings { capacity: 257, ..good.clone() }, "capacity: it is from 1 to 256"),
            (Settings { worker: Some("x".repeat(129)), ..good.clone() }, "worker: an id has 1 to 128 bytes"),
            (Settings { wait: Duration::ZERO, ..good.clone() }, "wait: it is from 1 to 60 seconds"),
            (Settings { heartbeat: Duration::from_secs(11), ..good }, "heartbeat: it is from 0.1 to 10 seconds"),
        ];
        for (settings, told) in cases {
            let error = check(&settings).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
