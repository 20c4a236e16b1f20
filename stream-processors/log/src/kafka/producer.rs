//! The gateway's side: transactions without a group.

use std::time::Duration;

use super::Cluster;
use super::transaction::Transactions;
use crate::{Error, Produce, Producer};

/// A transaction that takes longer is aborted by the broker.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A transactional producer without a consumer.
pub(super) struct KafkaProducer {
    transactions: Transactions,
    broken: Option<Error>,
}

impl KafkaProducer {
    pub(super) fn open(cluster: &Cluster, id: &str) -> Result<Self, Error> {
        Ok(Self { transactions: Transactions::open(cluster, id, TRANSACTION_TIMEOUT)?, broken: None })
    }
}

impl Producer for KafkaProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        // Without a group nothing else tells an owner that it has been replaced: it must not come back by itself with what it
        // remembers, but read anew what is there.
        if self.transactions.is_doubtful() {
            let error = Error::Retriable("the producer has lost a connection and must be made anew".to_owned());
            self.broken = Some(error.clone());
            return Err(error);
        }
        let result = self.transactions.run(produce, None);
        self.broken = result.as_ref().err().cloned();
        result
    }
}
