//! Sources that are views: found, and held to what makes each of their rows count once.

use super::sources::Compiled;
use super::{Compiler, Topics};
use crate::cel::check::Checked;
use crate::file::{File, Placed, ViewName};
use crate::instant::duration;
use crate::job::Part;
use crate::job::rows::{Rows, TOLD};
use crate::near;
use crate::problem::Problem;
use crate::source::Source;
use crate::view::{Asked, View};
use tidemark_core::Windowing;

/// What the engine needs of its own rows, and nobody else.
const OWN: &[&str] = &["merge_partition", "opened_at", "epoch", "revision"];

/// The view that the file names.
pub(super) fn find(view: &Placed<ViewName>, file: &File, topics: &dyn Topics) -> Result<Compiled, Problem> {
    let Placed { at, value: ViewName { name, version } } = view;
    if *name == file.job.value {
        let what = format!("`{name}` would read its own view: what it writes would come in again without end");
        return Err(Problem::new(*at, what).fix("read the view of another job"));
    }
    let asked = Asked { by: &file.job.value, by_version: file.version.value, view: name, version: *version };
    let found = match topics.view(&asked) {
        Err(why) => return Err(Problem::new(*at, why)),
        Ok(Some(view)) => view,
        Ok(None) => {
            let names = topics.view_names();
            let problem = Problem::new(*at, format!("there is no view `{name}`"));
            return Err(problem.fix(near::advice(name, names.iter().map(String::as_str))));
        }
    };
    let avsc = found.avsc();
    match Source::new(&avsc) {
        Ok(mut source) => {
            for field in source.fields.iter_mut().filter(|field| OWN.contains(&field.name.as_str())) {
                field.kind = Err("it is the engine's own".to_owned());
            }
            Ok(Compiled { topic: found.topic(), avsc, source, view: Some(found) })
        }
        Err(why) => Err(Problem::new(*at, format!("the rows of `{name}` cannot be used: {why}"))),
    }
}

/// What follows from the views unless the file gives it: grace, as long as the windows of the views take that are in one, and
/// retention.
pub(super) fn settle(file: &mut File, sources: &[Compiled]) -> Result<(), Problem> {
    let window = (file.time.value == "window_start").then_some(file.window);
    let longest =
        |of: &dyn Fn(&View) -> i64| sources.iter().filter_map(|compiled| compiled.view.as_ref()).map(of).max();
    let Some(wait) = longest(&|view| view.wait_ms(window)) else { return Ok(()) };
    if !file.grace_given {
        file.grace.value = wait;
    }
    let (idle_after, max_future) = (longest(&|view| view.idle_after_ms), longest(&|view| view.max_future_ms));
    file.settle_retention(idle_after.unwrap_or(0), max_future.unwrap_or(0))
}

impl Compiler<'_> {
    fn views(&self) -> impl Iterator<Item = &View> {
        self.sources.iter().filter_map(|compiled| compiled.view.as_ref())
    }

    /// A name in an expression that may mean something else in the next revision of a row.
    fn changing(&self, checked: &Checked, lets: &[(String, Checked)]) -> Option<String> {
        checked.names.iter().find_map(|name| {
            if self.fields.contains(name) {
                return (!self.views().all(|view| view.is_fixed(name))).then(|| name.clone());
            }
            match lets.iter().find(|(known, _)| known == name) {
                Some((_, of)) => self.changing(of, lets),
                // Of a table: a later revision may come after a change of its row.
                None => Some(name.clone()),
            }
        })
    }

    fn fixed(&self) -> String {
        let names = self.fields.iter().filter(|name| self.views().all(|view| view.is_fixed(name)));
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// What a job that reads views does with their rows; none of any other.
    pub(super) fn rows(&mut self, lets: &[(String, Checked)], filter: Option<&Checked>, key: &[Part]) -> Option<Rows> {
        let first = self.file.views.first()?;
        if let Windowing::Session { .. } = self.file.window {
            let what = "rows of a view are not put into sessions: a row that is taken back would go on holding a session together";
            self.problems.push(Problem::new(first.at, what).fix("take tumbling or hopping windows"));
        }
        let rule = |what: String, name: &str| {
            format!(
                "{what} `{name}`, which may change from one revision of a row to the next: the row would count twice, as it was \
                 and as it is"
            )
        };
        let fix = format!("take what stays the same, {}", self.fixed());
        if self.fields.contains(&self.file.time.value) && !self.views().all(|view| view.is_fixed(&self.file.time.value))
        {
            let what = rule("`source.time` is".to_owned(), &self.file.time.value);
            self.problems.push(Problem::new(self.file.time.at, what).fix(&fix));
        }
        let checked = |part: &Part| Some((part.name.clone(), self.changing(part.checked.as_ref()?, lets)?));
        let changing: Vec<(String, String)> = key.iter().filter_map(checked).collect();
        for (part, name) in changing {
            let at = self.file.key.iter().find(|named| named.name == part).map_or(first.at, |named| named.at);
            self.problems.push(Problem::new(at, rule(format!("the key `{part}` depends on"), &name)).fix(&fix));
        }
        self.freshness();
        let walk = |compiled: &Compiled| {
            let key = compiled.view.iter().flat_map(|view| view.key.iter().map(String::as_str));
            let wanted = TOLD.iter().copied().chain(key).chain(["window_start"]);
            compiled.source.walk(&wanted.map(str::to_owned).collect::<Vec<_>>(), &[])
        };
        Some(Rows {
            walks: self.distinct().map(walk).collect(),
            filter_changes: filter.is_some_and(|filter| self.changing(filter, lets).is_some()),
            joined: 0,
        })
    }

    fn freshness(&mut self) {
        let Some(freshness) = &self.file.freshness else { return };
        let idle = self.views().map(|view| view.idle_after_ms).max().unwrap_or(0);
        let delay = self.file.grace.value.saturating_add(idle);
        if freshness.value < delay {
            let what = format!(
                "a window cannot be final {} after its end: it waits {} until the windows of the view that are in it are final \
                 (`source.grace`), which may be {} behind when nothing comes",
                duration(freshness.value),
                duration(self.file.grace.value),
                duration(idle)
            );
            self.problems
                .push(Problem::new(freshness.at, what).fix(format!("make `freshness` {} or more", duration(delay))));
        }
    }

    /// The views as they stand in the specification.
    pub(super) fn view_texts(&self) -> impl Iterator<Item = String> {
        self.views().map(|view| format!("rows of {}@{}, each by its latest revision #1", view.name, view.version))
    }
}
