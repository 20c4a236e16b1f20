//! Long trials, and the page that tells of them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidemark_harness::trials::{Error, elsewhere, mutants, table};

/// Switches rules off and looks whether a test notices; writes docs/faults.md.
#[derive(Parser)]
#[command(name = "tidemark-trials")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Tries the mutants of tests/mutants/mutants.toml in a copy of the tree.
    Mutants {
        /// Only those whose rule contains this.
        #[arg(default_value = "")]
        only: String,
    },
    /// Runs the tests of tests/faults/elsewhere.toml.
    Elsewhere {
        /// Only those whose fault contains this.
        #[arg(default_value = "")]
        only: String,
    },
    /// Writes docs/faults.md from the results under tests/faults/results.
    Table,
}

fn main() -> ExitCode {
    let done: Result<bool, Error> = match Args::parse().what {
        What::Mutants { only } => mutants::run(&only),
        What::Elsewhere { only } => elsewhere::run(&only),
        What::Table => table::write().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tidemark-trials: {error}");
            ExitCode::FAILURE
        }
    }
}
