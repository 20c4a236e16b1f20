//! `tidemark job replay`: whether a job gives the same figures however a sample comes.

use crate::config::Config;
use crate::jobs::files::{self, Schemas, compile};
use anyhow::Context;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tidemark_core::Job;
use tidemark_spec::datum::Maker;
use tidemark_spec::replay::{self, Error};

/// A job and a sample.
#[derive(Debug, Clone, clap::Args)]
pub struct Sample {
    /// Job file.
    file: PathBuf,
    /// Records, one JSON object a line, as they arrive; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Source partitions that they are dealt out to, in turn.
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
    let avsc = job.sources().first().map(|schema| schema.avsc.to_string()).unwrap_or_default();
    let maker = Maker::new(&avsc, job.fields()).map_err(anyhow::Error::msg)?;
    let text = read(&sample.input)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let datum = |(number, line): (usize, &str)| {
        let record = serde_json::from_str(line).map_err(|error| error.to_string());
        let datum = record.and_then(|record| files::datum(&job, &maker, &record, number));
        datum.map_err(|why| anyhow::anyhow!("{}:{}: {why}", sample.input.display(), number + 1))
    };
    let data = lines.map(datum).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!data.is_empty(), "{} has no records", sample.input.display());
    let records = replay::arrivals(job.as_ref(), data, usize::from(sample.partitions));
    let seed = sample
        .seed
        .unwrap_or_else(|| u64::from(uuid::Uuid::now_v7().as_fields().1) << 16 | u64::from(std::process::id()));
    let began = Instant::now();
    match replay::check(&job, &records, u64::from(sample.rounds), seed) {
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
                checked.records, sample.partitions, checked.rows, checked.late
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

fn read(input: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if input == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(input).with_context(|| format!("cannot read the sample {}", input.display()))?;
    }
    Ok(text)
}
