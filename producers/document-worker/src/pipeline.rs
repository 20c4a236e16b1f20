//! The pipeline file: which steps a document goes through, as commands with limits.
//!
//! TOML. `pipeline.example.toml` shows every key with its default. Keys that are not known are refused, and every error says file,
//! line, key, rule and fix.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

/// Steps that a pipeline may have.
pub const STEPS_MAX: usize = 16;
/// Retries that a step may have.
pub const RETRIES_MAX: u32 = 3;
const NAME_MAX: usize = 64;
const ARGUMENTS_MAX: usize = 64;
const MIB: u64 = 1 << 20;
const MEMORY_BYTES: RangeInclusive<u64> = 16 * MIB..=1 << 40;
const SECONDS: RangeInclusive<u64> = 1..=86_400;
const OUTPUT_BYTES: RangeInclusive<u64> = 1..=32 * MIB;

/// The steps in order. Each step's output is the input of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// 1 to 64 characters; stands in the results.
    pub name: String,
    /// 1 to [`STEPS_MAX`], each name once.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// 1 to 64 letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Program and arguments. The program `tidemark` is the binary that runs.
    pub command: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// How often it is run again after a failure; 0 to [`RETRIES_MAX`].
    pub retries: u32,
}

/// What one run of a step may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Address space of each process of the step, bytes (`RLIMIT_AS`): also what is reserved and never touched, so a run time that
    /// reserves much needs more than its resident memory.
    ///
    /// The peak that is reported for a run is resident memory as Linux counts it (`ru_maxrss`). Linux starts that count at the
    /// *worker's* own peak when the program is executed, so no step shows less than the worker has used, about 15 MB.
    pub memory_bytes: u64,
    /// CPU time of each process of the step, user and system (`RLIMIT_CPU`).
    pub cpu: Duration,
    /// Time by the clock, of all its processes together.
    pub wall: Duration,
    /// What it may write to its standard output, bytes.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(120),
            output_bytes: 32 * MIB,
        }
    }
}

impl Default for Pipeline {
    /// The built-in steps D1 to D5.
    fn default() -> Self {
        let step = |name: &str| Step {
            name: name.to_owned(),
            command: ["tidemark", "step", name].map(str::to_owned).to_vec(),
            limits: Limits::default(),
            retries: RETRIES_MAX,
        };
        Self { name: "documents".into(), steps: ["D1", "D2", "D3", "D4", "D5"].map(step).to_vec() }
    }
}

/// Why a pipeline file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the pipeline file {file}: {source}")]
    Read {
        /// Its path.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// What it says breaks a rule.
    #[error("{file}:{line}: {key}: {rule}; {fix}")]
    Rule {
        /// Its path.
        file: String,
        /// From 1.
        line: usize,
        /// Which key, or the line when there is none.
        key: String,
        /// What is wrong.
        rule: String,
        /// What to do.
        fix: String,
    },
}

impl Pipeline {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or breaks a rule.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { file: file.clone(), source })?;
        Self::parse(&file, &text)
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// It breaks a rule.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let checker = Checker { file, text };
        let raw: RawPipeline = toml::from_str(text).map_err(|error| checker.syntax(&error))?;
        checker.name("name", &raw.name)?;
        let count = raw.steps.get_ref().len();
        if !(1..=STEPS_MAX).contains(&count) {
            let rule = format!("a pipeline has 1 to {STEPS_MAX} steps, this one {count}");
            return Err(checker.broken("steps", raw.steps.span().start, rule, "give each step a [[steps]] section"));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(count);
        for raw in raw.steps.into_inner() {
            let at = raw.name.span().start;
            let step = checker.step(raw)?;
            if steps.iter().any(|other| other.name == step.name) {
                let rule = format!("{:?} is the name of two steps", step.name);
                return Err(checker.broken("steps.name", at, rule, "give each step a name of its own"));
            }
            steps.push(step);
        }
        Ok(Self { name: raw.name.into_inner(), steps })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPipeline {
    name: Spanned<String>,
    steps: Spanned<Vec<RawStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: Spanned<String>,
    command: Spanned<Vec<String>>,
    memory_bytes: Option<Spanned<u64>>,
    cpu_seconds: Option<Spanned<u64>>,
    wall_seconds: Option<Spanned<u64>>,
    output_bytes: Option<Spanned<u64>>,
    retries: Option<Spanned<u64>>,
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
}

impl Checker<'_> {
    fn step(&self, raw: RawStep) -> Result<Step, Error> {
        self.name("steps.name", &raw.name)?;
        self.command(&raw.command)?;
        let limits = Limits::default();
        let cpu = self.within("steps.cpu_seconds", raw.cpu_seconds, &SECONDS, limits.cpu.as_secs())?;
        let wall = self.within("steps.wall_seconds", raw.wall_seconds, &SECONDS, limits.wall.as_secs())?;
        let retries =
            self.within("steps.retries", raw.retries, &(0..=u64::from(RETRIES_MAX)), u64::from(RETRIES_MAX))?;
        Ok(Step {
            name: raw.name.into_inner(),
            command: raw.command.into_inner(),
            limits: Limits {
                memory_bytes: self.within(
                    "steps.memory_bytes",
                    raw.memory_bytes,
                    &MEMORY_BYTES,
                    limits.memory_bytes,
                )?,
                cpu: Duration::from_secs(cpu),
                wall: Duration::from_secs(wall),
                output_bytes: self.within(
                    "steps.output_bytes",
                    raw.output_bytes,
                    &OUTPUT_BYTES,
                    limits.output_bytes,
                )?,
            },
            retries: u32::try_from(retries).unwrap_or(RETRIES_MAX),
        })
    }

    fn within(
        &self,
        key: &str,
        value: Option<Spanned<u64>>,
        range: &RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Error> {
        let Some(value) = value else { return Ok(default) };
        if range.contains(value.get_ref()) {
            return Ok(value.into_inner());
        }
        let rule = format!("it is from {} to {}, not {}", range.start(), range.end(), value.get_ref());
        let fix = format!("leave it out for {default}, or choose a value of that range");
        Err(self.broken(key, value.span().start, rule, &fix))
    }

    fn name(&self, key: &str, name: &Spanned<String>) -> Result<(), Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let text = name.get_ref();
        if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(());
        }
        let rule = format!("a name has 1 to {NAME_MAX} letters, digits, '_', '-', '.'");
        Err(self.broken(key, name.span().start, rule, "choose such a name"))
    }

    fn command(&self, command: &Spanned<Vec<String>>) -> Result<(), Error> {
        let words = command.get_ref();
        let broken = |rule: String, fix| Err(self.broken("steps.command", command.span().start, rule, fix));
        let sized = (1..=ARGUMENTS_MAX).contains(&words.len());
        let program = words.first().map(String::as_str).unwrap_or_default();
        if !sized || program.is_empty() || words.iter().any(|word| word.contains('\0')) {
            let rule = format!("it is a program and its arguments, 1 to {ARGUMENTS_MAX} texts without a NUL");
            return broken(rule, "write it as [\"program\", \"argument\"]");
        }
        // Each run has a working directory of its own, so a path is never relative to what its author thinks.
        if program.contains('/') && !program.starts_with('/') {
            return broken(
                format!("the program {program:?} is a relative path"),
                "give its absolute path, or a name that is looked up in PATH",
            );
        }
        Ok(())
    }

    fn syntax(&self, error: &toml::de::Error) -> Error {
        let at = error.span().map_or(0, |span| span.start);
        let line = self.text.lines().nth(self.line(at) - 1).unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim();
        let key = if key.is_empty() { "file" } else { key };
        let rule = error.message().lines().collect::<Vec<_>>().join(", ");
        self.broken(key, at, rule, "see pipeline.example.toml for the keys and their form")
    }

    fn broken(&self, key: &str, at: usize, rule: String, fix: &str) -> Error {
        Error::Rule { file: self.file.into(), line: self.line(at), key: key.into(), rule, fix: fix.into() }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests;
