//! Templates of mails: texts with names in `{{ … }}` (Jinja).
//!
//! The first line is `Subject: …`, the second is blank, the rest is the body. A value from a mail's data is *data*: wherever it
//! stands, it is one line without control characters; `| quoted` shows a longer one as a marked block, `| size` bytes and
//! `| time` an ISO time for people. A name that the data does not have is an error, never an empty text.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, json};

use crate::{Error, text};

const DEFAULTS: [(&str, &str); 3] = [
    ("duplicate", include_str!("../templates/duplicate.txt")),
    ("error", include_str!("../templates/error.txt")),
    ("progress", include_str!("../templates/progress.txt")),
];
/// A mail's text is not longer, bytes.
const TEXT_MAX: usize = 256 << 10;
/// Files in a folder of templates, at most.
const FILES_MAX: usize = 1_000;

/// A mail's subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// Lines end with a line feed.
    pub body: String,
}

struct Template {
    file: String,
    subject: String,
    body: String,
}

/// All templates, by name.
pub struct Templates {
    base_url: String,
    environment: Environment<'static>,
    by_name: BTreeMap<String, Template>,
}

impl Templates {
    /// The built-in ones, each replaced by the file `<name>.txt` of `dir` if there is one; another file there is one more template.
    /// Each is parsed, and each of the three built-in names is tried with data as the pipeline gives it.
    ///
    /// # Errors
    /// The folder or a file cannot be read; a template is broken: which file and line.
    pub fn load(dir: Option<&Path>, base_url: &str) -> Result<Self, Error> {
        let mut templates =
            Self { base_url: base_url.to_owned(), environment: environment(), by_name: BTreeMap::new() };
        for (name, source) in DEFAULTS {
            templates.add(name, format!("built-in {name}.txt"), source)?;
        }
        for (name, file, source) in dir.map(files).transpose()?.into_iter().flatten() {
            templates.add(&name, file, &source)?;
        }
        for (name, data) in samples() {
            templates.render(name, &data).map_err(|problem| problem.at(&templates.by_name, name))?;
        }
        Ok(templates)
    }

    fn add(&mut self, name: &str, file: String, source: &str) -> Result<(), Error> {
        let wrong = |line, reason: &str| Error::Template { file: file.clone(), line, reason: reason.to_owned() };
        let source = source.replace("\r\n", "\n");
        let (first, rest) = source.split_once('\n').unwrap_or((&source, ""));
        let subject = first.strip_prefix("Subject: ").map(str::trim).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| wrong(1, "the first line is `Subject: ` and the subject"))?;
        let (blank, body) = rest.split_once('\n').unwrap_or((rest, ""));
        if !blank.trim().is_empty() {
            return Err(wrong(2, "a blank line stands between the subject and the text"));
        }
        let template = Template { file: file.clone(), subject: subject.to_owned(), body: body.to_owned() };
        for (part, first_line) in [(&template.subject, 1), (&template.body, 3)] {
            let parsed = self.environment.template_from_str(part).map(drop);
            parsed.map_err(|error| Problem::of(&error, first_line).of_file(&file))?;
        }
        self.by_name.insert(name.to_owned(), template);
        Ok(())
    }

    /// Puts the data in.
    ///
    /// # Errors
    /// There is no such template; it names what the data does not have; the text is too long.
    pub fn render(&self, name: &str, data: &Map<String, serde_json::Value>) -> Result<Rendered, Problem> {
        let template = self
            .by_name
            .get(name)
            .ok_or_else(|| Problem { line: 0, reason: format!("there is no template {:?}", text::one_line(name)) })?;
        let mut data = data.clone();
        data.insert("base_url".to_owned(), json!(self.base_url));
        let data = Value::from_serialize(&data);
        let part = |part: &str, first_line| {
            let rendered = self.environment.render_str(part, &data).map_err(|error| Problem::of(&error, first_line))?;
            if rendered.len() <= TEXT_MAX {
                return Ok(rendered);
            }
            Err(Problem { line: first_line, reason: format!("the text is over {TEXT_MAX} bytes") })
        };
        let subject = text::one_line(part(&template.subject, 1)?.trim());
        Ok(Rendered { subject, body: part(&template.body, 3)? })
    }
}

/// What is wrong with a template, or with what was put into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Problem {
    /// Of its file, from 1; 0 where it is about none.
    pub line: usize,
    /// For people.
    pub reason: String,
}

impl Problem {
    fn of(error: &minijinja::Error, first_line: usize) -> Self {
        let reason =
            error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { line: error.line().unwrap_or(1) + first_line - 1, reason: reason + &cause }
    }

    fn of_file(self, file: &str) -> Error {
        Error::Template { file: file.to_owned(), line: self.line, reason: self.reason }
    }

    fn at(self, templates: &BTreeMap<String, Template>, name: &str) -> Error {
        let file = templates.get(name).map_or(name, |template| &template.file);
        self.of_file(file)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    // Every value that is printed comes by here; only what `quoted` made is of several lines.
    environment.set_formatter(|out, _, value| {
        match value.as_str() {
            Some(text) if value.is_safe() => out.write_str(text),
            Some(text) => out.write_str(&text::one_line(text)),
            None => out.write_str(&text::one_line(&value.to_string())),
        }
        .map_err(minijinja::Error::from)
    });
    environment.add_filter("quoted", |text: String| Value::from_safe_string(text::quoted(&text)));
    environment.add_filter("size", text::size);
    environment.add_filter("time", |iso: String| text::time(&iso));
    environment
}

/// Name, path and contents of each `*.txt` of a folder.
fn files(dir: &Path) -> Result<Vec<(String, String, String)>, Error> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".txt"))
        else {
            continue;
        };
        if found.len() == FILES_MAX {
            return Err(Error::setting("templates", format!("{} holds more than {FILES_MAX} files", dir.display())));
        }
        let source = std::fs::read_to_string(&path).map_err(io(&path))?;
        found.push((name.to_owned(), path.display().to_string(), source));
    }
    found.sort();
    Ok(found)
}

/// Data as the process `documents` gives it, for each built-in template.
fn samples() -> Vec<(&'static str, Map<String, serde_json::Value>)> {
    let common = json!({
        "file_id": "0".repeat(64), "name": "report.pdf", "type": "application/pdf", "bytes": 1, "owner": "Ann", "at": "2026-01-02T03:04:05Z",
    });
    let with = |more: serde_json::Value| {
        let mut data = common.as_object().cloned().unwrap_or_default();
        data.extend(more.as_object().cloned().unwrap_or_default());
        data
    };
    vec![
        (
            "duplicate",
            with(json!({"first_owner": "Bob", "first_uploaded_at": "2026-01-01T00:00:00Z", "state": "DONE"})),
        ),
        ("error", with(json!({"step": "D2", "error": "no text", "attempts": 4}))),
        ("progress", with(json!({"done": 1_000, "queue": "documents"}))),
    ]
}

#[cfg(test)]
mod tests;
