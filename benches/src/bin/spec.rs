//! The same job twice, in Rust and from a YAML file, over the same records in one run: how fast each reads, folds, writes its
//! partials and merges them, by the CPU time of one thread, without a log. Rounds alternate, so that what else the machine does hits both.
//!
//! The Rust job checks names and ranges and dead-letters what breaks them; the file says the same with `where`.

use clap::Parser;
use tidemark_benches::usage;
use tidemark_benches::workload::{Settings, Workload};
use tidemark_core::merge::MergeFold;
use tidemark_core::partial::{PartialFold, Position};
use tidemark_core::{Input, Job};
use tidemark_jobs::flows;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog;
use tidemark_schemas::engine::Partial;
use tidemark_schemas::wire;

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
    /// Rounds of each job.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Records of a commit.
    #[arg(long, default_value_t = 500_000)]
    commit: usize,
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
    let file = tidemark_spec::compile("flows.yaml", FILE, &Schemas)?;
    let (mut of_rust, mut of_file) = (Vec::new(), Vec::new());
    for round in 0..=args.rounds {
        let (rust_s, rust_rows) = time(&rust, &data, args.commit)?;
        let (file_s, file_rows) = time(&file, &data, args.commit)?;
        anyhow::ensure!(rust_rows == file_rows, "the jobs give {rust_rows:?} and {file_rows:?} rows and records");
        // The first round warms up.
        if round > 0 {
            of_rust.push(rust_s);
            of_file.push(file_s);
        }
    }
    let mut ratios: Vec<f64> = of_rust.iter().zip(&of_file).map(|(rust, file)| rust / file).collect();
    let rate = |seconds: &mut [f64]| args.records as f64 / median(seconds);
    println!(
        "spec records={} keys={} rounds={} rust_records_per_s={:.0} file_records_per_s={:.0} ratio_median={:.2} ratio_min={:.2}",
        args.records,
        args.keys,
        args.rounds,
        rate(&mut of_rust),
        rate(&mut of_file),
        median(&mut ratios),
        ratios.first().copied().unwrap_or_default()
    );
    Ok(())
}

/// Sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Of this thread: what else the machine does is not in it.
fn cpu_seconds() -> anyhow::Result<f64> {
    Ok(usage::cpu_seconds()?.values().sum())
}

/// CPU seconds for all records through both folds; rows and records at the end.
fn time<J: Job>(job: &J, data: &[Vec<u8>], commit: usize) -> anyhow::Result<(f64, (usize, i64))> {
    let spec = job.spec();
    let began = cpu_seconds()?;
    let mut fold = PartialFold::new(spec, "flows.observed", 0, Position::default());
    let mut merges: Vec<MergeFold<J::Accumulator>> =
        (0..spec.merge_partitions).map(|partition| MergeFold::new(spec, partition, 1)).collect();
    let (mut key, mut offset, mut records) = (Vec::new(), 0_i64, 0);
    for chunk in data.chunks(commit) {
        for datum in chunk {
            key.clear();
            let input = Input { offset, ..Input::of(datum) };
            let sample = job.read(input, &mut key).map_err(|reject| anyhow::anyhow!(reject.detail))?;
            fold.fold(offset, i64::MAX / 4, &sample);
            offset += 1;
        }
        fold.partials(|partition, datum| -> anyhow::Result<()> {
            let partial = Partial::get(&mut Reader::new(datum))?;
            records += partial.windows.iter().flat_map(|window| &window.rows).map(|row| row.records).sum::<i64>();
            if let Some(merge) = merges.get_mut(partition as usize) {
                merge.fold_partial(offset, 0, &partial, |_| {})?;
            }
            Ok(())
        })?;
        fold.committed();
    }
    let seconds = cpu_seconds()? - began;
    Ok((seconds, (merges.iter().map(MergeFold::rows).sum(), records)))
}
