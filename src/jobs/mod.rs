//! Jobs from files: `tidemark job …`, and the routes under `/v1/jobs` that it asks.

pub mod built_in;
mod change;
pub mod describe;
pub mod diff;
pub mod files;
pub mod http;
pub mod input;
mod made;
pub mod manage;
pub mod openapi;
pub mod recompute;
pub mod recompute_http;
pub mod replay;
mod shown;

use crate::config::Config;
use crate::remote::Remote;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write a job file with a passing test, to begin with.
    New {
        /// Name of the job and of its view.
        name: String,
        /// Topic to read.
        #[arg(long, default_value = "flows.observed")]
        topic: String,
        #[command(flatten)]
        schemas: files::Schemas,
    },
    /// Run the tests of job files, without a broker.
    Test {
        /// Job files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        schemas: files::Schemas,
    },
    /// Show the rows that a job would give for a sample, or for what is on its topics.
    Try {
        /// Job file.
        file: PathBuf,
        #[command(flatten)]
        input: input::Input,
        /// As CSV.
        #[arg(long)]
        csv: bool,
        #[command(flatten)]
        schemas: files::Schemas,
    },
    /// Check job files, run their tests, and start them on a running platform; a new version runs beside the old one. Of
    /// several, all are checked before the first is applied.
    Apply {
        /// Job files, and folders of them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show the jobs of a running platform.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Draw a job: stages, topics, partitions, state and lag.
    Describe {
        /// Name of the job.
        job: String,
        /// As a Mermaid flowchart.
        #[arg(long)]
        mermaid: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Say what holds a window open, or when and why it closed.
    Why {
        /// Name of the view.
        view: String,
        /// Start of the window: RFC 3339, or milliseconds.
        window: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a version the one that the view's name means; the newest unless another is given.
    #[command(disable_version_flag = true)]
    Promote {
        /// Name of the job.
        job: String,
        /// Version.
        #[arg(id = "job_version", long = "version", value_name = "VERSION")]
        version: Option<i32>,
        /// Even if it is not at work or has still much to read.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Go back to the version that was current before.
    Rollback {
        /// Name of the job.
        job: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop a version, or with --all the job, and drop its view.
    #[command(disable_version_flag = true)]
    Retire {
        /// Name of the job.
        job: String,
        /// Version.
        #[arg(id = "job_version", long = "version", value_name = "VERSION", required_unless_present = "all")]
        version: Option<i32>,
        /// All versions.
        #[arg(long, conflicts_with = "job_version")]
        all: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Compute a view's figures again from the source offsets that they were made of, compare row by row, and unless --compare
    /// is given write what differs. Exit status: 0 equal, 1 differs, 2 not provable or not to be written.
    #[command(disable_version_flag = true)]
    Recompute {
        #[command(flatten)]
        which: recompute::Which,
        #[command(flatten)]
        remote: Remote,
    },
    /// Compare two versions of a view window by window. Exit status: 0 equal, 1 differ, 2 nothing to compare.
    Diff {
        #[command(flatten)]
        which: diff::Which,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check that a job gives the same figures from the same records at any speed, in any interleaving, and after crashes.
    Replay {
        #[command(flatten)]
        sample: replay::Sample,
        #[command(flatten)]
        schemas: files::Schemas,
    },
    /// Print the JSON Schema of job files, for editors.
    Schema,
    /// Print the reference of all keys, aggregates and functions, as Markdown.
    Reference,
}

/// Runs a command.
///
/// # Errors
/// What went wrong and what to do.
pub(crate) fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::New { name, topic, schemas } => files::new(config, &name, &topic, &schemas).map(done),
        Command::Test { files, schemas } => files::test(config, &files, &schemas),
        Command::Try { file, input, csv, schemas } => files::try_out(config, &file, &input, csv, &schemas).map(done),
        Command::Apply { files, remote } => manage::apply(&files, &remote).map(done),
        Command::List { remote } => manage::list(&remote).map(done),
        Command::Describe { job, mermaid, remote } => describe::describe(&job, mermaid, &remote).map(done),
        Command::Why { view, window, remote } => describe::why(&view, &window, &remote).map(done),
        Command::Promote { job, version, force, remote } => {
            manage::change(&job, "promote", &json!({"version": version, "force": force}), &remote).map(done)
        }
        Command::Rollback { job, remote } => manage::change(&job, "rollback", &json!({}), &remote).map(done),
        Command::Retire { job, version, all, remote } => {
            let which = if all { json!({"all": true}) } else { json!({"version": version}) };
            manage::change(&job, "retire", &which, &remote).map(done)
        }
        Command::Recompute { which, remote } => Ok(recompute::recompute(&which, &remote)),
        Command::Diff { which, remote } => Ok(diff::diff(&which, &remote)),
        Command::Replay { sample, schemas } => replay::replay(config, &sample, &schemas),
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&tidemark_spec::file::json_schema())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Reference => {
            print!("{}", tidemark_spec::file::reference());
            Ok(ExitCode::SUCCESS)
        }
    }
}
