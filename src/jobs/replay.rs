//! `tidemark job replay`: whether a job gives the same figures however a sample comes.

use crate::config::Config;
use crate::jobs::files::{Schemas, compile};
use crate::jobs::input::{Arriving, Input};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tidemark_core::Job;
use tidemark_spec::replay::{self, Error};

/// A job and a sample.
#[derive(Debug, Clone, clap::Args)]
pub struct Sample {
    /// Job file.
    file: PathBuf,
    #[command(flatten)]
    input: Input,
    /// Source partitions that the records of a file are dealt out to, in turn; those of topics stay where they are.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    partitions: u8,
    /// So many interleavings, and as many with crashes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Seed of the first of them; each next one has the next number. At random unless given.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the sample in every way. Exit status: 0 the same figures, 1 others.
///
/// # Errors
/// The file or the sample is wrong, or the job cannot be checked.
pub fn replay(config: &Config, sample: &Sample, schemas: &Schemas) -> anyhow::Result<ExitCode> {
    let job = compile(config, &sample.file, schemas)?;
    let partitions = usize::from(sample.partitions);
    let loaded = sample.input.load(&job, &schemas.remote, Arriving::Dealt(partitions))?;
    if let Some(first) = loaded.unread.told.first() {
        anyhow::ensure!(sample.input.is_topic(), "{first}");
        eprintln!("{} records cannot be read and are left out, the first: {first}", loaded.unread.count);
    }
    anyhow::ensure!(!loaded.sample.records.is_empty(), "there are no records");
    let seed = sample
        .seed
        .unwrap_or_else(|| u64::from(uuid::Uuid::now_v7().as_fields().1) << 16 | u64::from(std::process::id()));
    let began = Instant::now();
    match replay::check(&job, &loaded.sample, u64::from(sample.rounds), seed) {
        Ok(checked) => {
            println!(
                "{}: the same figures {} ways: at full speed, record by record, {} interleavings, {} with crashes (seed {seed})",
                job.spec().name,
                checked.ways,
                sample.rounds,
                sample.rounds
            );
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "{} records on {} partitions, {} rows, {} late; every sum bit for bit, in {seconds:.2} s",
                checked.records, loaded.partitions, checked.rows, checked.late
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Mismatch(mismatch)) => {
            println!("{}: {mismatch}", job.spec().name);
            println!("again with: --seed {seed} --rounds {} --partitions {}", sample.rounds, sample.partitions);
            Ok(ExitCode::FAILURE)
        }
        Err(error @ Error::Unable(_)) => Err(error.into()),
    }
}
