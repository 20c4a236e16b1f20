//! The transactions that are open on a cluster, as its coordinators tell.

use std::io;
use std::time::Duration;

use super::protocol::{Connection, Fields, put_strings};
use crate::{Error, TopicPartition};

const DESCRIBE_CLUSTER: i16 = 60;
const DESCRIBE_TRANSACTIONS: i16 = 65;
const LIST_TRANSACTIONS: i16 = 66;

/// States in which nothing of a transaction is open.
const OVER: [&str; 4] = ["Empty", "CompleteCommit", "CompleteAbort", "Dead"];

/// A transaction that is not over: readers of its partitions wait for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Of its producer.
    pub transactional_id: String,
    /// By Kafka's name: `Ongoing`, `PrepareCommit`, `PrepareAbort`, `PrepareEpochFence`.
    pub state: String,
    /// When it was begun, milliseconds since the epoch on the broker's clock.
    pub started_at: i64,
    /// How long the producer wanted to have for it; the broker then ends it.
    pub timeout: Duration,
    /// Of its producer.
    pub producer_id: i64,
    /// Of its producer.
    pub producer_epoch: i16,
    /// What it has written to, in order.
    pub partitions: Vec<TopicPartition>,
}

impl OpenTransaction {
    /// Whether it is open for longer than its producer wanted: nobody is there to end it, and the broker has not either.
    pub fn is_orphan(&self, now: i64) -> bool {
        let timeout_ms = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        now.saturating_sub(self.started_at) > timeout_ms
    }
}

/// Asks every broker for the open transactions that it coordinates; ordered by id. Kafka 3.0 or later, without TLS and SASL.
///
/// # Errors
/// A broker cannot be reached, does not know the requests, or refuses.
pub fn open_transactions(bootstrap: &str) -> Result<Vec<OpenTransaction>, Error> {
    let mut found = Vec::new();
    for broker in brokers(bootstrap)? {
        found.extend(of_broker(&broker).map_err(|error| unanswered(&broker, &error))?);
    }
    found.sort_by(|a: &OpenTransaction, b| a.transactional_id.cmp(&b.transactional_id));
    Ok(found)
}

fn unanswered(broker: &str, error: &io::Error) -> Error {
    Error::Retriable(format!(
        "kafka at {broker} did not tell its transactions: {error}; check that a broker of Kafka 3.0 or later runs there, and \
         that it listens without TLS and SASL"
    ))
}

/// The brokers of the cluster, from the first of the given ones that answers.
fn brokers(bootstrap: &str) -> Result<Vec<String>, Error> {
    let mut failed = Error::Invalid("no address of a kafka broker is given".to_owned());
    for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        match described(address) {
            Ok(brokers) => return Ok(brokers),
            Err(error) => failed = unanswered(address, &error),
        }
    }
    Err(failed)
}

fn described(address: &str) -> io::Result<Vec<String>> {
    // Not the operations we are allowed to do; no tagged fields.
    let answer = Connection::open(address)?.ask(DESCRIBE_CLUSTER, 0, &[0, 0])?;
    let mut fields = Fields(&answer);
    fields.i32()?; // throttled for so long
    let code = fields.i16()?;
    let message = fields.string()?;
    check(code, &message)?;
    fields.string()?; // the cluster's id
    fields.i32()?; // its controller
    fields.array(|broker| {
        broker.i32()?;
        let (host, port) = (broker.string()?, broker.i32()?);
        broker.string()?; // rack
        broker.tags()?;
        Ok(format!("{host}:{port}"))
    })
}

fn check(code: i16, message: &str) -> io::Result<()> {
    if code == 0 {
        return Ok(());
    }
    let text = super::native::Fault::of_code(i32::from(code)).text;
    Err(io::Error::other(if message.is_empty() { text } else { format!("{text}: {message}") }))
}

fn of_broker(broker: &str) -> io::Result<Vec<OpenTransaction>> {
    let mut connection = Connection::open(broker)?;
    // All states, all producers; no tagged fields.
    let answer = connection.ask(LIST_TRANSACTIONS, 0, &[1, 1, 0])?;
    let ids = listed(&answer)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut body = Vec::new();
    put_strings(ids.iter().map(String::as_str), &mut body);
    body.push(0);
    let answer = connection.ask(DESCRIBE_TRANSACTIONS, 0, &body)?;
    let mut fields = Fields(&answer);
    fields.i32()?;
    let transactions = fields.array(transaction)?;
    Ok(transactions.into_iter().flatten().filter(|found| !OVER.contains(&found.state.as_str())).collect())
}

/// The ids of the transactions that are not over.
fn listed(answer: &[u8]) -> io::Result<Vec<String>> {
    let mut fields = Fields(answer);
    fields.i32()?;
    let code = fields.i16()?;
    check(code, "")?;
    fields.array(Fields::string)?; // states that it does not know
    let rows = fields.array(|row| {
        let id = row.string()?;
        row.i64()?;
        let state = row.string()?;
        row.tags()?;
        Ok((id, state))
    })?;
    Ok(rows.into_iter().filter(|(_, state)| !OVER.contains(&state.as_str())).map(|(id, _)| id).collect())
}

/// One that is described; `None` where the broker says that it has gone since.
fn transaction(fields: &mut Fields<'_>) -> io::Result<Option<OpenTransaction>> {
    let code = fields.i16()?;
    let (transactional_id, state) = (fields.string()?, fields.string()?);
    let (timeout_ms, started_at) = (fields.i32()?, fields.i64()?);
    let (producer_id, producer_epoch) = (fields.i64()?, fields.i16()?);
    let topics = fields.array(|topic| {
        let name = topic.string()?;
        let partitions = topic.array(Fields::i32)?;
        topic.tags()?;
        Ok((name, partitions))
    })?;
    fields.tags()?;
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let of_topic = |(name, partitions): (String, Vec<i32>)| {
        let numbers = partitions.into_iter().filter_map(|partition| u32::try_from(partition).ok());
        numbers.map(move |partition| TopicPartition::new(name.as_str(), partition)).collect::<Vec<_>>()
    };
    let mut partitions: Vec<_> = topics.into_iter().flat_map(of_topic).collect();
    partitions.sort();
    let found =
        OpenTransaction { transactional_id, state, started_at, timeout, producer_id, producer_epoch, partitions };
    Ok((code == 0).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_open_for_longer_than_its_timeout() {
        let open = OpenTransaction {
            transactional_id: "tidemark.x".into(),
            state: "Ongoing".into(),
            started_at: 1_000,
            timeout: Duration::from_secs(5),
            producer_id: 1,
            producer_epoch: 0,
            partitions: vec![],
        };
        assert_eq!([6_000, 6_001].map(|now| open.is_orphan(now)), [false, true]);
        assert!(!open.is_orphan(0), "a clock behind the broker's finds none");
    }
}
