//! Changing the jobs of a running platform.

use crate::jobs::files::read;
use crate::remote::{Remote, Unreachable, escaped};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tidemark_spec::{file, yaml};

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
    let files = ordered(expanded(paths)?);
    if files.len() > 1 {
        check(&files, remote)?;
    }
    let mut done: Vec<String> = Vec::new();
    for file in &files {
        eprintln!("{}: checking, testing, starting …", file.display());
        let answer = post(file, None, remote).with_context(|| match done.as_slice() {
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

/// What a file says of its place among others; nothing of one that cannot be read, which is told when it is checked.
struct Place {
    job: String,
    version: u32,
    reads: Vec<String>,
}

fn place(file: &Path) -> Option<Place> {
    let root = yaml::parse(&read(file).ok()?).ok()?;
    let file = file::read(&root).ok()?;
    let reads = file.views.iter().map(|view| view.value.name.clone()).collect();
    Some(Place { job: file.job.value.clone(), version: file.version.value, reads })
}

/// The order in which files are applied: as they come, but the versions of a job by their numbers, and what reads a view after
/// the job that makes it. Files that read each other in a circle are refused when they are checked.
fn ordered(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let places: Vec<Option<Place>> = files.iter().map(|file| place(file)).collect();
    let mut order: Vec<usize> = Vec::new();
    let mut seen = vec![false; files.len()];
    (0..files.len()).for_each(|at| visit(at, &places, &mut seen, &mut order));
    order.into_iter().filter_map(|at| files.get(at).cloned()).collect()
}

/// Puts a file behind those that come before it.
fn visit(at: usize, places: &[Option<Place>], seen: &mut [bool], order: &mut Vec<usize>) {
    if seen.get_mut(at).is_none_or(|seen| std::mem::replace(seen, true)) {
        return;
    }
    if let Some(Some(place)) = places.get(at) {
        let comes_before = |other: &Place| {
            let same = other.job == place.job;
            if same { other.version < place.version } else { place.reads.contains(&other.job) }
        };
        let others = places.iter().enumerate().filter(|(_, other)| other.as_ref().is_some_and(comes_before));
        others.for_each(|(other, _)| visit(other, places, seen, order));
    }
    order.push(at);
}

/// Asks the platform about each file, as it would be after those before it; all that is wrong with any of them is told at once.
fn check(files: &[PathBuf], remote: &Remote) -> anyhow::Result<()> {
    let (mut known, mut wrong): (Vec<(String, i64, &PathBuf)>, _) = (Vec::new(), Vec::new());
    for (at, file) in files.iter().enumerate() {
        match post(file, Some(files.get(..at).unwrap_or_default()), remote) {
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
    Ok(())
}

/// Sends a file to be applied; or only checked, as it would be after others.
fn post(file: &Path, check_after: Option<&[PathBuf]>, remote: &Remote) -> anyhow::Result<Value> {
    let (name, spec) = (file.display().to_string(), read(file)?);
    let mut request = json!({"file": name, "spec": spec, "schemas": schemas_beside(file)});
    if let (Some(before), Some(request)) = (check_after, request.as_object_mut()) {
        let sent = |file: &PathBuf| Some(json!({"spec": read(file).ok()?, "schemas": schemas_beside(file)}));
        request.insert("check".to_owned(), true.into());
        request.insert("before".to_owned(), before.iter().filter_map(sent).collect());
    }
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
