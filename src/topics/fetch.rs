//! `tidemark topics read`, and what is on a topic for commands that work on its records: asks a running platform.

use crate::remote::{Remote, escaped};
use crate::topics::records::Entry;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use tidemark_schemas::registry::{Error, Registry};
use tidemark_spec::instant;

/// Which records of a topic.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Range {
    /// From a topic: so many records, those that were appended last; up to 1,000,000.
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    last: Option<u32>,
    /// From a topic: records that were appended at or after this time: RFC 3339, or milliseconds.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// From a topic: records that were appended before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
}

fn time(text: &str) -> Result<i64, String> {
    instant::parse(text).ok_or_else(|| "write RFC 3339, as 2026-01-01T00:00:00Z, or milliseconds".to_owned())
}

impl Range {
    /// Everything that is there.
    pub fn all() -> Self {
        Self { from: Some(0), ..Self::default() }
    }

    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.last.is_some() || self.from.is_some() || self.to.is_some()
    }

    fn query(&self, last: u32) -> String {
        let pair = |name: &str, value: Option<i64>| value.map(|value| format!("{name}={value}"));
        let times: Vec<String> = [pair("from", self.from), pair("to", self.to)].into_iter().flatten().collect();
        if times.is_empty() { format!("last={}", self.last.unwrap_or(last)) } else { times.join("&") }
    }
}

/// What was read.
pub struct Fetched {
    /// In the order in which they were appended.
    pub entries: Vec<Entry>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// What was asked for and is left out, and why.
    pub cut: Option<String>,
    /// The schemas that they name.
    pub schemas: Schemas,
}

/// Schemas by id: a registry of what came with the records.
#[derive(Debug, Clone, Default)]
pub struct Schemas(BTreeMap<u32, Arc<str>>);

impl Registry for Schemas {
    fn register(&self, subject: &str, _: &str) -> Result<u32, Error> {
        Err(Error::Unavailable(format!("{subject} cannot be registered here")))
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(self.0.get(&id).map(Arc::clone))
    }
}

/// Reads records of a topic as they are, the last `last` unless the range says otherwise; tells progress when it takes a while.
///
/// # Errors
/// The platform cannot be reached, refuses, or does not come to an end.
pub fn fetch(remote: &Remote, topic: &str, range: &Range, last: u32) -> anyhow::Result<Fetched> {
    let (mut entries, mut schemas, mut wrong) = (Vec::new(), Schemas::default(), None);
    let end = each(remote, topic, &format!("{}&raw=true", range.query(last)), &mut |line| {
        if let Some((id, avsc)) = line.get("schema").and_then(schema) {
            schemas.0.insert(id, avsc);
        } else if let Some(entry) = entry(line) {
            entries.push(entry);
        } else {
            wrong = Some(line.to_string());
        }
    })?;
    if let Some(line) = wrong {
        anyhow::bail!("{} answered with a line that is no record: {line:.200}", remote.base());
    }
    let partitions = end.get("partitions").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
    let cut = end.get("cut").and_then(Value::as_str).map(str::to_owned);
    Ok(Fetched { entries, partitions: partitions.unwrap_or(1), cut, schemas })
}

fn schema(line: &Value) -> Option<(u32, Arc<str>)> {
    Some((u32::try_from(line.get("id")?.as_u64()?).ok()?, line.get("avsc")?.as_str()?.into()))
}

fn entry(line: &Value) -> Option<Entry> {
    let bytes = |key: &str| match line.get(key)? {
        Value::Null => Some(None),
        value => BASE64.decode(value.as_str()?).ok().map(Some),
    };
    Some(Entry {
        partition: u32::try_from(line.get("partition")?.as_u64()?).ok()?,
        offset: line.get("offset")?.as_i64()?,
        appended_at: line.get("appended_at")?.as_i64()?,
        key: bytes("key")?,
        value: bytes("wire")?,
    })
}

/// Hands over each line but those of progress, and gives the end.
fn each(remote: &Remote, topic: &str, query: &str, on_line: &mut dyn FnMut(&Value)) -> anyhow::Result<Value> {
    let (mut end, mut failed, mut told) = (None, None, false);
    let terminal = std::io::stderr().is_terminal();
    remote.get_lines(&format!("/v1/topics/{}/records?{query}", escaped(topic)), &mut |line| {
        if let Some(progress) = line.get("progress") {
            let number = |key: &str| progress.get(key).and_then(Value::as_i64).unwrap_or_default();
            let share = number("offsets_done") * 100 / number("offsets").max(1);
            eprint!(
                "{}reading {topic}: {share} %{}",
                if terminal { "\r\x1b[K" } else { "" },
                if terminal { "" } else { "\n" }
            );
            let _ = std::io::stderr().flush();
            told = true;
        } else if let Some(told) = line.get("end") {
            end = Some(told.clone());
        } else if let Some(why) = line.get("error").and_then(Value::as_str) {
            failed = Some(why.to_owned());
        } else {
            on_line(line);
        }
    })?;
    if told && terminal {
        eprint!("\r\x1b[K");
    }
    match failed {
        Some(why) => anyhow::bail!("{topic} cannot be read: {why}"),
        None => end.with_context(|| format!("the answer about {topic} broke off; ask again")),
    }
}

/// Prints records of a topic, a line of JSON for each.
///
/// # Errors
/// As [`fetch`].
pub fn print(topic: &str, range: &Range, remote: &Remote) -> anyhow::Result<()> {
    const LAST: u32 = 10;
    let mut out = std::io::stdout().lock();
    let mut written = Ok(());
    let end = each(remote, topic, &range.query(LAST), &mut |line| {
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    })?;
    match written {
        // A reader that has seen enough, as `head`, is no error.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.context("standard output")?,
    }
    if let Some(cut) = end.get("cut").and_then(Value::as_str) {
        eprintln!("{cut}");
    }
    Ok(())
}
