//! A schema registry in memory that never fails; every test binary here includes it by its path.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidemark_schemas::registry::{Error, Latest, Registry};

/// Schemas by id − 1, and the ids of each subject.
#[derive(Default)]
pub(crate) struct MemoryRegistry(Mutex<Vec<Arc<str>>>, Mutex<BTreeMap<String, Vec<u32>>>);

impl Registry for MemoryRegistry {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        let mut schemas = self.0.lock().unwrap();
        let at = schemas.iter().position(|known| **known == *schema).unwrap_or(schemas.len());
        if at == schemas.len() {
            schemas.push(schema.into());
        }
        let id = at as u32 + 1;
        let mut subjects = self.1.lock().unwrap();
        let ids = subjects.entry(subject.to_owned()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        Ok(id)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(self.0.lock().unwrap().get((id as usize).wrapping_sub(1)).cloned())
    }

    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, Error> {
        let ids = self.1.lock().unwrap().get(subject).cloned().unwrap_or_default();
        let Some(id) = ids.last().copied() else { return Ok(None) };
        let schema = self.schema(id)?.unwrap();
        Ok(Some(Latest { id, version: ids.len() as u32, schema }))
    }

    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
        let schemas = self.0.lock().unwrap();
        let id = schemas.iter().position(|known| **known == *schema).map(|at| at as u32 + 1);
        let ids = self.1.lock().unwrap().get(subject).cloned().unwrap_or_default();
        Ok(id.filter(|id| ids.contains(id)))
    }

    fn subject_names(&self) -> Result<Vec<String>, Error> {
        Ok(self.1.lock().unwrap().keys().cloned().collect())
    }
}
