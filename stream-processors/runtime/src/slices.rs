//! Writes to a view store, slice by slice and a moment at a time, so that the thread can poll its member in between.
//!
//! Slices are written in order, each once the one before it is acknowledged; one that fails is written again. A mark comes up
//! when everything before it is acknowledged.

use crate::drive::{Prepared, is_over};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_views::{Error, Row, ViewSpec, ViewStore};
use tokio::runtime::Handle;

/// Rows in one slice: what a store that is slow takes well within the time it gives a write.
const SLICE_ROWS: usize = 1_000;
/// How long a step waits for the slice under way.
const WAIT: Duration = Duration::from_millis(20);
/// A slice that takes longer is given up and written again: the store bounds its own requests, this bounds the store.
const SLICE_LIMIT_MS: i64 = 60_000;

/// One call of the store.
#[derive(Debug)]
pub(crate) enum Slice {
    /// Make the tables.
    Create,
    Rows(Vec<Row>),
    Ledger(Vec<Ledger>),
    Progress(Progress),
}

enum Entry<M> {
    Write(Arc<Slice>),
    Mark(M),
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What is to be written. `M` is what a mark says.
pub(crate) struct Slices<M> {
    store: Arc<dyn ViewStore>,
    view: Arc<ViewSpec>,
    handle: Handle,
    queue: VecDeque<Entry<M>>,
    /// The first slice of the queue, on its way since.
    under_way: Option<(Writing, i64)>,
    reached: Vec<M>,
}

impl<M> Slices<M> {
    /// For a view in a store; `handle` runs the store's futures.
    pub(crate) fn new(store: Arc<dyn ViewStore>, view: ViewSpec, handle: Handle) -> Self {
        let (view, queue, reached) = (Arc::new(view), VecDeque::new(), Vec::new());
        Self { store, view, handle, queue, under_way: None, reached }
    }

    pub(crate) fn push(&mut self, slice: Slice) {
        self.queue.push_back(Entry::Write(Arc::new(slice)));
    }

    /// Adds rows, in as many slices as it takes.
    pub(crate) fn rows(&mut self, rows: impl Iterator<Item = Row>) {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            self.push(Slice::Rows(rows.by_ref().take(SLICE_ROWS).collect()));
        }
    }

    /// Comes up in [`Slices::marks`] when everything before it is acknowledged.
    pub(crate) fn mark(&mut self, mark: M) {
        self.queue.push_back(Entry::Mark(mark));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Gives everything up.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.under_way = None;
        self.reached.clear();
    }

    /// The marks that have been reached since the last call.
    pub(crate) fn marks(&mut self) -> Vec<M> {
        std::mem::take(&mut self.reached)
    }

    /// Goes on with the first slice, for a moment.
    ///
    /// # Errors
    /// The store has failed; the next step writes that slice again.
    pub(crate) fn step(&mut self, now: i64) -> Result<Prepared, Error> {
        if let Some(Entry::Write(slice)) = self.queue.front() {
            let begin = || (begin(&self.store, &self.view, slice), now);
            let (writing, since) = self.under_way.get_or_insert_with(begin);
            match advance(&self.handle, writing) {
                None if is_over(now, *since, SLICE_LIMIT_MS) => {
                    self.under_way = None;
                    let seconds = SLICE_LIMIT_MS / 1_000;
                    return Err(Error::Unavailable(format!("a write got no answer in {seconds} s and is made again")));
                }
                None => return Ok(Prepared::More),
                Some(result) => {
                    self.under_way = None;
                    result?;
                    self.queue.pop_front();
                }
            }
        }
        while let Some(Entry::Mark(mark)) = self.queue.pop_front_if(|entry| matches!(entry, Entry::Mark(_))) {
            self.reached.push(mark);
        }
        Ok(if self.queue.is_empty() { Prepared::Done } else { Prepared::More })
    }
}

fn begin(store: &Arc<dyn ViewStore>, view: &Arc<ViewSpec>, slice: &Arc<Slice>) -> Writing {
    let (store, view, slice) = (Arc::clone(store), Arc::clone(view), Arc::clone(slice));
    Box::pin(async move {
        match slice.as_ref() {
            Slice::Create => store.create(&view).await,
            Slice::Rows(rows) => store.put_rows(&view, rows).await,
            Slice::Ledger(entries) => store.put_ledger(&view, entries).await,
            Slice::Progress(progress) => store.put_progress(&view, progress).await,
        }
    })
}

/// What the write has come to after a moment; a store that answers at once is not waited for.
fn advance(handle: &Handle, writing: &mut Writing) -> Option<Result<(), Error>> {
    handle.block_on(async {
        tokio::select! {
            biased;
            result = writing => Some(result),
            // Made only when it is waited for: a runtime without timers does for a store that answers at once.
            () = async { tokio::time::sleep(WAIT).await } => None,
        }
    })
}
