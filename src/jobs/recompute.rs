//! `tidemark job recompute`: asks a platform to compute figures again, and says what came of it.

use crate::remote::{Remote, escaped};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Exit status when nothing could be proven, also because the platform did not answer.
pub const NOT_PROVABLE: u8 = 2;

/// Which windows, of which view.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// Name of the view.
    view: String,
    /// Windows that start at or after it: RFC 3339, or milliseconds. Without any time: all windows.
    #[arg(long)]
    from: Option<String>,
    /// Windows that start before it.
    #[arg(long)]
    to: Option<String>,
    /// The window that starts then.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    window: Option<String>,
    /// Compare row by row with the view; nothing is written. Without it, what differs is written into sealed windows, each as a
    /// new epoch.
    #[arg(long)]
    compare: bool,
    /// Fold late records too that the streamed figure leaves out: what was held, and what came after its window was sealed.
    #[arg(long)]
    include_late: bool,
    /// A version; else the current one.
    #[arg(id = "job_version", long = "version", value_name = "VERSION")]
    version: Option<i32>,
    /// The whole answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Recomputes windows and prints the verdict. Exit status: 0 equal, if it was written compared again; 1 differs; 2 not provable,
/// or not to be written.
pub fn recompute(which: &Which, remote: &Remote) -> ExitCode {
    match ask(which, remote) {
        Ok(report) => {
            if which.json {
                println!("{report}");
            } else {
                print(&report);
            }
            let exit = report.get("exit").and_then(Value::as_u64).and_then(|exit| u8::try_from(exit).ok());
            ExitCode::from(exit.unwrap_or(NOT_PROVABLE))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_PROVABLE)
        }
    }
}

fn ask(which: &Which, remote: &Remote) -> anyhow::Result<Value> {
    let Which { view, from, to, window, include_late, version, .. } = which;
    let body = json!({"from": from, "to": to, "window": window, "include_late": include_late, "version": version});
    let (mut report, mut failed) = (None, None);
    let terminal = std::io::stderr().is_terminal();
    let path = format!("/v1/jobs/{}/recompute{}", escaped(view), if which.compare { "" } else { "/write" });
    remote.lines(&path, &body, &mut |line| {
        if let Some(progress) = line.get("progress") {
            tell(progress, terminal);
        }
        report = report.take().or_else(|| line.get("report").cloned());
        failed = failed.take().or_else(|| line.get("error").and_then(Value::as_str).map(str::to_owned));
    })?;
    if terminal {
        eprint!("\r\x1b[K");
    }
    match (report, failed) {
        (Some(report), _) => Ok(report),
        (None, Some(error)) => anyhow::bail!("{error}"),
        (None, None) => anyhow::bail!("the answer broke off before the verdict; ask again"),
    }
}

fn tell(progress: &Value, terminal: bool) {
    let number = |key: &str| progress.get(key).and_then(Value::as_i64).unwrap_or_default();
    let share = number("offsets_done") * 100 / number("offsets").max(1);
    let text = format!(
        "{share:>3} %  {} records read, {} of {} windows",
        number("records"),
        number("windows_done"),
        number("windows")
    );
    if terminal {
        eprint!("\r\x1b[K{text}");
        let _ = std::io::stderr().flush();
    } else {
        eprintln!("{text}");
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn print(report: &Value) {
    let nothing = Value::Null;
    let (rows, records) = (report.get("rows").unwrap_or(&nothing), report.get("records").unwrap_or(&nothing));
    println!("{} version {}: {}\n", text(report, "job"), number(report, "version"), text(report, "verdict"));
    let windows = list(report, "windows");
    let ends = windows.first().zip(windows.last());
    let span =
        ends.map(|(first, last)| format!(", {} to {}", text(first, "start"), text(last, "end"))).unwrap_or_default();
    println!("  windows   {}{span}", windows.len());
    println!(
        "  rows      {} equal ({} of them within the stated error), {} changed, {} only in the view, {} only recomputed",
        number(rows, "equal"),
        number(rows, "within_error"),
        number(rows, "changed"),
        number(rows, "only_in_view"),
        number(rows, "only_recomputed")
    );
    println!(
        "  records   {} in the streamed figure; {} read, {} folded, {} of them left out there; {} left out here too",
        number(records, "streamed"),
        number(records, "read"),
        number(records, "folded"),
        number(records, "late_folded"),
        number(records, "left_out")
    );
    if report.get("write").and_then(Value::as_bool).unwrap_or_default() {
        let written = report.get("written").unwrap_or(&nothing);
        println!(
            "  written   {} windows: {} rows, {} rows taken away; {} windows not written",
            number(written, "windows"),
            number(written, "rows"),
            number(written, "removed"),
            number(written, "refused")
        );
    }
    println!("  included  {}", text(report, "included"));
    println!("  margin    {}", text(report, "margin"));
    for source in list(report, "sources") {
        let (topic, partition) = (text(source, "topic"), number(source, "partition"));
        println!(
            "  read      {topic}-{partition}, offsets {} to {}",
            number(source, "first_offset"),
            number(source, "last_offset")
        );
    }
    let rate = report.get("records_per_second").and_then(Value::as_f64).unwrap_or_default();
    println!(
        "  took      {:.3} s, {rate:.0} records/s",
        report.get("seconds").and_then(Value::as_f64).unwrap_or_default()
    );
    if let Some(seconds) = report.get("streamed_seconds").and_then(Value::as_f64) {
        println!("  streamed  {seconds:.3} s, from the first partial until the last window was final");
    }
    for window in windows {
        let Some(written) = window.get("written").filter(|written| !written.is_null()) else { continue };
        println!(
            "\n  window {}: epoch {}, {} rows written, {} taken away; {} records, {} late ones left out (were {} and {})",
            text(window, "start"),
            number(written, "epoch"),
            number(written, "rows"),
            number(written, "removed"),
            number(written, "records"),
            number(written, "left_out"),
            number(window, "records"),
            number(window, "left_out")
        );
    }
    for window in windows.iter().filter(|window| text(window, "verdict") != "equal") {
        println!("\n  window {} ({}): {}", text(window, "start"), text(window, "state"), text(window, "verdict"));
        list(window, "notes").iter().filter_map(Value::as_str).for_each(|note| println!("    {note}"));
        let left_out = number(window, "left_out");
        if left_out > 0 {
            println!("    {left_out} late records are not in its rows");
        }
    }
    print_differences(list(report, "differences"));
}

fn print_differences(differences: &[Value]) {
    if !differences.is_empty() {
        println!();
    }
    for difference in differences {
        let key = difference.get("key").and_then(Value::as_object);
        let key: Vec<String> =
            key.into_iter().flatten().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        println!("  {} {}  {}", text(difference, "window"), text(difference, "what"), key.join(" "));
        for change in list(difference, "columns") {
            let side = |name: &str| change.get(name).map(shown).unwrap_or_default();
            println!(
                "      {}: {} in the view, {} recomputed",
                text(change, "column"),
                side("view"),
                side("recomputed")
            );
        }
    }
}

/// A value in a line: a text without its quotes.
pub fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
