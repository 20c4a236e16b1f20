//! Commands and flags.

use crate::config::{Config, Overrides};
use crate::serve::Part;
use crate::{logging, schemas, serve, topics};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Event streaming with exact, provable aggregates: Kafka topics in, windowed folds, views and a query API out.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, propagate_version = true)]
struct Cli {
    /// Configuration file; flags and environment win over it. `tidemark.toml` is read when it is there.
    #[arg(long, global = true, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process; parts without an address of a server are embedded.
    Up {
        /// Publish live synthetic flows, some out of order, delayed and late.
        #[arg(long)]
        demo: bool,
    },
    /// Run one part against servers; start as many processes of each as you like.
    Serve {
        /// Which part.
        #[arg(value_enum)]
        part: Part,
    },
    /// Topics of the platform.
    Topics {
        #[command(subcommand)]
        command: TopicsCommand,
    },
    /// Schemas of the platform.
    Schemas {
        #[command(subcommand)]
        command: SchemasCommand,
    },
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Make every topic as it is declared: partitions, retention, compaction, LogAppendTime.
    Apply,
}

#[derive(Debug, Subcommand)]
enum SchemasCommand {
    /// Compare the built-in schemas with the released ones, or with the latest of a registry when `--registry` is given:
    /// exits with 1 when one is not backward compatible.
    Check,
}

/// Parses the command line, runs the command and says what went wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Config::load(cli.config.as_deref(), &cli.overrides).map_err(anyhow::Error::from).and_then(|config| {
        match cli.command {
            Command::Up { demo } => {
                logging::init(&config);
                serve::up(&config, demo).map(|()| ExitCode::SUCCESS)
            }
            Command::Serve { part } => {
                logging::init(&config);
                serve::serve(&config, part).map(|()| ExitCode::SUCCESS)
            }
            Command::Topics { command: TopicsCommand::Apply } => topics::apply(&config).map(|()| ExitCode::SUCCESS),
            Command::Schemas { command: SchemasCommand::Check } => schemas::check(&config),
        }
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("tidemark: {}", told(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, leaving out a cause that the message before it tells already.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("disk full");
        let error = anyhow::anyhow!("cannot write: {}", io()).context("embedded log");
        assert_eq!(told(&error), "embedded log: cannot write: disk full");
        let error = Err::<(), _>(io()).context("cannot write: disk full").unwrap_err();
        assert_eq!(told(&error), "cannot write: disk full");
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
