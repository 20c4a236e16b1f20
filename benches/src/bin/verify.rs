//! Compares everything the job wrote with the expected results; ends with status 1 unless all of it is exact.

use anyhow::Context;
use clap::Parser;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidemark_benches::servers::Servers;
use tidemark_benches::{Outcome, Reference};

/// How long the topics may take to be read once the job is done.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    servers: Servers,
    /// File that `load` wrote.
    #[arg(long)]
    expected: PathBuf,
    /// How long the job may take until it has committed everything, seconds; then what there is is compared.
    #[arg(long, default_value_t = 120)]
    wait: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let name = args.expected.display().to_string();
    let file = std::fs::File::open(&args.expected).with_context(|| name.clone())?;
    let reference = Reference::read(BufReader::new(file)).context(name)?;
    let results = args.servers.results()?;
    if !results.wait(reference.records, Instant::now() + Duration::from_secs(args.wait))? {
        eprintln!("the job has not committed {} records in {} s", reference.records, args.wait);
    }
    let outcome = Outcome::of(&reference, &results.read(Instant::now() + READ_TIMEOUT)?);
    println!("{outcome}");
    Ok(if outcome.is_exact() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
