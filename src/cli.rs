//! Commands and flags.

use crate::auth::{self, Role};
use crate::config::{Config, Overrides};
use crate::remote::Remote;
use crate::serve::Part;
use crate::{doctor, jobs, logging, schemas, serve, topics};
use anyhow::Context;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
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
        /// Of a worker: the process that started it, and that it ends with.
        #[arg(long, value_name = "PID", hide = true)]
        with_parent: Option<u32>,
    },
    /// Run a built-in step of the document pipeline: reads standard input, writes JSON. Workers call it.
    #[command(hide = true)]
    Step {
        /// D1 to D5.
        name: String,
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
    /// Jobs from files: written, tested, applied to a running platform, explained, promoted.
    Job {
        #[command(subcommand)]
        command: jobs::Command,
    },
    /// Finds what is wrong in a running installation.
    Doctor {
        #[command(subcommand)]
        command: DoctorCommand,
    },
    /// Tokens: who may do what over HTTP.
    Token {
        /// File of tokens [default: the one that is configured].
        #[arg(long, global = true, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(subcommand)]
        command: TokenCommand,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token, print it this once and keep its hash.
    New {
        /// Whose it is; 1 to 64 letters, digits, '-', '_' or '.'.
        name: String,
        /// What it may do; give several.
        #[arg(long = "role", value_enum, required = true)]
        roles: Vec<Role>,
        /// Days until it expires [default: never].
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
    },
    /// Show names, roles and times.
    List,
    /// Take a token out; processes that run refuse it within seconds.
    Revoke {
        /// Whose it is.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Make every topic of the platform on Kafka as it is declared: partitions, retention, compaction, LogAppendTime.
    Apply,
    /// Make a topic for events of your own, with their schema, at a running gateway; the same again changes nothing.
    Create(topics::remote::Create),
    /// Show the topics that take events, as a running gateway sees them.
    List(Remote),
    /// Show what is on a topic of a running platform, a line of JSON for each record: the last 10 unless it is said which.
    Read {
        /// Name of the topic.
        topic: String,
        #[command(flatten)]
        range: topics::fetch::Range,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// List the transactions that are open on the Kafka cluster: exits with 1 when one is an orphan, open for longer than its
    /// producer wanted, so that readers wait for nobody.
    Transactions(doctor::Options),
}

#[derive(Debug, Subcommand)]
enum SchemasCommand {
    /// Compare the built-in schemas with the released ones, or with the latest of a registry when `--registry` is given:
    /// exits with 1 when one is not backward compatible.
    Check,
}

/// What a job is compiled with without a platform.
const OFFLINE: [&str; 2] = ["config", "registry"];

/// The command line. Where a server's options mean nothing they are taken and not shown.
fn command() -> clap::Command {
    let cli = Cli::command();
    let server: Vec<Arg> = cli.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let but = |shown: &[&str]| -> Vec<Arg> {
        let hidden = server.iter().map(|arg| arg.clone().hide(!shown.contains(&arg.get_id().as_str())));
        hidden.collect()
    };
    let asks_a_platform = |command: clap::Command| {
        let offline = ["new", "test", "try", "replay"].contains(&command.get_name());
        command.args(but(if offline { &OFFLINE } else { &[] }))
    };
    cli.mut_subcommand("job", |job| job.mut_subcommands(asks_a_platform)).mut_subcommand("topics", |topics| {
        topics.mut_subcommands(|command| if command.get_name() == "apply" { command } else { asks_a_platform(command) })
    })
}

/// Parses the command line, runs the command and says what went wrong.
pub fn main() -> ExitCode {
    // A step is a process of its own, some hundred a second of them: nothing is made ready that it does not need.
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(command), Some(step), None) = (arguments.next(), arguments.next(), arguments.next())
        && command == "step"
    {
        // A worker that is killed leaves no step behind. Where the kernel refuses, its limits end it.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        return tidemark_document_steps::main(&step.to_string_lossy());
    }
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    if !matches!(cli.command, Command::Up { .. } | Command::Serve { .. }) {
        // A reader that has seen enough, as `head`, ends the command without a word, as it does every tool of Unix. A server
        // that cannot log goes on: it keeps what Rust sets, which is to ignore the signal.
        sigpipe::reset();
    }
    let outcome = Config::load(cli.config.as_deref(), &cli.overrides).map_err(anyhow::Error::from).and_then(|config| {
        match cli.command {
            Command::Up { demo } => {
                logging::init(&config);
                serve::up(&config, cli.config.as_deref(), demo).map(|()| ExitCode::SUCCESS)
            }
            Command::Serve { part, with_parent } => {
                logging::init(&config);
                serve::serve(&config, part, with_parent).map(|()| ExitCode::SUCCESS)
            }
            Command::Step { name } => Ok(tidemark_document_steps::main(&name)),
            Command::Topics { command } => match command {
                TopicsCommand::Apply => topics::apply(&config),
                TopicsCommand::Create(options) => topics::remote::create(&options),
                TopicsCommand::List(remote) => topics::remote::list(&remote),
                TopicsCommand::Read { topic, range, remote } => topics::fetch::print(&topic, &range, &remote),
            }
            .map(|()| ExitCode::SUCCESS),
            Command::Job { command } => jobs::run(&config, command),
            Command::Schemas { command: SchemasCommand::Check } => schemas::check(&config),
            Command::Doctor { command: DoctorCommand::Transactions(options) } => {
                doctor::transactions(&config, &options)
            }
            Command::Token { file, command } => token(&config, file, command).map(|()| ExitCode::SUCCESS),
        }
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("tidemark: {}", told(&error));
        ExitCode::FAILURE
    })
}

fn token(config: &Config, file: Option<PathBuf>, command: TokenCommand) -> anyhow::Result<()> {
    let file = file.or_else(|| config.auth.tokens.clone());
    let file = file.context("which tokens? give --file FILE, or set auth.tokens in the configuration")?;
    match command {
        TokenCommand::New { name, roles, days } => auth::command::new(&file, &name, &roles, days),
        TokenCommand::List => auth::command::list(&file),
        TokenCommand::Revoke { name } => auth::command::revoke(&file, &name),
    }
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
        command().debug_assert();
    }

    fn help(path: &[&str]) -> String {
        let mut at = command();
        at.build();
        let mut at = &mut at;
        for name in path {
            at = at.find_subcommand_mut(name).unwrap();
        }
        at.render_long_help().to_string()
    }

    #[test]
    fn help_shows_what_applies() {
        for path in [&["job", "list"][..], &["job", "promote"], &["topics", "list"]] {
            let help = help(path);
            assert!(
                help.contains("--url") && !help.contains("--kafka") && !help.contains("--config"),
                "{path:?}: {help}"
            );
        }
        let test = help(&["job", "test"]);
        assert!(test.contains("--registry") && test.contains("--config") && !test.contains("--otlp"), "{test}");
        for path in [&["up"][..], &["serve"], &["topics", "apply"]] {
            assert!(help(path).contains("--kafka"), "{path:?}");
        }
    }

    #[test]
    fn options_are_taken_wherever_they_stand() {
        let parsed = |args: &[&str]| Cli::from_arg_matches(&command().try_get_matches_from(args).unwrap()).unwrap();
        for args in
            [&["tidemark", "--registry", "r", "job", "test", "f"], &["tidemark", "job", "test", "f", "--registry", "r"]]
        {
            assert!(format!("{:?}", parsed(args).overrides).contains("Some(\"r\")"), "{args:?}");
        }
        parsed(&["tidemark", "job", "list", "--data-dir", "d"]);
    }
}
