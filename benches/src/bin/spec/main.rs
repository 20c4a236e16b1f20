//! The same jobs twice, in Rust and from a YAML file, over the same records in one run. Rounds alternate, so that what else the
//! machine does hits both.
//!
//! First the folds alone: how fast each reads, folds, writes its partials and merges them, by the CPU time of one thread, without
//! a log. With `--end-to-end` the last line is of the whole way: a Kafka broker and a schema registry of its own, the stages as
//! `tidemark serve jobs` runs them, exactly once, by the clock. Every result is compared; the run fails where one differs.
//!
//! The Rust job of the flows checks names and ranges and dead-letters what breaks them; the file says the same with `where`.

mod end_to_end;
mod typical;

use clap::Parser;
use tidemark_benches::workload::{Settings, Workload};
use tidemark_core::merge::MergeFold;
use tidemark_core::partial::{PartialFold, Position, read_accumulator};
use tidemark_core::{Input, Job, table};
use tidemark_jobs::flows;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog;
use tidemark_schemas::engine::Partial;
use tidemark_schemas::wire;
use tidemark_spec::SpecJob;

/// The flows as a file.
const FILE: &str = "
job: flows.by_file
source: {topics: flows.observed, time: observed_at}
where: >
  src_app != '' && dest_app != '' && vpc_id != '' && size(src_app) <= 256 && size(dest_app) <= 256 && size(vpc_id) <= 256
  && bytes_tx >= 0 && bytes_tx <= 9007199254740991 && bytes_rx >= 0 && bytes_rx <= 9007199254740991
key: [src_app, dest_app, vpc_id]
window: {tumbling: 1h}
late: amend for 7d
aggregate: {bytes_tx: sum(bytes_tx), bytes_rx: sum(bytes_rx)}
";

#[derive(Debug, Parser)]
struct Args {
    /// Records of a round.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Different keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    /// Rounds of each job, after one that warms up.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Records of a commit, where there is no log.
    #[arg(long, default_value_t = 500_000)]
    commit: usize,
    /// Also over a broker and registry, which are started for it.
    #[arg(long)]
    end_to_end: bool,
    /// Threads for each stage, with `--end-to-end`.
    #[arg(long, default_value_t = 2)]
    threads: u32,
}

struct Schemas;

impl tidemark_spec::Topics for Schemas {
    fn schema(&self, _: &str) -> Result<Option<String>, String> {
        Ok(Some(catalog::FLOW_OBSERVED.avsc.to_string()))
    }
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

fn compiled(text: &str, version: u32) -> anyhow::Result<SpecJob> {
    Ok(tidemark_spec::compile("flows.yaml", &format!("{text}version: {version}\n"), &Schemas)?)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let workload = Workload::new(Settings { records: args.records, keys: args.keys, seed: 1, span_ms: 6 * 3_600_000 });
    let data: Vec<Vec<u8>> = (0..args.records)
        .map(|i| {
            let mut value = Vec::new();
            workload.put(i, 1, &mut value);
            wire::split(&value).map(|(_, datum)| datum.to_vec()).unwrap_or_default()
        })
        .collect();
    let rust = flows::hourly(&flows::Settings::default())?;
    let sums = |sums: &flows::FlowSums| vec![sums.bytes_tx, sums.bytes_rx];
    folds("flows", &args, &data, (&rust, &sums), &compiled(FILE, 1)?)?;
    folds("typical", &args, &data, (&typical::Typical::new()?, &typical::sums), &compiled(typical::FILE, 1)?)?;
    drop(data);
    if args.end_to_end {
        end_to_end::run(&args, &workload)?;
    }
    Ok(())
}

/// The numbers of a row, for comparison.
type Sums<'s, A> = &'s dyn Fn(&A) -> Vec<i128>;

/// Compares the folds of two jobs.
fn folds<J: Job>(
    name: &str,
    args: &Args,
    data: &[Vec<u8>],
    (rust, sums): (&J, Sums<'_, J::Accumulator>),
    file: &SpecJob,
) -> anyhow::Result<()> {
    use tidemark_core::aggregate::{Accumulators, Answer};
    use tidemark_core::value::Value;
    let functions: Vec<_> = file.aggregates().iter().map(|added| added.function.clone()).collect();
    let of_file = |row: &Accumulators| {
        let number = |answer| match answer {
            Answer::Value(Value::Long(n)) => i128::from(n),
            Answer::Value(Value::Integer(n)) => n,
            _ => i128::MIN,
        };
        row.results(&functions).map(number).collect()
    };
    let (rust_rows, file_rows) =
        (time(rust, data, args.commit, Some(sums))?, time(file, data, args.commit, Some(&of_file))?);
    anyhow::ensure!(rust_rows.1 == file_rows.1, "{name}: the jobs give {:?} and {:?}", rust_rows.1, file_rows.1);
    let mut rounds = Rounds::default();
    for _ in 0..args.rounds {
        rounds.add(time(rust, data, args.commit, None)?.0, time(file, data, args.commit, None)?.0);
    }
    println!("spec folds job={name} keys={} {}", args.keys, rounds.told(args.records));
    Ok(())
}

/// Seconds of the rounds of both.
#[derive(Debug, Default)]
struct Rounds {
    rust: Vec<f64>,
    file: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, rust: f64, file: f64) {
        self.rust.push(rust);
        self.file.push(file);
    }

    fn told(&self, records: u64) -> String {
        let ratios: Vec<f64> = self.rust.iter().zip(&self.file).map(|(rust, file)| rust / file).collect();
        let rate = |seconds: &[f64]| records as f64 / median(seconds);
        format!(
            "records={records} rounds={} rust_records_per_s={:.0} file_records_per_s={:.0} ratio_median={:.2} ratio_min={:.2}",
            ratios.len(),
            rate(&self.rust),
            rate(&self.file),
            median(&ratios),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
        )
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Of this thread, by the scheduler's clock: what else the machine does is not in it.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = stat.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

/// What a job came to: rows, records, and a sum over the rows of the partials that depends on all of them.
type Came = (usize, i64, u64);

/// CPU seconds for all records through both folds, and what came of them.
fn time<J: Job>(
    job: &J,
    data: &[Vec<u8>],
    commit: usize,
    sums: Option<Sums<'_, J::Accumulator>>,
) -> anyhow::Result<(f64, Came)> {
    let spec = job.spec();
    let began = cpu_seconds()?;
    let mut fold = PartialFold::new(spec, "flows.observed", 0, Position::default());
    let mut merges: Vec<MergeFold<J::Accumulator>> =
        (0..spec.merge_partitions).map(|partition| MergeFold::new(spec, partition, 1)).collect();
    let (mut key, mut offset, mut records, mut digest) = (Vec::new(), 0_i64, 0, 0_u64);
    for chunk in data.chunks(commit) {
        for datum in chunk {
            key.clear();
            let input = Input { offset, ..Input::of(datum) };
            job.with_sample(input, &mut key, |read| match read {
                Ok(sample) => {
                    fold.fold(offset, i64::MAX / 4, sample);
                    Ok(())
                }
                Err(reject) => Err(anyhow::anyhow!(reject.detail)),
            })?;
            offset += 1;
        }
        fold.partials(|partition, datum| -> anyhow::Result<()> {
            let partial = Partial::get(&mut Reader::new(datum))?;
            for window in &partial.windows {
                records += window.rows.iter().map(|row| row.records).sum::<i64>();
                for (row, sums) in window.rows.iter().flat_map(|row| sums.map(|sums| (row, sums))) {
                    let numbers = sums(&read_accumulator(row.accumulator)?);
                    let row = format!("{:?} {} {} {numbers:?}", row.key, window.start, row.records);
                    digest = digest.wrapping_add(table::hash(row.as_bytes()));
                }
            }
            if let Some(merge) = merges.get_mut(partition as usize) {
                merge.fold_partial(offset, 0, &partial, |_| {})?;
            }
            Ok(())
        })?;
        fold.committed();
    }
    let seconds = cpu_seconds()? - began;
    Ok((seconds, (merges.iter().map(MergeFold::rows).sum(), records, digest)))
}
