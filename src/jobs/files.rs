//! Job files without a platform: written, tested, tried out.

use crate::config::Config;
use crate::remote::{Remote, escaped};
use anyhow::Context;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tidemark_core::Job;
use tidemark_jobs::flows;
use tidemark_schemas::registry::HttpRegistry;
use tidemark_spec::datum::Maker;
use tidemark_spec::trial::{Shown, Trial};
use tidemark_spec::view::{Asked, completed};
use tidemark_spec::{SpecJob, Topics, View, inline};

/// So many job files may read each other's views, one after the other.
const VIEWS_DEEP_MAX: usize = 8;

/// Where the schemas of topics are found.
#[derive(Debug, Clone, clap::Args)]
pub struct Schemas {
    /// Schema of a topic, as TOPIC=FILE; else TOPIC.avsc beside the job file, one of the platform's own, or the registry's.
    #[arg(long = "schema", value_name = "TOPIC=FILE")]
    given: Vec<String>,
    /// A running platform that is asked for schemas that are not here.
    #[arg(
        long,
        env = "TIDEMARK_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
}

/// Schemas for the job file in `dir`.
struct Found<'s> {
    schemas: &'s Schemas,
    dir: PathBuf,
    registry: String,
    /// The view of the built-in job.
    flows: View,
    read: RefCell<BTreeMap<String, Option<String>>>,
    /// Views whose files are being read, each by the one before.
    reading: RefCell<usize>,
}

impl<'s> Found<'s> {
    fn new(config: &Config, schemas: &'s Schemas, file: &Path) -> anyhow::Result<Self> {
        let registry =
            config.registry.url.clone().unwrap_or_else(|| format!("{}/registry", schemas.url.trim_end_matches('/')));
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let flows = View::of(flows::hourly(&config.flows.job())?.head());
        Ok(Self { schemas, dir, registry, flows, read: RefCell::default(), reading: RefCell::default() })
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
        // Nobody there is no error here: the message about the topic says how else to give the schema.
        let latest = HttpRegistry::new(&self.registry).latest(&format!("{topic}-value"));
        Ok(latest.ok().flatten().map(|schema| schema.to_string()))
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
        let beside = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let topic = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".avsc").map(str::to_owned);
        beside.filter_map(topic).chain([tidemark_jobs::flows::TOPIC.to_owned()]).collect()
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
            let job = Remote::to(&self.schemas.url).get(&format!("/v1/jobs/{}", escaped(asked.view)));
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
/// The file is wrong, or no record of the sample can be read.
pub fn try_out(config: &Config, file: &Path, input: &Path, csv: bool, schemas: &Schemas) -> anyhow::Result<()> {
    let job = compile(config, file, schemas)?;
    let mut sample = String::new();
    if input == Path::new("-") {
        std::io::stdin().read_to_string(&mut sample).context("standard input")?;
    } else {
        sample =
            std::fs::read_to_string(input).with_context(|| format!("cannot read the sample {}", input.display()))?;
    }
    let avsc = job.sources().first().map(|schema| schema.avsc.to_string()).unwrap_or_default();
    let maker = Maker::new(&avsc, job.fields()).map_err(anyhow::Error::msg)?;
    let mut trial = Trial::new(Arc::clone(&job), 1).map_err(anyhow::Error::msg)?;
    let mut unread = 0;
    for (number, line) in sample.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: Result<Value, String> = serde_json::from_str(line).map_err(|error| error.to_string());
        match record.and_then(|record| datum(&job, &maker, &record, number)) {
            Ok(datum) => {
                // A sample is history: it all arrives after it happened.
                trial.set_clock(i64::MAX / 4);
                trial.add(0, datum);
            }
            Err(why) => {
                unread += 1;
                if unread <= 5 {
                    eprintln!("{}:{}: {why}", input.display(), number + 1);
                }
            }
        }
    }
    trial.commit().map_err(anyhow::Error::msg)?;
    let rows: Vec<Shown> = trial.rows().into_iter().map(|(_, row)| row).collect();
    let mut out = std::io::stdout().lock();
    unless_closed(if csv { print_csv(&rows, &mut out) } else { print_table(&rows, &mut out) })?;
    let counts = trial.counts();
    eprintln!(
        "\n{} records, {} rows; {} late, {} filtered, {} repeated, {} dead-lettered, {unread} lines not read",
        counts.records,
        rows.len(),
        counts.late,
        counts.filtered,
        counts.duplicates,
        counts.dead_letters
    );
    for (_, offset, why) in trial.dead_letters().take(5) {
        eprintln!("record {offset} would be dead-lettered: {why}");
    }
    Ok(())
}

/// A line of a sample; of the rows of a view a later line is a later revision.
pub(super) fn datum(job: &SpecJob, maker: &Maker, record: &Value, line: usize) -> Result<Vec<u8>, String> {
    match job.reads_views() {
        true => maker.datum(&completed(record, i64::try_from(line).unwrap_or(i64::MAX))),
        false => maker.datum(record),
    }
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

/// A reader that has seen enough, as `head`, is no error.
fn unless_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
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
