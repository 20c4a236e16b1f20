//! Contents on their way into the store: hashed while they are written, then put under their hash.

use bytes::BytesMut;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use ring::digest;

use super::{Error, Kind, Store, Stored, hex, path};

/// Parts of one upload on their way.
const PARTS_MAX: usize = 2;

/// Contents on their way into the store. Dropped before it is finished, it takes what was written with it.
pub(crate) struct Staged {
    store: Store,
    at: Path,
    hash: digest::Context,
    bytes: u64,
    /// All of it, while it is short.
    head: BytesMut,
    upload: Option<WriteMultipart>,
}

impl Staged {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            at: Path::from(format!("staging/{}", uuid::Uuid::now_v7())),
            hash: digest::Context::new(&digest::SHA256),
            bytes: 0,
            head: BytesMut::new(),
            upload: None,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a piece. Waits while too much of it is on its way to the store.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        if self.upload.is_none() && self.head.len() + piece.len() <= self.store.part {
            self.head.extend_from_slice(piece);
            return Ok(());
        }
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let parts = self.store.objects.put_multipart(&self.at).await?;
                let upload = none.insert(WriteMultipart::new_with_chunk_size(parts, self.store.part));
                upload.write(&std::mem::take(&mut self.head));
                upload
            }
        };
        upload.wait_for_capacity(PARTS_MAX).await?;
        upload.write(piece);
        Ok(())
    }

    /// The hash of what was written, and how to put that under it.
    pub(crate) fn hashed(self) -> Hashed {
        let sha256 = hex(self.hash.clone().finish().as_ref());
        Hashed { staged: self, sha256 }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // What cannot be removed now is removed when it is a day old.
            runtime.spawn(async move { drop(upload.abort().await) });
        }
    }
}

/// Contents whose hash is known.
pub(crate) struct Hashed {
    staged: Staged,
    sha256: String,
}

impl Hashed {
    /// 64 hexadecimal digits.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Puts the contents under their hash; they are durable on return.
    pub(crate) async fn finish(mut self) -> Result<Stored, Error> {
        let (store, to) = (self.staged.store.clone(), path(Kind::Contents, &self.sha256));
        let stored = Stored { sha256: std::mem::take(&mut self.sha256), bytes: self.staged.bytes };
        // What is not whole is put right.
        let there = store.size(Kind::Contents, &stored.sha256).await? == Some(stored.bytes);
        match self.staged.upload.take() {
            // What is there stays; the rest is dropped, and with it the staged part.
            upload if there => self.staged.upload = upload,
            None => {
                store.objects.put(&to, std::mem::take(&mut self.staged.head).freeze().into()).await?;
            }
            Some(upload) => {
                upload.finish().await?;
                store.objects.rename(&self.staged.at, &to).await?;
            }
        }
        Ok(stored)
    }
}
