//! Keys of changelog entries: tenant, queue, kind and id, with a zero byte between them. Tenant and queue have none in them.

use tidemark_core::dispatch::EntryKey;

/// Tenant and queue: what the input is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneId {
    pub(super) tenant: String,
    pub(super) queue: String,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// The queue, or what is in it.
    Dispatch(EntryKey),
    /// A document, by file_id.
    Document(String),
    /// An upload, by upload_id.
    Upload(String),
    /// What is counted.
    Count,
}

impl LaneId {
    /// The whole key of an entry.
    pub(super) fn entry(&self, key: &Key) -> Vec<u8> {
        let (kind, id) = match key {
            Key::Dispatch(EntryKey::Queue) => ("q", ""),
            Key::Dispatch(EntryKey::Task(id)) => ("t", id.as_str()),
            Key::Dispatch(EntryKey::Worker(id)) => ("w", id.as_str()),
            Key::Dispatch(EntryKey::Request(id)) => ("r", id.as_str()),
            Key::Document(id) => ("d", id.as_str()),
            Key::Upload(id) => ("u", id.as_str()),
            Key::Count => ("c", ""),
        };
        [self.tenant.as_str(), &self.queue, kind, id].join("\0").into_bytes()
    }

    /// Of a worker on the topic of workers.
    pub(super) fn worker(&self, worker: &str) -> Vec<u8> {
        format!("{}/{}/{worker}", self.tenant, self.queue).into_bytes()
    }
}

/// What [`LaneId::entry`] has put together; `None` if it is nothing of that.
pub(super) fn parse(key: &[u8]) -> Option<(LaneId, Key)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(4, '\0');
    let mut next = || parts.next().map(str::to_owned);
    let (tenant, queue, kind, id) = (next()?, next()?, next()?, next()?);
    let key = match kind.as_str() {
        "q" => Key::Dispatch(EntryKey::Queue),
        "t" => Key::Dispatch(EntryKey::Task(id)),
        "w" => Key::Dispatch(EntryKey::Worker(id)),
        "r" => Key::Dispatch(EntryKey::Request(id)),
        "d" => Key::Document(id),
        "u" => Key::Upload(id),
        "c" => Key::Count,
        _ => return None,
    };
    Some((LaneId { tenant, queue }, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let lane = LaneId { tenant: "t".into(), queue: "q.1".into() };
        let dispatch = [
            EntryKey::Queue,
            EntryKey::Task("1".into()),
            EntryKey::Worker("w/1".into()),
            EntryKey::Request("r".into()),
        ];
        let own = [Key::Document("d".into()), Key::Upload("a\0b".into()), Key::Upload(String::new()), Key::Count];
        for key in dispatch.into_iter().map(Key::Dispatch).chain(own) {
            assert_eq!(parse(&lane.entry(&key)), Some((lane.clone(), key)));
        }
        for wrong in [&b""[..], b"t\0q", b"t\0q\0x\0id", b"\xff\0q\0c\0"] {
            assert_eq!(parse(wrong), None);
        }
    }
}
