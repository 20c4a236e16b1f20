//! Job files without a platform: written, tested, tried out.

use crate::config::Config;
use crate::jobs::input::{Arriving, Input};
use crate::remote::{Remote, Unreachable, escaped};
use anyhow::Context;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tidemark_core::Job;
use tidemark_jobs::flows;
use tidemark_schemas::near;
use tidemark_schemas::registry::HttpRegistry;
use tidemark_spec::trial::{Shown, Trial};
use tidemark_spec::view::Asked;
use tidemark_spec::{SpecJob, Topics, View, inline, replay};

/// So many job files may read each other's views, one after the other.
const VIEWS_DEEP_MAX: usize = 8;

/// Where the schemas of topics are found.
#[derive(Debug, Clone, clap::Args)]
pub struct Schemas {
    /// Schema of a topic, as TOPIC=FILE; else TOPIC.avsc beside the job file, one of the platform's own, or the registry's.
    #[arg(long = "schema", value_name = "TOPIC=FILE")]
    given: Vec<String>,
    /// A running platform is asked for schemas that are not here.
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Schemas for the job file in `dir`.
struct Found<'s> {
    schemas: &'s Schemas,
    dir: PathBuf,
    /// A registry that is none of a platform's own.
    registry: Option<String>,
    /// The view of the built-in job.
    flows: View,
    read: RefCell<BTreeMap<String, Option<String>>>,
    /// Views whose files are being read, each by the one before.
    reading: RefCell<usize>,
}

impl<'s> Found<'s> {
    fn new(config: &Config, schemas: &'s Schemas, file: &Path) -> anyhow::Result<Self> {
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let flows = View::of(flows::hourly(&config.flows.job())?.head());
        let registry = config.registry.url.clone();
        Ok(Self { schemas, dir, registry, flows, read: RefCell::default(), reading: RefCell::default() })
    }

    /// Topics whose schemas are known without a platform.
    fn beside(&self) -> Vec<String> {
        let dir = if self.dir.as_os_str().is_empty() { Path::new(".") } else { &self.dir };
        let beside = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let topic = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".avsc").map(str::to_owned);
        beside.filter_map(topic).chain([tidemark_jobs::flows::TOPIC.to_owned()]).collect()
    }

    fn find(&self, topic: &str) -> Result<Option<String>, String> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let named = self.schemas.given.iter().filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == topic);
        if let Some((_, file)) = named {
            return read(Path::new(file)).map(Some);
        }
        let beside = self.dir.join(format!("{topic}.avsc"));
        if beside.exists() {
            return read(&beside).map(Some);
        }
        if topic == tidemark_jobs::flows::TOPIC {
            return Ok(Some(tidemark_schemas::catalog::FLOW_OBSERVED.avsc.to_string()));
        }
        // Nobody there is no error where the name of another topic may be meant.
        let subject = format!("{topic}-value");
        if let Some(registry) = &self.registry {
            return Ok(HttpRegistry::new(registry).latest(&subject).ok().flatten().map(|schema| schema.to_string()));
        }
        let latest = self.schemas.remote.get(&format!("/registry/subjects/{}/versions/latest", escaped(&subject)));
        if let Err(error) = &latest
            && error.is::<Unreachable>()
            && near::near(topic, self.beside().iter().map(String::as_str)).is_none()
        {
            return Err(format!("there is no {topic}.avsc beside the file, and {error}"));
        }
        Ok(latest.ok().and_then(|latest| latest.get("schema")?.as_str().map(str::to_owned)))
    }
}

impl Topics for Found<'_> {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        if let Some(known) = self.read.borrow().get(topic) {
            return Ok(known.clone());
        }
        let found = self.find(topic)?;
        self.read.borrow_mut().insert(topic.to_owned(), found.clone());
        Ok(found)
    }

    fn names(&self) -> Vec<String> {
        let told = self.schemas.remote.get("/v1/topics").unwrap_or_default();
        let topics = told.get("topics").and_then(Value::as_array).into_iter().flatten();
        let names = topics.filter_map(|topic| topic.get("topic")?.as_str().map(str::to_owned));
        self.beside().into_iter().chain(names).collect()
    }

    /// Of the job file beside, `VIEW.yaml`; the built-in one; or that of the running platform.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let beside = self.dir.join(format!("{}.yaml", asked.view));
        let found = if beside.exists() {
            let text = read(&beside).map_err(|error| format!("{error:#}"))?;
            Some((beside.display().to_string(), text))
        } else if asked.view == self.flows.name {
            return version_of(self.flows.clone(), asked).map(Some);
        } else {
            let job = self.schemas.remote.get(&format!("/v1/jobs/{}", escaped(asked.view)));
            // Nobody there is no error here, as with topics.
            job.ok().and_then(|job| text_of(&job, asked.version)).map(|text| (asked.view.to_owned(), text))
        };
        let Some((name, text)) = found else { return Ok(None) };
        let read_by = self.reading.replace_with(|depth| *depth + 1);
        let job = (read_by < VIEWS_DEEP_MAX).then(|| tidemark_spec::compile(&name, &text, self));
        self.reading.replace(read_by);
        let job = job.ok_or_else(|| format!("views read views more than {VIEWS_DEEP_MAX} deep: is there a circle?"))?;
        version_of(View::of(&job.map_err(|problems| problems.to_string())?), asked).map(Some)
    }

    fn view_names(&self) -> Vec<String> {
        let beside = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let view = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned);
        beside.filter_map(view).chain([self.flows.name.clone()]).collect()
    }
}

fn version_of(view: View, asked: &Asked<'_>) -> Result<View, String> {
    match asked.version.is_none_or(|version| version == view.version) {
        true => Ok(view),
        false => Err(format!("{} is version {} here, and no other is known", view.name, view.version)),
    }
}

/// The file of a version, the current one unless it is given, as a platform describes the job.
fn text_of(job: &Value, version: Option<u32>) -> Option<String> {
    let wanted = version.map(i64::from).or_else(|| job.get("current")?.as_i64());
    let versions = job.get("versions")?.as_array()?;
    let found = versions.iter().find(|known| known.get("version").and_then(Value::as_i64) == wanted)?;
    Some(found.get("spec")?.as_str()?.to_owned())
}

/// A file's job.
pub(super) fn compile(config: &Config, file: &Path, schemas: &Schemas) -> anyhow::Result<Arc<SpecJob>> {
    let text = read(file)?;
    let name = file.display().to_string();
    let job = tidemark_spec::compile(&name, &text, &Found::new(config, schemas, file)?)?;
    Ok(Arc::new(job))
}

pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read the job file {}", file.display()))
}

/// Runs the tests of files and prints what came of them.
///
/// # Errors
/// A file is wrong.
pub fn test(config: &Config, files: &[PathBuf], schemas: &Schemas) -> anyhow::Result<ExitCode> {
    let (began, mut passed, mut failed) = (Instant::now(), 0, 0);
    for file in files {
        let job = compile(config, file, schemas)?;
        println!("{} version {}  ({})", job.spec().name, job.spec().version, file.display());
        if job.file().tests.is_empty() {
            println!("FAIL  it has no tests: write one under `tests:`, as `tidemark job new` does");
            failed += 1;
        }
        for outcome in inline::run(&file.display().to_string(), &job)? {
            println!("{outcome}");
            *if outcome.failures.is_empty() { &mut passed } else { &mut failed } += 1;
        }
    }
    println!("{passed} passed, {failed} failed in {:.1} ms", began.elapsed().as_secs_f64() * 1_000.0);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the rows that a job gives for a sample.
///
/// # Errors
/// The file is wrong, or the sample cannot be read, or there is not one record in it that can.
pub fn try_out(config: &Config, file: &Path, input: &Input, csv: bool, schemas: &Schemas) -> anyhow::Result<()> {
    let job = compile(config, file, schemas)?;
    let mut loaded = input.load(&job, &schemas.remote, Arriving::Late)?;
    let mut trial = Trial::new(Arc::clone(&job), loaded.partitions).map_err(anyhow::Error::msg)?;
    replay::fill(&job, &loaded.sample.changes).map_err(anyhow::Error::msg)?;
    for record in std::mem::take(&mut loaded.sample.records) {
        trial.arrive(record);
    }
    trial.commit().map_err(anyhow::Error::msg)?;
    let rows: Vec<Shown> = trial.rows().into_iter().map(|(_, row)| row).collect();
    let mut out = std::io::stdout().lock();
    let printed = if csv { print_csv(&rows, &mut out) } else { print_table(&rows, &mut out) };
    printed.context("standard output")?;
    let (counts, unread) = (trial.counts(), &loaded.unread);
    eprintln!(
        "\n{} records, {} rows; {} late, {} filtered, {} repeated, {} dead-lettered, {} not read",
        counts.records,
        rows.len(),
        counts.late,
        counts.filtered,
        counts.duplicates,
        counts.dead_letters,
        unread.count
    );
    for (partition, offset, why) in trial.dead_letters().take(5) {
        eprintln!("{} would be dead-lettered: {why}", loaded.place(partition, offset));
    }
    unread.told.iter().for_each(|what| eprintln!("{what}"));
    anyhow::ensure!(counts.records > 0, "no record was read: the rows say nothing of the job");
    Ok(())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn columns(rows: &[Shown]) -> Vec<&String> {
    rows.first().map(|row| row.iter().map(|(name, _)| name).collect()).unwrap_or_default()
}

fn print_csv(rows: &[Shown], out: &mut impl Write) -> std::io::Result<()> {
    let quoted = |text: String| {
        let plain = !text.contains([',', '"', '\n', '\r']);
        if plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    let columns = columns(rows);
    writeln!(out, "{}", columns.iter().map(|name| quoted((*name).clone())).collect::<Vec<_>>().join(","))?;
    for row in rows {
        writeln!(out, "{}", columns.iter().map(|name| quoted(cell(row.get(name)))).collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

fn print_table(rows: &[Shown], out: &mut impl Write) -> std::io::Result<()> {
    const WIDEST: usize = 60;
    let columns = columns(rows);
    let cut = |text: String| {
        if text.chars().count() <= WIDEST { text } else { text.chars().take(WIDEST - 1).chain(['…']).collect() }
    };
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|name| cut(cell(row.get(name)))).collect()).collect();
    let width = |at: usize, name: &str| {
        let widths = cells.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
        widths.chain([name.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(at, name)| width(at, name)).collect();
    let mut line = |row: Vec<String>| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(columns.iter().map(|name| (*name).clone()).collect())?;
    cells.into_iter().try_for_each(line)
}

/// Writes a job that counts the records of a topic by hour, with a test that passes.
///
/// # Errors
/// The file is there already, or the topic has no schema.
pub fn new(config: &Config, name: &str, topic: &str, schemas: &Schemas) -> anyhow::Result<()> {
    let path = PathBuf::from(format!("{name}.yaml"));
    anyhow::ensure!(!path.exists(), "{} is there already: take another name, or remove it", path.display());
    let found = Found::new(config, schemas, &path)?;
    let avsc = found.schema(topic).map_err(anyhow::Error::msg)?.with_context(|| {
        format!(
            "the schema of {topic} is not known: give --schema {topic}=FILE.avsc, or start the platform that has it"
        )
    })?;
    let text = tidemark_spec::starter::starter(name, topic, &avsc).map_err(anyhow::Error::msg)?;
    // What is written works: it is compiled and its test run before anybody else does.
    let job = Arc::new(tidemark_spec::compile(&path.display().to_string(), &text, &found)?);
    let failed = inline::run(name, &job)?.into_iter().find(|outcome| !outcome.failures.is_empty());
    anyhow::ensure!(
        failed.is_none(),
        "the file that would be written fails its test: {}",
        failed.map(|o| o.to_string()).unwrap_or_default()
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {0}\n\n  tidemark job test {0}\n  tidemark job apply {0}", path.display());
    Ok(())
}
