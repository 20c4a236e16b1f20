//! Topics with schemas, without a registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_spec::view::Asked;
use tidemark_spec::{Problems, SpecJob, Topics, View, compile};

pub(crate) struct Schemas(pub(crate) BTreeMap<&'static str, &'static str>);

impl Topics for Schemas {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(topic).map(|avsc| (*avsc).to_owned()))
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
    /// The views of the examples, whose jobs have version 1 and no other.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let text = match asked.view {
            "access.hourly" => HOURLY,
            "access.sessions" => SESSIONS,
            _ => return Ok(None),
        };
        if asked.version.is_some_and(|version| version != 1) {
            return Err(format!("{} has version 1 and no other", asked.view));
        }
        let job = compile("job.yaml", text, self).map_err(|problems| problems.to_string())?;
        Ok(Some(View::of(&job)))
    }
    fn view_names(&self) -> Vec<String> {
        vec!["access.hourly".into(), "access.sessions".into()]
    }
}

pub(crate) const ACCESS: &str = include_str!("../../../../examples/access-log/logs.access.avsc");
pub(crate) const HOURLY: &str = include_str!("../../../../examples/access-log/access.hourly.yaml");
pub(crate) const DAILY: &str = include_str!("../../../../examples/access-log/access.daily.yaml");
pub(crate) const SESSIONS: &str = include_str!("../../../../examples/access-log/access.sessions.yaml");

pub(crate) fn access() -> Schemas {
    Schemas([("logs.access", ACCESS)].into())
}

pub(crate) fn job(text: &str) -> Result<Arc<SpecJob>, Problems> {
    compile("job.yaml", text, &access()).map(Arc::new)
}
