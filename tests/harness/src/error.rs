//! What can keep a server from being had, with what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Why a server could not be fetched, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program the harness calls is not on the `PATH` (nor, for Java, under `JAVA_HOME`).
    #[error(
        "the real servers need `{program}`, which is not installed: run `scripts/install.sh test`, or `apt-get install -y {package}`"
    )]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
        /// Debian package that has it.
        package: &'static str,
    },
    /// Maven could not bring a server's jars.
    #[error("maven could not fetch {server} {version} (is there a way to repo1.maven.org?): {output}")]
    Fetch {
        /// `kafka`, `cassandra` or `registry`.
        server: &'static str,
        /// Pinned version.
        version: &'static str,
        /// End of Maven's output.
        output: String,
    },
    /// The server ended before it answered.
    #[error("{server} ended while starting ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which server.
        server: &'static str,
        /// Its exit status.
        status: String,
        /// Last lines of its log.
        log: String,
    },
    /// The server did not answer within its deadline.
    #[error("{server} did not answer within {} s (last answer: {last}); the end of its log:\n{log}", waited.as_secs())]
    NotReady {
        /// Which server.
        server: &'static str,
        /// The deadline.
        waited: Duration,
        /// What the last probe said.
        last: String,
        /// Last lines of its log.
        log: String,
    },
    /// A command-line tool of Kafka failed.
    #[error("{class} failed ({status}): {output}")]
    Tool {
        /// Java class of the tool.
        class: String,
        /// Its exit status.
        status: String,
        /// What it printed, on both streams.
        output: String,
    },
    /// A query was refused.
    #[error("the CQL store at {address} did not answer the query: {reason}")]
    Cql {
        /// `host:port`.
        address: String,
        /// The server's message, or what was wrong with its answer.
        reason: String,
    },
    /// The file system or the process table refused.
    #[error("{doing} {path:?} failed: {source}", path = path.display())]
    Io {
        /// What was being done, such as `creating`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: `.map_err(Error::io("creating", &path))`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
