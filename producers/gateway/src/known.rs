//! The topics that a gateway knows, kept in the spool's directory for a start without log or registry.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemark_spool::disk::{self, Disk};

use crate::form::Form;

const FILE: &str = "topics.json";

#[derive(Serialize, Deserialize)]
struct Kept {
    topic: String,
    id: u32,
    version: u32,
    schema: String,
}

/// What was kept; what of it cannot be read is left out, and asked for again.
pub(crate) fn load(disk: &dyn Disk) -> Vec<Form> {
    let kept = disk::read(disk, FILE).ok().flatten();
    let kept: Vec<Kept> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    kept.into_iter()
        .filter_map(|kept| Form::compile(&kept.topic, kept.id, kept.version, &kept.schema.into()).ok())
        .collect()
}

/// Keeps all of them, in the place of what was kept before.
pub(crate) fn save(disk: &dyn Disk, forms: &[Arc<Form>]) -> io::Result<()> {
    let kept: Vec<Kept> = forms
        .iter()
        .map(|form| Kept {
            topic: form.topic.to_string(),
            id: form.schema_id,
            version: form.version,
            schema: form.text.to_string(),
        })
        .collect();
    disk::replace(disk, FILE, &serde_json::to_vec(&kept)?)
}
