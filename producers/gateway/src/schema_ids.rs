//! The ids of our schemas: registered when the registry can be reached, kept in the spool's directory for when it cannot.

use std::io;

use serde::{Deserialize, Serialize};
use tidemark_schemas::catalog::{ANSWER, FLOW_OBSERVED, SPOOL_POSITION};
use tidemark_schemas::registry::{Error, Registry};
use tidemark_spool::disk::{self, Disk};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{ANSWERS_TOPIC, FLOWS_TOPIC, POSITIONS_TOPIC};

const FILE: &str = "schema-ids.json";

/// Ids of the schemas that the gateway writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaIds {
    pub(crate) flow: u32,
    pub(crate) answer: u32,
    pub(crate) position: u32,
}

/// The ids with the schemas that they stand for: those of another version are of no use.
#[derive(Serialize, Deserialize)]
struct Kept {
    schemas: String,
    #[serde(flatten)]
    ids: SchemaIds,
}

impl SchemaIds {
    pub(crate) fn register(registry: &dyn Registry) -> Result<Self, Error> {
        let register = |topic: &str, avsc| registry.register(&format!("{topic}-value"), avsc);
        Ok(Self {
            flow: register(FLOWS_TOPIC, &FLOW_OBSERVED.avsc)?,
            answer: register(ANSWERS_TOPIC, &ANSWER.avsc)?,
            position: register(POSITIONS_TOPIC, &SPOOL_POSITION.avsc)?,
        })
    }

    /// What was kept, if it is of the same schemas.
    pub(crate) fn load(disk: &dyn Disk) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(&disk::read(disk, FILE).ok()??).ok()?;
        (kept.schemas == fingerprint()).then_some(kept.ids)
    }

    pub(crate) fn save(self, disk: &dyn Disk) -> io::Result<()> {
        let kept = Kept { schemas: fingerprint(), ids: self };
        disk::replace(disk, FILE, serde_json::to_string(&kept)?.as_bytes())
    }
}

fn fingerprint() -> String {
    let mut hash = Xxh3Default::new();
    [FLOW_OBSERVED, ANSWER, SPOOL_POSITION].iter().for_each(|schema| hash.update(schema.avsc.as_bytes()));
    format!("{:032x}", hash.digest128())
}
