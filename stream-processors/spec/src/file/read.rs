//! From the tree to [`File`]: every key known, every form right; all that is wrong is told at once.

use super::keys::{default, under};
use super::{File, Named, Placed};
use crate::instant::duration_ms;
use crate::near;
use crate::problem::{At, Problem};
use crate::yaml::{Data, Key, Node, Scalar};
use tidemark_core::{LatePolicy, Windowing};

/// Reserved for every view.
const RESERVED: &[&str] = &[
    "tenant",
    "window_start",
    "window_end",
    "merge_partition",
    "opened_at",
    "records",
    "epoch",
    "revision",
    "written_at",
    "session_start",
    "session_end",
];
/// Longest name of a job: with its version it is the name of a table, at most 39 bytes ([`tidemark_views::ViewSpec::name`]).
const NAME_BYTES_MAX: usize = 32;
/// Most names under one key.
const NAMES_MAX: usize = 64;

/// Longest time that a file may name, 20 years: as long as a row can be kept. Sums of such times fit.
const TIME_MS_MAX: i64 = 7_300 * 86_400_000;
/// Versions are numbers of 32 bits on the log and in the catalogue.
const VERSION_MAX: u32 = i32::MAX as u32;

/// Under `hold` a window takes stragglers of partitions that were idle for so long.
const HOLD_FOR_MS: i64 = 3_600_000;

/// Reads a file's tree.
///
/// # Errors
/// All that is wrong.
pub fn read(root: &Node) -> Result<File, Vec<Problem>> {
    let mut reader = Reader { problems: Vec::new() };
    let file = reader.file(root);
    match file {
        Some(file) if reader.problems.is_empty() => Ok(file),
        _ => Err(reader.problems),
    }
}

pub(super) struct Reader {
    problems: Vec<Problem>,
}

/// The keys of a map that is read.
pub(super) struct Keys<'n> {
    pub(super) at: At,
    path: &'static str,
    entries: &'n [(Key, Node)],
}

impl<'n> Keys<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl Reader {
    pub(super) fn fail(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The map at `path`, its keys all known.
    pub(super) fn keys<'n>(&mut self, node: &'n Node, path: &'static str) -> Option<Keys<'n>> {
        let Data::Map(entries) = &node.data else {
            let what = if path.is_empty() { "a job file".to_owned() } else { format!("`{path}`") };
            let fix = format!("write {} under it, each as `key: value`", under(path).join(", "));
            self.fail(Problem::new(node.at, format!("{what} is a map, not {}", node.kind())).fix(fix));
            return None;
        };
        let known = under(path);
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let place = if path.is_empty() { String::new() } else { format!(" under `{path}`") };
            let what = format!("there is no key `{}`{place}", key.name);
            self.fail(Problem::new(key.at, what).fix(near::advice(&key.name, known.iter().copied())));
        }
        Some(Keys { at: node.at, path, entries })
    }

    pub(super) fn missing(&mut self, keys: &Keys<'_>, name: &str, fix: &str) {
        let path = keys.path(name);
        self.fail(Problem::new(keys.at, format!("`{path}` is missing")).fix(fix));
    }

    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<Placed<String>> {
        match node.scalar() {
            Some(scalar) if !scalar.text.trim().is_empty() => {
                Some(Placed { at: node.at, value: scalar.text.trim().to_owned() })
            }
            _ => {
                self.fail(Problem::new(node.at, format!("`{path}` is a text, not {}", node.kind())));
                None
            }
        }
    }

    pub(super) fn required(&mut self, keys: &Keys<'_>, name: &str, fix: &str) -> Option<Placed<String>> {
        match keys.get(name) {
            Some(node) => self.text(node, &keys.path(name)),
            None => {
                self.missing(keys, name, fix);
                None
            }
        }
    }

    fn number(&mut self, keys: &Keys<'_>, name: &str, most: u32) -> Option<Placed<u32>> {
        let path = keys.path(name);
        let Some(node) = keys.get(name) else {
            return Some(Placed { at: keys.at, value: default(&path).parse().unwrap_or(1) });
        };
        let parsed = node.scalar().and_then(|scalar| scalar.text.parse().ok()).filter(|n| (1..=most).contains(n));
        if parsed.is_none() {
            self.fail(Problem::new(node.at, format!("`{path}` is a whole number from 1 to {most}")));
        }
        parsed.map(|value| Placed { at: node.at, value })
    }

    fn duration_of(&mut self, node: &Node, path: &str) -> Option<Placed<i64>> {
        let text = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let parsed = duration_ms(text);
        if parsed.is_none() {
            let found = if text.is_empty() { node.kind().to_owned() } else { format!("`{text}`") };
            let what = format!("`{path}` is a length of time, not {found}");
            self.fail(Problem::new(node.at, what).fix("write for example 30s, 10m, 1h30m or 7d"));
        }
        self.bounded(parsed, node.at, path).map(|value| Placed { at: node.at, value })
    }

    fn bounded(&mut self, parsed: Option<i64>, at: At, path: &str) -> Option<i64> {
        use crate::instant::duration;
        let within = parsed.filter(|ms| *ms <= TIME_MS_MAX);
        if let (Some(ms), None) = (parsed, within) {
            let what = format!("`{path}` is {}; the longest time is {}", duration(ms), duration(TIME_MS_MAX));
            self.fail(Problem::new(at, what));
        }
        within
    }

    /// A duration that is none at all where it is 0.
    pub(super) fn positive(&mut self, keys: &Keys<'_>, name: &str) -> Option<Placed<i64>> {
        let found = self.duration(keys, name)?;
        if found.value == 0 {
            self.fail(Problem::new(found.at, format!("`{}` must be at least 1 ms", keys.path(name))));
        }
        Some(found)
    }

    pub(super) fn duration(&mut self, keys: &Keys<'_>, name: &str) -> Option<Placed<i64>> {
        let path = keys.path(name);
        match keys.get(name) {
            Some(node) => self.duration_of(node, &path),
            None => Some(Placed { at: keys.at, value: duration_ms(default(&path))? }),
        }
    }

    fn file(&mut self, root: &Node) -> Option<File> {
        let top = self.keys(root, "")?;
        let job = self.required(&top, "job", "write `job: NAME`, which is also the name of the view");
        let job = job.and_then(|job| self.job_name(job));
        let version = self.number(&top, "version", VERSION_MAX);
        let description = top.get("description").and_then(|node| self.text(node, "description"));
        let source = match top.get("source") {
            Some(node) => self.keys(node, "source").and_then(|keys| self.source(&keys)),
            None => {
                self.missing(&top, "source", "write `source:` with `topics` and `time` under it, or with `views`");
                None
            }
        };
        let filter = top.get("where").and_then(|node| self.expression(node, "where"));
        let joins = self.joins(top.get("join"));
        let lets = self.expressions(&top, "let");
        let key = self.key(&top);
        let window = self.window(&top);
        let late = self.late(&top);
        let aggregates = self.expressions(&top, "aggregate");
        if top.get("aggregate").is_none() {
            self.missing(&top, "aggregate", "write for example `aggregate: {requests: count()}`");
        }
        let emit = self.expressions(&top, "emit");
        self.distinct_names(&lets, &key, &aggregates, &emit);
        let view = top.get("view").map(|node| self.keys(node, "view"));
        let view = match view {
            Some(keys) => keys?,
            None => Keys { at: top.at, path: "view", entries: &[] },
        };
        let clustering = view.get("clustering").map(|node| self.texts(node, "view.clustering")).unwrap_or_default();
        let retention = self.duration(&view, "retention");
        let partitions = self.number(&top, "partitions", 1_000);
        let freshness = top.get("freshness").map(|node| self.duration_of(node, "freshness"));
        let tests = match top.get("tests") {
            Some(Node { data: Data::List(tests), .. }) => tests.clone(),
            Some(node) => {
                self.fail(Problem::new(node.at, format!("`tests` is a list, not {}", node.kind())));
                Vec::new()
            }
            None => Vec::new(),
        };
        let (late, amend_for) = late?;
        let source = source?;
        let mut file = File {
            job: job?,
            version: version?,
            description: description.map(|text| text.value).unwrap_or_default(),
            topics: source.topics,
            views: source.views,
            time: source.time,
            grace: source.grace,
            grace_given: source.grace_given,
            idle_after_ms: source.idle_after_ms,
            max_future_ms: source.max_future_ms,
            dedupe: source.dedupe,
            filter,
            joins,
            lets,
            key,
            window: window?,
            late,
            amend_for,
            aggregates,
            emit,
            clustering,
            retention: retention?,
            retention_given: view.get("retention").is_some(),
            partitions: partitions?.value,
            freshness: freshness.flatten(),
            tests,
        };
        // Of views it is known once those are found.
        if file.views.is_empty()
            && let Err(problem) = file.settle_retention(file.idle_after_ms, file.max_future_ms)
        {
            self.fail(problem);
        }
        self.relations(&file);
        Some(file)
    }

    fn job_name(&mut self, job: Placed<String>) -> Option<Placed<String>> {
        let name = &job.value;
        let sound = name.len() <= NAME_BYTES_MAX
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !sound {
            let what = format!("`{name}` is no name for a job");
            let fix = format!("begin with a letter; then letters, digits, `.`, `_` and `-`, at most {NAME_BYTES_MAX}");
            self.fail(Problem::new(job.at, what).fix(fix));
        }
        sound.then_some(job)
    }

    /// One text, or a list of them, each once.
    pub(super) fn texts(&mut self, node: &Node, path: &str) -> Vec<Placed<String>> {
        let one = std::slice::from_ref(node);
        let nodes = if let Data::List(items) = &node.data { items.as_slice() } else { one };
        let mut texts: Vec<Placed<String>> = Vec::new();
        for node in nodes {
            let Some(text) = self.text(node, path) else { continue };
            if texts.iter().any(|known| known.value == text.value) {
                self.fail(Problem::new(text.at, format!("`{}` stands twice in `{path}`", text.value)));
            } else {
                texts.push(text);
            }
        }
        if nodes.is_empty() {
            self.fail(Problem::new(node.at, format!("`{path}` is empty")).fix("name one at least"));
        }
        texts
    }

    fn expression(&mut self, node: &Node, path: &str) -> Option<Scalar> {
        let scalar = node.scalar().filter(|scalar| !scalar.text.trim().is_empty());
        if scalar.is_none() {
            self.fail(Problem::new(node.at, format!("`{path}` is an expression, not {}", node.kind())));
        }
        scalar.cloned()
    }

    fn expressions(&mut self, top: &Keys<'_>, path: &str) -> Vec<Named> {
        let Some(node) = top.get(path) else { return Vec::new() };
        let Data::Map(entries) = &node.data else {
            let what = format!("`{path}` is a map of names and expressions, not {}", node.kind());
            self.fail(Problem::new(node.at, what).fix("write `name: expression` under it"));
            return Vec::new();
        };
        entries.iter().filter_map(|(key, node)| self.named(key, node, path)).collect()
    }

    fn named(&mut self, key: &Key, node: &Node, path: &str) -> Option<Named> {
        let name = key.name.clone();
        if !self.name(&name, key.at) {
            return None;
        }
        let expression = self.expression(node, &format!("{path}.{name}"))?;
        Some(Named { at: key.at, name, expression })
    }

    /// Whether a name can be a column's.
    pub(super) fn name(&mut self, name: &str, at: At) -> bool {
        let sound = name.len() <= 48
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let reserved = RESERVED.contains(&name);
        if !sound && name.contains(['(', ')']) {
            // `{a: f(x, 1)}` is two entries, `a: f(x` and `1)`.
            let what = format!("`{name}` is a piece of an expression: between braces or brackets a comma ends it");
            self.fail(Problem::new(at, what).fix("put the expression in quotes, or each on a line of its own"));
        } else if !sound {
            let fix = "begin with a small letter; then small letters, digits and `_`, at most 48";
            self.fail(Problem::new(at, format!("`{name}` is no name for a column")).fix(fix));
        } else if reserved {
            self.fail(Problem::new(at, format!("`{name}` is a column that every view has")).fix("take another name"));
        }
        sound && !reserved
    }

    fn key(&mut self, top: &Keys<'_>) -> Vec<Named> {
        let Some(node) = top.get("key") else { return Vec::new() };
        let one = std::slice::from_ref(node);
        let nodes = match &node.data {
            Data::List(items) => items.as_slice(),
            Data::Scalar(_) | Data::Map(_) => one,
        };
        let mut named = Vec::new();
        for node in nodes {
            match &node.data {
                Data::Scalar(scalar) => {
                    let name = scalar.text.replace('.', "_");
                    if self.name(&name, node.at) {
                        named.push(Named { at: node.at, name, expression: scalar.clone() });
                    }
                }
                Data::Map(entries) => {
                    named.extend(entries.iter().filter_map(|(key, node)| self.named(key, node, "key")))
                }
                Data::List(_) => {
                    self.fail(Problem::new(node.at, "a key is a name, or `name: expression`, not a list"));
                }
            }
        }
        named
    }

    fn distinct_names(&mut self, lets: &[Named], key: &[Named], aggregates: &[Named], emit: &[Named]) {
        let columns = key.iter().chain(aggregates).chain(emit);
        let mut seen: Vec<(&str, At)> = Vec::new();
        for named in columns {
            match seen.iter().find(|(name, _)| *name == named.name) {
                Some((_, first)) => {
                    let what = format!("a column `{}` is there already, in line {}", named.name, first.line);
                    self.fail(Problem::new(named.at, what).fix("give it another name"));
                }
                None => seen.push((&named.name, named.at)),
            }
        }
        for names in [lets, key, aggregates, emit] {
            if let Some(beyond) = names.get(NAMES_MAX) {
                self.fail(Problem::new(beyond.at, format!("more than {NAMES_MAX} names here")));
            }
        }
    }

    fn window(&mut self, top: &Keys<'_>) -> Option<Windowing> {
        const FIX: &str = "write `window: {tumbling: 1h}`, `{hopping: 1h, every: 10m}` or `{session: 30m}`";
        let Some(node) = top.get("window") else {
            self.missing(top, "window", FIX);
            return None;
        };
        let keys = self.keys(node, "window")?;
        let mut length = |name: &str| keys.get(name).map(|node| self.duration_of(node, &format!("window.{name}")));
        let (tumbling, hopping, every, session) =
            (length("tumbling"), length("hopping"), length("every"), length("session"));
        let window = match (tumbling, hopping, every, session) {
            (Some(size), None, None, None) => Windowing::Tumbling { size_ms: size?.value },
            (None, Some(size), Some(every), None) => Windowing::Hopping { size_ms: size?.value, hop_ms: every?.value },
            (None, None, None, Some(gap)) => Windowing::Session { gap_ms: gap?.value },
            _ => {
                self.fail(Problem::new(node.at, "`window` is one of three kinds").fix(FIX));
                return None;
            }
        };
        if !window.is_sound() {
            self.fail(Problem::new(node.at, format!("`window` {}", window.rule())));
            return None;
        }
        Some(window)
    }

    fn late(&mut self, top: &Keys<'_>) -> Option<(LatePolicy, Placed<i64>)> {
        const FIX: &str = "write `late: amend for 7d`, or `late: hold` to keep late records out of the sums";
        let Some(node) = top.get("late") else {
            self.missing(top, "late", FIX);
            return None;
        };
        let text = node.scalar().map(|scalar| scalar.text.trim().to_owned()).unwrap_or_default();
        let amend = text.strip_prefix("amend for ").and_then(duration_ms);
        match (text.as_str(), amend) {
            (_, Some(long)) if long > TIME_MS_MAX => {
                self.bounded(amend, node.at, "late");
                None
            }
            ("hold", _) => Some((LatePolicy::Hold, Placed { at: node.at, value: HOLD_FOR_MS })),
            (_, Some(value)) => Some((LatePolicy::Amend, Placed { at: node.at, value })),
            _ => {
                self.fail(Problem::new(node.at, format!("`late` is `{text}`")).fix(FIX));
                None
            }
        }
    }

    /// What one key asks of another.
    fn relations(&mut self, file: &File) {
        use crate::instant::duration;
        // Of views it is known once those are found.
        let delay = file.grace.value.saturating_add(file.idle_after_ms);
        let freshness = file.freshness.as_ref().filter(|_| file.views.is_empty());
        if let Some(freshness) = freshness.filter(|freshness| freshness.value < delay) {
            let what = format!(
                "a window cannot be final {} after its end: it waits {} for stragglers (`source.grace`) and up to {} for a \
                 partition that falls silent (`source.idle_after`)",
                duration(freshness.value),
                duration(file.grace.value),
                duration(file.idle_after_ms)
            );
            self.fail(Problem::new(freshness.at, what).fix(format!("make `freshness` {} or more", duration(delay))));
        }
        let names = |named: &Named| named.name.clone();
        let keys: Vec<String> = file.key.iter().map(names).collect();
        for column in &file.clustering {
            if !keys.contains(&column.value) {
                let what = format!("`view.clustering` names `{}`, which is not in the key", column.value);
                let fix = near::advice(&column.value, keys.iter().map(String::as_str));
                self.fail(Problem::new(column.at, what).fix(fix));
            }
        }
        if let (Some(first), false) = (file.clustering.first(), file.clustering.is_empty()) {
            for key in keys.iter().filter(|key| file.clustering.iter().all(|column| column.value != **key)) {
                let what = format!("the key `{key}` is not in `view.clustering`: its rows would overwrite each other");
                self.fail(Problem::new(first.at, what).fix(format!("add `{key}`")));
            }
        }
    }
}
