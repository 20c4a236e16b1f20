//! The sources: found, and their fields made names.

use super::{Compiler, Topics};
use crate::cel::check::Place;
use crate::file::{File, Placed};
use crate::near;
use crate::problem::Problem;
use crate::source::Source;
use crate::view::View;
use tidemark_schemas::catalog::Schema;

/// A topic's schema, compiled.
pub(crate) struct Compiled {
    pub(crate) topic: String,
    pub(crate) avsc: String,
    pub(crate) source: Source,
    /// Whose rows are on the topic.
    pub(crate) view: Option<View>,
}

impl Compiled {
    /// For messages.
    pub(super) fn name(&self) -> &str {
        self.view.as_ref().map_or(&self.topic, |view| &view.name)
    }
}

pub(super) fn schema_of(compiled: &Compiled) -> Schema {
    Schema { name: compiled.source.name.clone().into(), avsc: compiled.avsc.clone().into() }
}

/// The schema of a topic that the file names.
pub(super) fn find(topic: &Placed<String>, topics: &dyn Topics) -> Result<Compiled, Problem> {
    let Placed { at, value: topic } = topic;
    match topics.schema(topic) {
        Err(why) => Err(Problem::new(*at, format!("the schema of `{topic}` cannot be asked for: {why}"))),
        Ok(None) => {
            let names = topics.names();
            let what = format!("there is no topic `{topic}` with a schema");
            let of_view = topic.strip_prefix("view.").and_then(|rest| rest.rsplit_once(".v"));
            Err(Problem::new(*at, what).fix(match (of_view, near::near(topic, names.iter().map(String::as_str))) {
                (Some((view, version)), _) => format!("the rows of a view are read by `views: {view}@{version}`"),
                (None, Some(meant)) => format!("did you mean `{meant}`?"),
                (None, None) => format!(
                    "put its schema beside this file, as {topic}.avsc, or make it: tidemark topics create {topic} --schema \
                     FILE.avsc"
                ),
            }))
        }
        Ok(Some(avsc)) => match Source::new(&avsc) {
            Ok(source) => Ok(Compiled { topic: topic.clone(), avsc, source, view: None }),
            Err(why) => Err(Problem::new(*at, format!("the schema of `{topic}` cannot be used: {why}"))),
        },
    }
}

/// All that were found, or all that is wrong.
pub(super) fn all(found: impl Iterator<Item = Result<Compiled, Problem>>) -> Result<Vec<Compiled>, Vec<Problem>> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    found.for_each(|found| match found {
        Ok(compiled) => all.push(compiled),
        Err(problem) => problems.push(problem),
    });
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

pub(super) fn sources(file: &File, topics: &dyn Topics) -> Result<Vec<Compiled>, Vec<Problem>> {
    let of_topics = file.topics.iter().map(|topic| find(topic, topics));
    let sources = all(of_topics.chain(file.views.iter().map(|view| super::views::find(view, file, topics))))?;
    let places = file.topics.iter().map(|topic| topic.at).chain(file.views.iter().map(|view| view.at));
    let mut problems = Vec::new();
    for (at, (compiled, place)) in sources.iter().zip(places).enumerate() {
        let before: &[Compiled] = sources.get(..at).unwrap_or_default();
        let twice = |other: &&Compiled| other.view.is_some() && other.name() == compiled.name();
        if before.iter().any(|other| twice(&other)) {
            let what = format!("`{}` is read twice: its rows would count twice", compiled.name());
            problems.push(Problem::new(place, what).fix("name one version of it"));
            continue;
        }
        let same_name = |other: &&Compiled| other.source.name == compiled.source.name && other.avsc != compiled.avsc;
        if let Some(other) = before.iter().find(same_name) {
            let (a, b) = (other.name(), compiled.name());
            let what = format!("`{a}` and `{b}` have different schemas under one name, {}", compiled.source.name);
            let records = Problem::new(place, what);
            problems.push(match compiled.view {
                None => records.fix("give the records different names"),
                Some(_) => records.fix("give one of their jobs another name"),
            });
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

impl<'c> Compiler<'c> {
    /// The fields that every source has, with one type.
    pub(super) fn add_fields(&mut self) {
        let Some((first, others)) = self.sources.split_first() else { return };
        for field in &first.source.fields {
            let (mut kind, mut nullable) = (field.kind.clone(), field.nullable);
            for other in others {
                match other.source.field(&field.name) {
                    None => kind = Err(format!("{} has no such field", other.name())),
                    Some(theirs) => {
                        nullable |= theirs.nullable;
                        if let (Ok(ours), Ok(found)) = (&kind, &theirs.kind)
                            && ours != found
                        {
                            let (ours, found) = (ours.name(), found.name());
                            kind = Err(format!("it is {ours} in {} and {found} in {}", first.name(), other.name()));
                        }
                    }
                }
            }
            self.scope.add(&field.name, kind, nullable, Place::Field(self.fields.len()));
            self.fields.push(field.name.clone());
        }
    }

    /// The schemas that differ: the decoder tells them apart by the record's name.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &'c Compiled> + use<'c> {
        let sources = self.sources;
        sources.iter().enumerate().filter_map(|(at, compiled)| {
            let before = sources.get(..at).unwrap_or_default();
            before.iter().all(|other| other.source.name != compiled.source.name).then_some(compiled)
        })
    }
}
