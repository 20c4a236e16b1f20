//! One file of an upload: read, hashed, sniffed and stored while it comes in, within its limits.

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::UploadConfig;
use crate::problem::{Kind, Problem};
use crate::sniff::{self, SNIFFED};
use crate::store::{self, Store};

/// What was stored of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) file_id: String,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: u64,
}

/// Stores a file that comes in pieces. Over a limit the rest is not read. `sha256` is what the sender says that it is.
pub(crate) async fn receive(
    store: &Store,
    config: &UploadConfig,
    sha256: Option<&str>,
    pieces: &mut (impl Stream<Item = Result<Bytes, Problem>> + Unpin),
) -> Result<Contents, Problem> {
    let mut staged = store.stage();
    let mut sniffed = Sniffed::default();
    while let Some(piece) = next(pieces, config).await? {
        if staged.bytes() + piece.len() as u64 > config.bytes_max {
            return Err(too_large(config.bytes_max));
        }
        sniffed.take(&piece, &config.types)?;
        staged.write(&piece).await.map_err(store_failed)?;
    }
    let media_type = sniffed.end(&config.types)?;
    let hashed = staged.hashed();
    if let Some(told) = sha256.filter(|told| *told != hashed.sha256()) {
        let detail = format!("the SHA-256 of what came in is {}, not {told}; nothing was stored", hashed.sha256());
        return Err(Problem::new(Kind::DigestMismatch, detail).fix("send the file again"));
    }
    let stored = hashed.finish().await.map_err(store_failed)?;
    tidemark_log::failpoint::hit("contents-stored", "documents");
    Ok(Contents { file_id: stored.sha256, media_type, bytes: stored.bytes })
}

/// The next piece, if it comes in time: a sender that is silent does not keep its place for ever.
async fn next(
    pieces: &mut (impl Stream<Item = Result<Bytes, Problem>> + Unpin),
    config: &UploadConfig,
) -> Result<Option<Bytes>, Problem> {
    let late = |_| {
        let detail = format!("nothing came for {} s", config.silence_max.as_secs());
        Problem::new(Kind::TooSlow, detail).fix("send the file again")
    };
    tokio::time::timeout(config.silence_max, pieces.next()).await.map_err(late)?.transpose()
}

pub(crate) fn too_large(bytes_max: u64) -> Problem {
    Problem::new(Kind::TooLarge, format!("the file is larger than {bytes_max} bytes, which is the limit"))
        .fix("send a smaller file, or have the limit raised (documents.max_bytes)")
}

pub(crate) fn store_failed(error: store::Error) -> Problem {
    tracing::warn!(%error, "the object store failed");
    Problem::new(Kind::StoreAway, error.to_string()).fix("send the request again after Retry-After seconds")
}

/// The first bytes, until the type is known.
#[derive(Default)]
struct Sniffed {
    start: Vec<u8>,
    found: Option<&'static str>,
}

impl Sniffed {
    fn take(&mut self, piece: &[u8], allowed: &[String]) -> Result<(), Problem> {
        if self.found.is_some() {
            return Ok(());
        }
        let wanted = SNIFFED.saturating_sub(self.start.len());
        self.start.extend_from_slice(piece.get(..wanted).unwrap_or(piece));
        if self.start.len() >= SNIFFED {
            self.end(allowed)?;
        }
        Ok(())
    }

    fn end(&mut self, allowed: &[String]) -> Result<&'static str, Problem> {
        if let Some(found) = self.found {
            return Ok(found);
        }
        let found = sniff::media_type(&std::mem::take(&mut self.start));
        if !sniff::is_allowed(found, allowed) {
            let detail = format!("the contents are {found}; taken are {}", allowed.join(", "));
            return Err(Problem::new(Kind::TypeNotAllowed, detail).fix("send another file; its name does not matter"));
        }
        self.found = Some(found);
        Ok(found)
    }
}
