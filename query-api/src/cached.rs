//! What many ask for and one reads: kept for about a second.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// How old a kept answer may be: a little less than the second at which pages and streams ask again.
const AGE: Duration = Duration::from_millis(900);

/// An answer and when it was made. The lock is held while it is made: one at a time.
pub(crate) struct Cached<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Cached<T> {
    /// The answer kept, if it is young, else a new one.
    pub(crate) async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.get_within(AGE, make).await
    }

    /// As [`Cached::get`], for who wants a younger one.
    pub(crate) async fn get_within<E>(&self, age: Duration, make: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut kept = self.0.lock().await;
        if let Some((at, answer)) = kept.as_ref()
            && at.elapsed() < age
        {
            return Ok(answer.clone());
        }
        let answer = make.await?;
        *kept = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    /// Forgets the answer.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
