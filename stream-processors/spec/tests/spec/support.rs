//! Topics with schemas, without a registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_spec::{Problems, SpecJob, Topics, compile};

pub(crate) struct Schemas(pub(crate) BTreeMap<&'static str, &'static str>);

impl Topics for Schemas {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(topic).map(|avsc| (*avsc).to_owned()))
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
}

pub(crate) const ACCESS: &str = include_str!("../../../../examples/access-log/logs.access.avsc");
pub(crate) const HOURLY: &str = include_str!("../../../../examples/access-log/access.hourly.yaml");
pub(crate) const SESSIONS: &str = include_str!("../../../../examples/access-log/access.sessions.yaml");

pub(crate) fn access() -> Schemas {
    Schemas([("logs.access", ACCESS)].into())
}

pub(crate) fn job(text: &str) -> Result<Arc<SpecJob>, Problems> {
    compile("job.yaml", text, &access()).map(Arc::new)
}
