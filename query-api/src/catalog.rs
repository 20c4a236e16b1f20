//! Which views there are, and which version of one a question is about.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use tidemark_schemas::near;
use tidemark_views::{CatalogEntry, Error, ViewStore, ViewVersion};

use crate::Api;
use crate::cached::Cached;
use crate::problem::Problem;
use crate::served::Served;

/// How old the catalogue may be when what is asked for is not in it: whoever asks for what is not there asks the store ten times
/// a second at most.
const MISS: Duration = Duration::from_millis(100);
/// Names listed to somebody who has misspelt one.
const NAMES_MAX: usize = 20;

/// The name of a view as the path has it.
pub(crate) type Name = Result<Path<String>, PathRejection>;

/// The views, read from the store about once a second.
pub(crate) struct Catalog {
    views: Arc<dyn ViewStore>,
    known: Cached<Arc<[CatalogEntry]>>,
}

/// A version of a view that a question is about.
pub(crate) struct Found {
    pub(crate) view: String,
    pub(crate) version: Arc<ViewVersion>,
    pub(crate) served: Served,
}

impl Catalog {
    pub(crate) fn new(views: Arc<dyn ViewStore>) -> Self {
        Self { views, known: Cached::default() }
    }

    /// All views by name.
    pub(crate) async fn entries(&self) -> Result<Arc<[CatalogEntry]>, Error> {
        self.known.get(async { Ok(self.views.catalog().await?.into()) }).await
    }

    async fn entry(&self, name: Name, version: Option<u32>) -> Result<CatalogEntry, Problem> {
        let name = name.map_or_else(|_| String::new(), |Path(name)| name);
        let is_it = |entry: &&CatalogEntry| entry.view == name && version.is_none_or(|v| entry.version(v).is_some());
        if let Some(entry) = self.entries().await?.iter().find(is_it) {
            return Ok(entry.clone());
        }
        // Perhaps it was applied a moment ago.
        let entries = self.known.get_within(MISS, async { Ok::<_, Error>(self.views.catalog().await?.into()) }).await?;
        let found = entries.iter().find(|entry| entry.view == name);
        found.cloned().ok_or_else(|| no_view(&name, &entries))
    }

    /// Whether a version that was there a moment ago has gone.
    pub(crate) async fn gone(&self, found: &Found) -> Result<bool, Error> {
        self.known.forget().await;
        let entries = self.entries().await?;
        let entry = entries.iter().find(|entry| entry.view == found.view);
        Ok(entry.is_none_or(|entry| entry.version(found.version.version).is_none()))
    }
}

impl Api {
    /// The view of that name: the version asked for, else the current one.
    pub(crate) async fn find(&self, name: Name, version: Option<u32>) -> Result<Found, Problem> {
        let entry = self.catalog.entry(name, version).await?;
        let number = version.or(entry.current).ok_or_else(|| no_current(&entry))?;
        let version = entry.version(number).ok_or_else(|| no_version(&entry, number))?;
        Ok(Found { served: self.served(version), version: Arc::new(version.clone()), view: entry.view })
    }

    /// The version that the first page was of, which a cursor names.
    pub(crate) async fn find_again(&self, name: Name, version: u32) -> Result<Found, Problem> {
        let view = name.as_ref().map_or_else(|_| String::new(), |Path(name)| name.clone());
        // A view that is not there any more has no versions either: there was one when the cursor was given.
        let gone = |problem: Problem| if problem.is_no_view() { Problem::gone(&view, version) } else { problem };
        let entry = self.catalog.entry(name, Some(version)).await.map_err(gone)?;
        let found = entry.version(version).ok_or_else(|| Problem::gone(&entry.view, version))?;
        Ok(Found { served: self.served(found), version: Arc::new(found.clone()), view: entry.view })
    }
}

fn no_view(name: &str, entries: &[CatalogEntry]) -> Problem {
    let names: Vec<&str> = entries.iter().map(|entry| entry.view.as_str()).collect();
    let more = if names.len() > NAMES_MAX { ", …; see /v1/views" } else { "" };
    let fix = match near::near(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none yet: apply a job, and its view is here at once".to_owned(),
        None => format!("there are {}{more}", names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ")),
    };
    Problem::no_view(format!("there is no view `{name}`"), fix)
}

fn versions(entry: &CatalogEntry) -> String {
    entry.versions.iter().map(|v| v.version.to_string()).collect::<Vec<_>>().join(", ")
}

fn no_current(entry: &CatalogEntry) -> Problem {
    let fix = format!("promote a version, or ask for one with `version=`: {}", versions(entry));
    Problem::no_view(format!("no version of `{}` is current yet", entry.view), fix)
}

fn no_version(entry: &CatalogEntry, number: u32) -> Problem {
    let current = entry.current.map_or(String::new(), |v| format!("; {v} is current"));
    let fix = format!("leave `version` out, or give one of {}{current}", versions(entry));
    Problem::no_view(format!("there is no version {number} of `{}`", entry.view), fix)
}
