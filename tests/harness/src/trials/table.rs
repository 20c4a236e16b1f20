//! `docs/faults.md` from the results.

use std::fmt::Write;

use serde_json::Value;

use super::{Error, load, results, root};

/// What is written.
const PAGE: &str = "docs/faults.md";

const HEAD: &str = "\
# Faults

Written by `make faults` and `make mutants`; do not edit. Each fault was injected into the shipped binary on a real broker (Kafka
4.1), CQL store (Cassandra 5.0) and registry while records were published without a pause, straight to Kafka with unreadable ones, repeats and an idle
partition among them, or through a gateway. After every ten trials everything was run to rest and *every row* of the view store, every count, every late letter and dead
letter was compared with a fold of the source topic, record by record. *Lost* and *doubled* are
records that rows lack or have too many. *Recovered* is the time from the fault's end (for a kill: from the kill) until every stage had
committed anew in every partition.

";

/// Writes the page from all results that there are.
///
/// # Errors
/// It cannot be written.
pub fn write() -> Result<(), Error> {
    let (mut faults, mut elsewhere, mut mutants, mut overload) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let dir = std::fs::read_dir(results()).map_err(Error::io(results().display()))?;
    let mut paths: Vec<_> = dir.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(result) = load(&path) else { continue };
        let list = match name.split('-').next() {
            Some("elsewhere") => &mut elsewhere,
            Some("mutant") => &mut mutants,
            Some("overload") => &mut overload,
            _ => &mut faults,
        };
        list.push(result);
    }
    let page = [
        HEAD.to_owned(),
        machine(),
        of_faults(&faults),
        of_overload(&overload),
        of_proofs(&elsewhere),
        of_mutants(&mutants),
    ];
    std::fs::write(root().join(PAGE), page.concat()).map_err(Error::io(PAGE))
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        memory.lines().next().and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("Machine: {cores} cores ({model}), {} GiB; everything on it, servers included.\n", kib.unwrap_or(0) >> 20)
}

fn of_faults(results: &[Value]) -> String {
    let mut out = String::from(
        "\n## Faults\n\n| Fault | Trials | Records | Lost | Doubled | Recovered: median, max | Exact | Seed | Date, commit |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        let mut recoveries: Vec<u64> = numbers(&result["recovery_ms"]);
        recoveries.sort_unstable();
        let median = recoveries.get(recoveries.len() / 2).copied().unwrap_or(0);
        let max = recoveries.last().copied().unwrap_or(0);
        let wrong = result["wrong"].as_array().map_or(0, Vec::len);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.1} s, {:.1} s | {} | {} | {} |",
            text(&result["fault"]),
            result["trials"],
            result["records"],
            result["lost"],
            result["doubled"],
            median as f64 / 1000.0,
            max as f64 / 1000.0,
            if wrong == 0 { "yes" } else { "**NO**" },
            result["seed"],
            stamped(&result["stamp"]),
        );
    }
    out.push_str("\nA fault again: `make faults ONLY=<part of the test's name>`, with `TIDEMARK_FAULTS_SEED=<seed>` for its records.\n");
    out
}

fn of_overload(results: &[Value]) -> String {
    let mut out = String::from(
        "\n## Overload\n\n| Load | Records | Memory at most | Bound | Drained in | Exact | Date, commit |\n|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        let mib = |value: &Value| value.as_u64().unwrap_or(0) >> 20;
        let _ = writeln!(
            out,
            "| {} | {} | {} MiB | {} MiB | {:.1} s | {} | {} |",
            text(&result["load"]),
            result["records"],
            mib(&result["memory_bytes"]),
            mib(&result["bound_bytes"]),
            result["drained_ms"].as_f64().unwrap_or(0.0) / 1000.0,
            if result["exact"] == true { "yes" } else { "**NO**" },
            stamped(&result["stamp"]),
        );
    }
    out
}

fn of_proofs(results: &[Value]) -> String {
    let mut out =
        String::from("\n## Proved by other tests\n\n| Fault | Command | Passed | Date, commit |\n|---|---|---|---|\n");
    for result in results {
        let passed = if result["passed"] == true { "yes" } else { "**NO**" };
        let (fault, command, stamp) = (text(&result["fault"]), text(&result["command"]), stamped(&result["stamp"]));
        let _ = writeln!(out, "| {fault} | `{command}` | {passed}, {} tests | {stamp} |", result["tests"]);
    }
    out
}

fn of_mutants(results: &[Value]) -> String {
    let mut out = String::from(
        "\n## Mutation checks\n\nEach rule was switched off in a copy of the tree; the named test was green before and must be red then.\n\n\
         | Rule switched off | In | Red test | Noticed | Date, commit |\n|---|---|---|---|---|\n",
    );
    for result in results {
        let noticed = if result["noticed"] == true { "yes" } else { "**NO**" };
        let (rule, file, red) = (text(&result["rule"]), text(&result["file"]), text(&result["red"]));
        let _ = writeln!(out, "| {rule} | `{file}` | `{red}` | {noticed} | {} |", stamped(&result["stamp"]));
    }
    out
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn stamped(stamp: &Value) -> String {
    format!("{}, {}", text(&stamp["date"]), text(&stamp["commit"]))
}
