//! Changing the jobs of a running platform.

use crate::jobs::files::read;
use crate::remote::{Remote, escaped};
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

/// Applies files, in their order; stops at the first that is refused.
///
/// # Errors
/// A file cannot be read or is refused.
pub fn apply(files: &[PathBuf], remote: &Remote) -> anyhow::Result<()> {
    for file in files {
        let text = read(file)?;
        let request = json!({"file": file.display().to_string(), "spec": text, "schemas": schemas_beside(file)});
        eprintln!("{}: checking, testing, starting …", file.display());
        let answer = remote.send("POST", "/v1/jobs", &request)?;
        let said = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for line in answer.get("did").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            println!("{line}");
        }
        println!("read it:  curl '{}/v1/views/{}'\nsee it:   {}/views", remote.base(), said("job"), remote.base());
    }
    Ok(())
}

/// Lists the jobs.
///
/// # Errors
/// The platform cannot be reached or refuses.
pub fn list(remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.get("/v1/jobs")?;
    let jobs = answer.get("jobs").and_then(Value::as_array).cloned().unwrap_or_default();
    println!("{:<32} {:>7}  {:<8} {:<10} description", "job", "version", "", "state");
    for job in jobs {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text(&job, "job");
        for version in job.get("versions").and_then(Value::as_array).into_iter().flatten() {
            let number = version.get("version").and_then(Value::as_i64).unwrap_or_default();
            let current = if job.get("current").and_then(Value::as_i64) == Some(number) { "current" } else { "" };
            let (state, description) = (text(version, "state"), text(version, "description"));
            println!("{name:<32} {number:>7}  {current:<8} {state:<10} {description}");
            if let Some(why) = version.get("why").and_then(Value::as_str) {
                println!("    {why}");
            }
        }
    }
    Ok(())
}

/// Promotes, rolls back or retires.
///
/// # Errors
/// The platform cannot be reached or refuses.
pub fn change(job: &str, what: &str, version: Option<i32>, remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.send("POST", &format!("/v1/jobs/{}/{what}", escaped(job)), &json!({ "version": version }))?;
    for line in answer.get("did").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        println!("{line}");
    }
    Ok(())
}
