//! What `job try` and `job replay` feed a job with: a sample from files, or what is on the topics of a running platform.

use crate::remote::Remote;
use crate::topics::fetch::{self, Fetched, Range};
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_schemas::wire::Decoder;
use tidemark_spec::datum::Maker;
use tidemark_spec::replay::{self, Arrival, Changed, Sample};
use tidemark_spec::view::completed;
use tidemark_spec::{SpecJob, near};

/// Records of each source topic unless it is said how many.
const LAST: u32 = 10_000;
/// So many of what could not be read are told.
const TOLD_MAX: usize = 5;

/// Where records come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Input {
    /// Records: a file with one JSON object a line, `-` for standard input, or `topic` for what is on the job's source topics
    /// on a running platform (the last 10,000 records of each unless it is said which); `topic:NAME` for one of several.
    #[arg(long, value_name = "FILE|topic")]
    input: String,
    #[command(flatten)]
    range: Range,
    /// Records of a table that the job joins, one JSON object a line: they are there before the first record of the sample.
    /// Without it a table is empty for a sample from a file, and read from its topic, all of it, for one from topics.
    #[arg(long = "table", value_name = "NAME=FILE")]
    tables: Vec<String>,
}

/// How records of a file arrive.
#[derive(Debug, Clone, Copy)]
pub enum Arriving {
    /// All of them long after they happened, on one partition.
    Late,
    /// As they happen, dealt out to so many partitions.
    Dealt(usize),
}

/// What a job is to be fed with.
pub struct Loaded {
    /// In the order in which it comes.
    pub sample: Sample,
    /// Source partitions, of all topics together.
    pub partitions: usize,
    /// What could not be read.
    pub unread: Unread,
    /// By source partition: where its records stood.
    places: Vec<Place>,
}

/// Records that could not be read.
#[derive(Debug, Default)]
pub struct Unread {
    /// How many.
    pub count: usize,
    /// The first ones, and why.
    pub told: Vec<String>,
}

/// A source partition: what it is called, and line or offset of each record.
#[derive(Debug, Default)]
struct Place {
    name: String,
    numbers: Vec<i64>,
}

impl Unread {
    fn add(&mut self, what: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

impl Loaded {
    /// Where a record stood, for people.
    pub fn place(&self, partition: usize, offset: i64) -> String {
        let place = self.places.get(partition);
        let number = place.and_then(|place| place.numbers.get(usize::try_from(offset).ok()?));
        match (place, number) {
            (Some(place), Some(number)) => format!("{}{number}", place.name),
            _ => format!("record {offset} of partition {partition}"),
        }
    }
}

impl Input {
    /// Reads it all.
    ///
    /// # Errors
    /// A file cannot be read, there is no such topic or table, or the platform does not answer.
    pub fn load(&self, job: &SpecJob, remote: &Remote, arriving: Arriving) -> anyhow::Result<Loaded> {
        let given = self.given_tables(job)?;
        let topics = self.topics(job)?;
        let mut loaded = Loaded { sample: Sample::default(), partitions: 1, unread: Unread::default(), places: vec![] };
        let mut from_topics = BTreeMap::new();
        for (table, join) in job.joins().iter().enumerate() {
            let topic = job.tables().get(table).map(|table| table.topic().to_owned()).unwrap_or_default();
            if let Some(file) = given.get(join.name.as_str()) {
                loaded.sample.changes.extend(table_of_file(job, table, file)?);
            } else if topics.is_none() {
                let (name, input) = (&join.name, &self.input);
                eprintln!("{input} says nothing of the table {name}: its fields are null; give --table {name}=FILE");
            } else {
                if !from_topics.contains_key(&topic) {
                    from_topics.insert(topic.clone(), whole(remote, &topic)?);
                }
                let Some(fetched) = from_topics.get(&topic) else { continue };
                let unread = table_of_topic(job, table, fetched, &mut loaded.sample.changes);
                if unread > 0 {
                    eprintln!("{unread} records of {topic} cannot be read and are passed over, as the platform does");
                }
            }
        }
        match topics {
            None => self.read_file(job, arriving, &mut loaded)?,
            Some(topics) => self.read_topics(job, remote, &topics, &mut loaded)?,
        }
        Ok(loaded)
    }

    /// Whether it is no file.
    pub fn is_topic(&self) -> bool {
        let path = Path::new(&self.input);
        self.input != "-" && (!path.exists() || path.is_dir())
    }

    /// The topics that are meant; none for a file.
    fn topics(&self, job: &SpecJob) -> anyhow::Result<Option<Vec<String>>> {
        let sources = &job.spec().sources;
        let topics = match (self.is_topic(), self.input.strip_prefix("topic")) {
            (false, _) => None,
            (true, Some("")) => Some(sources.clone()),
            (true, Some(name)) if name.starts_with(':') => {
                let name = name.trim_start_matches(':');
                let fix = || near::advice(name, sources.iter().map(String::as_str));
                anyhow::ensure!(sources.iter().any(|topic| topic == name), "{name} is no source of the job; {}", fix());
                Some(vec![name.to_owned()])
            }
            (true, _) => {
                let input = &self.input;
                let is_source = sources.iter().any(|topic| topic == input);
                let fix = if is_source { format!("topic:{input}") } else { "topic".to_owned() };
                anyhow::bail!("there is no file {input}; what is on the job's topics is read with --input {fix}")
            }
        };
        anyhow::ensure!(
            topics.is_some() || !self.range.is_given(),
            "--last, --from and --to choose records of topics; {} is a file, and read whole",
            self.input
        );
        Ok(topics)
    }

    /// The files of `--table`, by name.
    fn given_tables(&self, job: &SpecJob) -> anyhow::Result<BTreeMap<&str, &Path>> {
        let mut given = BTreeMap::new();
        for pair in &self.tables {
            let (name, file) =
                pair.split_once('=').with_context(|| format!("--table {pair}: write --table NAME=FILE"))?;
            let names = || job.joins().iter().map(|join| join.name.as_str()).collect::<Vec<_>>();
            let known = job.joins().iter().any(|join| join.name == name);
            anyhow::ensure!(known, "--table {pair}: the job has no join `{name}`; {}", near::advice(name, names()));
            given.insert(name, Path::new(file));
        }
        Ok(given)
    }

    fn read_file(&self, job: &SpecJob, arriving: Arriving, loaded: &mut Loaded) -> anyhow::Result<()> {
        let avsc = job.sources().first().map(|schema| schema.avsc.to_string()).unwrap_or_default();
        let maker = Maker::new(&avsc, job.fields()).map_err(anyhow::Error::msg)?;
        let (mut data, mut place) = (Vec::new(), Place { name: format!("{}:", self.input), numbers: vec![] });
        for (line, text) in lines(&text_of(&self.input)?) {
            let record = serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
            match record.and_then(|record| datum(job, &maker, &record, line)) {
                Ok(datum) => {
                    data.push(datum);
                    place.numbers.push(line);
                }
                Err(why) => loaded.unread.add(format!("{}:{line}: {why}", self.input)),
            }
        }
        (loaded.partitions, loaded.sample.records) = match arriving {
            Arriving::Late => {
                loaded.places.push(place);
                let late = |datum| Arrival { partition: 0, schema: 0, appended_at: i64::MAX / 4, datum };
                (1, data.into_iter().map(late).collect())
            }
            Arriving::Dealt(partitions) => {
                // Whether a record can be read depends on what it is joined with.
                replay::fill(job, &loaded.sample.changes).map_err(anyhow::Error::msg)?;
                (partitions, replay::arrivals(job, data, partitions))
            }
        };
        Ok(())
    }

    fn read_topics(
        &self,
        job: &SpecJob,
        remote: &Remote,
        topics: &[String],
        loaded: &mut Loaded,
    ) -> anyhow::Result<()> {
        // With the append time that their order goes by: it does not fall within a topic.
        let mut records: Vec<(i64, Arrival)> = Vec::new();
        for topic in topics {
            let Fetched { entries, partitions, cut, schemas } = fetch::fetch(remote, topic, &self.range, LAST)?;
            if let Some(cut) = cut {
                eprintln!("{topic}: {cut}");
            }
            let first = loaded.places.len();
            let place = |partition| Place { name: format!("{topic}-{partition} offset "), numbers: vec![] };
            loaded.places.extend((0..partitions).map(place));
            let mut decoder = Decoder::new(Arc::new(schemas), job.sources());
            let (mut scratch, mut order) = (Vec::new(), i64::MIN);
            for entry in entries {
                let partition = first + entry.partition as usize;
                order = order.max(entry.appended_at);
                match decoder.datum(entry.value.as_deref().unwrap_or_default(), &mut scratch) {
                    Ok((schema, datum)) => {
                        let (appended_at, datum) = (entry.appended_at, datum.to_vec());
                        records.push((order, Arrival { partition, schema, appended_at, datum }));
                        loaded.places.get_mut(partition).into_iter().for_each(|at| at.numbers.push(entry.offset));
                    }
                    Err(why) => {
                        loaded.unread.add(format!("{topic}-{} offset {}: {why}", entry.partition, entry.offset));
                    }
                }
            }
        }
        records.sort_by_key(|(order, _)| *order);
        loaded.sample.records = records.into_iter().map(|(_, record)| record).collect();
        loaded.partitions = loaded.places.len().max(1);
        Ok(())
    }
}

/// A line of a sample; of the rows of a view a later line is a later revision.
fn datum(job: &SpecJob, maker: &Maker, record: &Value, line: i64) -> Result<Vec<u8>, String> {
    match job.reads_views() {
        true => maker.datum(&completed(record, line)),
        false => maker.datum(record),
    }
}

/// A table's topic, all of it.
fn whole(remote: &Remote, topic: &str) -> anyhow::Result<Fetched> {
    let fetched = fetch::fetch(remote, topic, &Range::all(), LAST)?;
    anyhow::ensure!(
        fetched.cut.is_none(),
        "the table {topic} has more records than can be read here: give --table NAME=FILE with those that matter"
    );
    Ok(fetched)
}

/// Adds the records of a table's topic; gives the number of those that cannot be read.
fn table_of_topic(job: &SpecJob, table: usize, fetched: &Fetched, changes: &mut Vec<Changed>) -> usize {
    let schema = job.tables().get(table).map(|table| table.schema().clone());
    let mut decoder = Decoder::new(Arc::new(fetched.schemas.clone()), schema.into_iter().collect::<Vec<_>>());
    let (mut scratch, mut unread) = (Vec::new(), 0);
    for entry in &fetched.entries {
        let datum =
            entry.value.as_deref().map(|value| decoder.datum(value, &mut scratch).map(|(_, datum)| datum.to_vec()));
        match datum.transpose() {
            Ok(datum) => changes.push(Changed {
                table,
                appended_at: entry.appended_at,
                partition: entry.partition,
                offset: entry.offset,
                key: entry.key.clone(),
                datum,
            }),
            Err(_) => unread += 1,
        }
    }
    unread
}

/// The records of a table's file: of one time, before all others.
fn table_of_file(job: &SpecJob, table: usize, file: &Path) -> anyhow::Result<Vec<Changed>> {
    let Some(join) = job.joins().get(table) else { return Ok(vec![]) };
    let needed: Vec<String> = join.fields.iter().chain([&join.key]).chain(&join.time).cloned().collect();
    let avsc = job.tables().get(table).map(|table| table.schema().avsc.to_string()).unwrap_or_default();
    let maker = Maker::new(&avsc, &needed).map_err(anyhow::Error::msg)?;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the table {}", file.display()))?;
    let change = |(line, text): (i64, &str)| {
        let record = serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let datum = record.and_then(|record| maker.datum(&record));
        let datum = datum.map_err(|why| anyhow::anyhow!("{}:{line}: {why}", file.display()))?;
        Ok(Changed { table, appended_at: 0, partition: 0, offset: line, key: None, datum: Some(datum) })
    };
    lines(&text).map(change).collect()
}

/// Lines that hold something, from 1.
fn lines(text: &str) -> impl Iterator<Item = (i64, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

fn text_of(input: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    if input == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(input).with_context(|| format!("cannot read the sample {input}"))?;
    }
    Ok(text)
}
