//! What a job is made of and how it stands, for people.

use crate::remote::{Remote, escaped};
use serde_json::Value;

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Prints a job's stages.
///
/// # Errors
/// The platform cannot be reached, or has no such job.
pub fn describe(job: &str, mermaid: bool, remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.get(&format!("/v1/jobs/{}", escaped(job)))?;
    for version in list(&answer, "versions") {
        if mermaid {
            print_mermaid(&answer, version);
        } else {
            print_text(&answer, version);
        }
    }
    for gone in list(&answer, "retiring").filter(|_| !mermaid) {
        println!("{job} version {}: retiring since {}", number(gone, "version"), text(gone, "retired_at"));
        list(gone, "topics").for_each(|topic| println!("    removes  {}", topic.as_str().unwrap_or_default()));
    }
    Ok(())
}

fn print_text(job: &Value, version: &Value) {
    let number_of = number(version, "version");
    let current = if number(job, "current") == number_of { ", current" } else { "" };
    println!("{} version {number_of}{current}: {}", text(job, "job"), text(version, "state"));
    if let Some(why) = version.get("why").and_then(Value::as_str) {
        println!("  {why}");
    }
    if !text(version, "description").is_empty() {
        println!("  {}", text(version, "description"));
    }
    for view in list(version, "views") {
        println!("  reads view {} version {}", text(view, "view"), number(view, "version"));
    }
    println!("  window {}, grace {}, late: {}", text(version, "window"), text(version, "grace"), text(version, "late"));
    if let Some(letters) = version.get("dead_lettered").and_then(Value::as_i64) {
        println!(
            "  {letters} dead letters; the last ones: tidemark topics read {}",
            text(version, "dead_letter_topic")
        );
    }
    for stage in list(version, "stages") {
        let lag =
            stage.get("lag").and_then(Value::as_i64).map_or("not known yet".to_owned(), |lag| format!("{lag} records"));
        println!("\n  {}", text(stage, "stage"));
        println!("    does     {}", text(stage, "does"));
        for topic in list(stage, "reads") {
            println!("    reads    {} ({} partitions)", text(topic, "topic"), number(topic, "partitions"));
        }
        for topic in list(stage, "writes") {
            println!("    writes   {}", topic.as_str().unwrap_or_default());
        }
        println!("    group    {}", text(stage, "group"));
        println!("    lag      {lag}");
        if let Some(state) = stage.get("state").and_then(Value::as_str) {
            println!("    state    {state}");
        }
    }
    println!();
}

fn print_mermaid(job: &Value, version: &Value) {
    println!("flowchart LR\n  %% {} version {}", text(job, "job"), number(version, "version"));
    let id = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    for stage in list(version, "stages") {
        let name = text(stage, "stage");
        let lag = stage.get("lag").and_then(Value::as_i64).map(|lag| format!("<br/>lag {lag}")).unwrap_or_default();
        println!("  {}[\"{name}{lag}\"]", id(name));
        for topic in list(stage, "reads") {
            let topic = text(topic, "topic");
            println!("  {0}[/\"{topic}\"/] --> {1}", id(topic), id(name));
        }
        for topic in list(stage, "writes").filter_map(Value::as_str) {
            println!("  {1} --> {0}[/\"{topic}\"/]", id(topic), id(name));
        }
    }
}

/// Prints why a window is open, or how it closed.
///
/// # Errors
/// The platform cannot be reached, or has no such view.
pub fn why(view: &str, window: &str, remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.get(&format!("/v1/views/{}/why?window={}", escaped(view), escaped(window)))?;
    let empty = Value::Null;
    let bounds = answer.get("window").unwrap_or(&empty);
    println!(
        "{view} version {}, window {} to {}",
        number(&answer, "version"),
        text(bounds, "start"),
        text(bounds, "end")
    );
    println!("{}\n", text(&answer, "why"));
    println!("records   {} in {} rows", number(&answer, "records"), number(&answer, "rows"));
    let [folded, held, sealed] = ["late_folded", "late_held", "sealed_out"].map(|reason| number(&answer, reason));
    println!("late      {folded} folded in, {held} held out, {sealed} after it was sealed");
    for (name, key) in [
        ("opened", "opened_at"),
        ("changed", "updated_at"),
        ("closed", "closed_at"),
        ("seals", "seals_at"),
        ("written", "recomputed_at"),
    ] {
        if !text(&answer, key).is_empty() {
            println!("{name:<9} {}", text(&answer, key));
        }
    }
    for source in list(&answer, "sources") {
        let offsets = format!("offsets {} to {}", number(source, "first_offset"), number(source, "last_offset"));
        println!("read      {}, partition {}, {offsets}", text(source, "topic"), number(source, "partition"));
    }
    for source in list(&answer, "behind") {
        println!(
            "behind    {}, partition {}: read up to offset {}, at {}",
            text(source, "topic"),
            number(source, "partition"),
            number(source, "next_offset"),
            text(source, "watermark")
        );
    }
    Ok(())
}
