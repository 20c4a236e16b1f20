//! Changing the jobs of a running platform.

use crate::jobs::files::read;
use crate::remote::{Remote, Unreachable, escaped};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Schemas that stand beside a job file, `TOPIC.avsc`: the platform makes topics of them that it does not have.
fn schemas_beside(file: &Path) -> Value {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let schema = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_str()?.strip_suffix(".avsc")?.to_owned();
        Some((name, Value::String(std::fs::read_to_string(entry.path()).ok()?)))
    };
    Value::Object(entries.filter_map(schema).collect())
}

/// Applies files and the job files of folders. Several are all checked before the first is applied.
///
/// # Errors
/// A file cannot be read or is refused; a folder has no job files; two files are the same version of a job.
pub fn apply(paths: &[PathBuf], remote: &Remote) -> anyhow::Result<()> {
    let mut files = expanded(paths)?;
    if files.len() > 1 {
        files = checked(&files, remote)?;
    }
    let mut done: Vec<String> = Vec::new();
    for file in &files {
        eprintln!("{}: checking, testing, starting …", file.display());
        let answer = post(file, false, remote).with_context(|| match done.as_slice() {
            [] => format!("{} is not applied", file.display()),
            done => {
                format!("{} is not applied, nor what comes after it; applied are {}", file.display(), done.join(", "))
            }
        })?;
        lines(&answer, "did").for_each(|line| println!("{line}"));
        lines(&answer, "notes").for_each(|line| println!("note: {line}"));
        let (job, version) = (text(&answer, "job"), number(&answer, "version"));
        if let Some(why) = answer.get("trouble").and_then(Value::as_str) {
            anyhow::bail!("{job} version {version} is applied, but is not at work: {why}");
        }
        let (base, beside) =
            (remote.base(), answer.get("current").and_then(Value::as_i64).filter(|current| *current != version));
        let which = beside.map_or(String::new(), |_| format!("?version={version}"));
        println!("read it:  curl '{base}/v1/views/{job}{which}'\nsee it:   {base}/views");
        if let Some(current) = beside {
            println!("compare:  tidemark job diff {job} --versions {current},{version}");
            println!("serve it: tidemark job promote {job} --version {version}");
        }
        done.push(format!("{job} version {version} ({})", text(&answer, "applied")));
    }
    if done.len() > 1 {
        println!("\n{} files: {}", done.len(), done.join(", "));
    }
    Ok(())
}

/// Files as they are, and the job files of folders by name.
fn expanded(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
        let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        let mut there: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_yaml).collect();
        anyhow::ensure!(!there.is_empty(), "there is no job file in {}: no *.yaml or *.yml", path.display());
        there.sort();
        files.extend(there);
    }
    Ok(files)
}

/// Asks the platform about each file; all that is wrong with any of them is told at once. Gives them in the order in which they
/// are to be applied: as they come, but the versions of a job by their numbers.
fn checked(files: &[PathBuf], remote: &Remote) -> anyhow::Result<Vec<PathBuf>> {
    let (mut known, mut wrong): (Vec<(String, i64, &PathBuf)>, _) = (Vec::new(), Vec::new());
    for file in files {
        match post(file, true, remote) {
            Ok(answer) => {
                let (job, version) = (text(&answer, "job").to_owned(), number(&answer, "version"));
                if let Some((.., other)) = known.iter().find(|(name, number, _)| (name, *number) == (&job, version)) {
                    let (other, file) = (other.display(), file.display());
                    wrong.push(format!("{other} and {file} are both version {version} of {job}; apply one of them"));
                }
                known.push((job, version, file));
            }
            // A platform that is not there says the same of every file.
            Err(error) if error.is::<Unreachable>() => return Err(error),
            Err(error) => {
                let (why, file) = (format!("{error:#}"), file.display().to_string());
                wrong.push(if why.contains(&file) { why } else { format!("{file}: {why}") });
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}\nnothing was applied", wrong.join("\n"));
    let first = |job: &str| known.iter().position(|(name, ..)| name == job);
    let mut order: Vec<_> = known.iter().map(|(job, version, file)| (first(job), *version, (*file).clone())).collect();
    order.sort_by_key(|(first, version, _)| (*first, *version));
    Ok(order.into_iter().map(|(.., file)| file).collect())
}

/// Sends a file to be applied, or only checked.
fn post(file: &Path, check: bool, remote: &Remote) -> anyhow::Result<Value> {
    let (name, spec) = (file.display().to_string(), read(file)?);
    let request = json!({"file": name, "spec": spec, "schemas": schemas_beside(file), "check": check});
    remote.send("POST", "/v1/jobs", &request)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or_default()
}

fn list_of<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn lines<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    list_of(value, key).filter_map(Value::as_str)
}

/// Lists the jobs.
///
/// # Errors
/// The platform cannot be reached or refuses.
pub fn list(remote: &Remote) -> anyhow::Result<()> {
    listed(&remote.get("/v1/jobs")?).iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// A line for each version, and for each that is being removed.
pub(super) fn listed(answer: &Value) -> Vec<String> {
    let head = format!("{:<32} {:>7}  {:<8} {:<10} {:>12}  description", "job", "version", "", "state", "dead letters");
    let mut lines = vec![head];
    for job in list_of(answer, "jobs") {
        let name = text(job, "job");
        for version in list_of(job, "versions") {
            let number = number(version, "version");
            let current = if job.get("current").and_then(Value::as_i64) == Some(number) { "current" } else { "" };
            let (state, description) = (text(version, "state"), text(version, "description"));
            let letters =
                version.get("dead_lettered").and_then(Value::as_i64).map_or("?".to_owned(), |n| n.to_string());
            lines.push(format!("{name:<32} {number:>7}  {current:<8} {state:<10} {letters:>12}  {description}"));
            lines.extend(version.get("why").and_then(Value::as_str).map(|why| format!("    {why}")));
        }
        for gone in list_of(job, "retiring") {
            let (number, since) = (number(gone, "version"), text(gone, "retired_at"));
            let what = format!("since {since}: its topics and its view are being removed");
            lines.push(format!("{name:<32} {number:>7}  {:<8} {:<10} {:>12}  {what}", "", "retiring", ""));
        }
    }
    lines
}

/// Promotes, rolls back or retires, as `asked`.
///
/// # Errors
/// The platform cannot be reached or refuses, or readers do not see it yet.
pub fn change(job: &str, what: &str, asked: &Value, remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.send("POST", &format!("/v1/jobs/{}/{what}", escaped(job)), asked)?;
    lines(&answer, "did").for_each(|line| println!("{line}"));
    match answer.get("trouble").and_then(Value::as_str) {
        Some(trouble) => anyhow::bail!("{trouble}"),
        None => Ok(()),
    }
}
