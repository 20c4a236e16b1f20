//! How much each client has under way.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what each client has under way, up to a limit. Clients that have nothing under way take no memory.
#[derive(Debug)]
pub struct Clients<K> {
    limit: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One more thing under way; given back when dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    clients: Arc<Clients<K>>,
    client: K,
}

impl<K: Eq + Hash + Clone> Clients<K> {
    /// `limit` for each.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// One more for `client`, unless it has as many as it may.
    pub fn enter(self: &Arc<Self>, client: K) -> Option<Place<K>> {
        let mut held = self.held();
        let count = held.entry(client.clone()).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { clients: Arc::clone(self), client })
    }
}

impl<K> Clients<K> {
    /// For each client.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn held(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.clients.held();
        if let Some(count) = held.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_limit_and_leaves_nothing_behind() {
        let clients = Clients::new(2);
        let (first, second) = (clients.enter("a").unwrap(), clients.enter("a").unwrap());
        assert!(clients.enter("a").is_none() && clients.enter("b").is_some());
        drop(first);
        let third = clients.enter("a").unwrap();
        drop((second, third));
        assert!(clients.held().is_empty());
    }
}
