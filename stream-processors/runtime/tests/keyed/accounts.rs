//! A small process with everything that a process may have: accounts that money is moved to, that are closed, and that expire.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidemark_core::process::{Input, Output, Process, Reject};
use tidemark_log::{Cleanup, TopicSpec};
use tidemark_runtime::keyed;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// Outputs: events, and the compacted balances.
pub(crate) const EVENTS: usize = 0;
pub(crate) const BALANCES: usize = 1;
pub(crate) const OUTPUT_PARTITIONS: u32 = 2;

/// The entry of the number of moves; accounts begin with another letter.
const MOVES: &[u8] = b"moves";

macro_rules! schema {
    ($name:literal, $fields:literal) => {
        Schema {
            name: Cow::Borrowed(concat!("bank.", $name)),
            avsc: Cow::Borrowed(concat!(
                "{\"type\":\"record\",\"name\":\"",
                $name,
                "\",\"namespace\":\"bank\",\"fields\":[",
                $fields,
                "]}"
            )),
        }
    };
}

pub(crate) const MOVED: Schema = schema!(
    "Moved",
    r#"{"name":"account","type":"string"},{"name":"amount","type":"long"},{"name":"for_ms","type":"long"}"#
);
pub(crate) const CLOSED: Schema = schema!("Closed", r#"{"name":"account","type":"string"}"#);
pub(crate) const EVENT: Schema = schema!(
    "Event",
    r#"{"name":"what","type":"string"},{"name":"account","type":"string"},{"name":"sum","type":"long"},{"name":"at","type":"long"},{"name":"offset","type":"long"}"#
);
pub(crate) const BALANCE: Schema =
    schema!("Balance", r#"{"name":"sum","type":"long"},{"name":"revision","type":"long"}"#);
pub(crate) const ACCOUNT: Schema =
    schema!("Account", r#"{"name":"sum","type":"long"},{"name":"expires_at","type":["null","long"]}"#);
pub(crate) const MOVES_ENTRY: Schema = schema!("Moves", r#"{"name":"moves","type":"long"}"#);

tidemark_schemas::avro_record! {
    pub struct Moved { pub account: String, pub amount: i64, pub for_ms: i64, }
}
tidemark_schemas::avro_record! {
    pub struct Closed { pub account: String, }
}
tidemark_schemas::avro_record! {
    pub struct Event { pub what: String, pub account: String, pub sum: i64, pub at: i64, pub offset: i64, }
}
tidemark_schemas::avro_record! {
    pub struct Balance { pub sum: i64, pub revision: i64, }
}
tidemark_schemas::avro_record! {
    pub struct Account { pub sum: i64, pub expires_at: Option<i64>, }
}
tidemark_schemas::avro_record! {
    pub struct Moves { pub moves: i64, }
}

fn event(what: &str, account: &str, sum: i64, at: i64, offset: i64) -> Event {
    Event { what: what.to_owned(), account: account.to_owned(), sum, at, offset }
}

/// What the process is declared as, under this name: reads `<name>.commands`, writes `<name>.events` and `<name>.balances`.
pub(crate) fn spec(name: &str, partitions: u32) -> keyed::Spec {
    let topic = |role: &str, partitions, cleanup| TopicSpec {
        name: format!("{name}.{role}"),
        partitions,
        cleanup,
        retention_ms: None,
    };
    let output = |name, cleanup, schema| keyed::Output { topic: topic(name, OUTPUT_PARTITIONS, cleanup), schema };
    keyed::Spec {
        name: name.to_owned(),
        version: 1,
        input: topic("commands", partitions, Cleanup::Delete),
        inputs: vec![MOVED, CLOSED],
        outputs: vec![output("events", Cleanup::Delete, EVENT), output("balances", Cleanup::Compact, BALANCE)],
        entries: vec![ACCOUNT, MOVES_ENTRY],
    }
}

/// Its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) moves: i64,
}

/// The last state of each partition's process, wherever it ran.
pub(crate) type Tap = Arc<Mutex<BTreeMap<u32, State>>>;

/// The process of one partition.
pub(crate) struct Accounts {
    pub(crate) state: State,
    partition: u32,
    tap: Tap,
}

impl Accounts {
    pub(crate) fn new(partition: u32, tap: &Tap) -> Self {
        let accounts = Self { state: State::default(), partition, tap: Arc::clone(tap) };
        accounts.show();
        accounts
    }

    fn show(&self) {
        self.tap.lock().unwrap().insert(self.partition, self.state.clone());
    }

    fn end(&mut self, account: &str, what: &str, now: i64, offset: i64, out: &mut Output) {
        let Some(Account { sum, .. }) = self.state.accounts.remove(account) else { return };
        out.emit(0, account.as_bytes(), &event(what, account, sum, now, offset));
        out.forget(1, account.as_bytes());
        out.change(account.as_bytes().to_vec());
    }

    fn take(&mut self, moved: Moved, input: &Input<'_>, out: &mut Output) -> Result<(), Reject> {
        let Moved { account, amount, for_ms } = moved;
        let Input { now, offset, .. } = *input;
        if amount < 0 {
            // Nothing of this may get out.
            out.emit(0, account.as_bytes(), &event("rejected", &account, amount, now, offset));
            out.change(b"rejected".to_vec());
            return Err(Reject::Rule { field: "amount", rule: "must be 0 or more".to_owned() });
        }
        let known = self.state.accounts.entry(account.clone()).or_insert(Account { sum: 0, expires_at: None });
        known.sum += amount;
        if for_ms > 0 {
            known.expires_at = Some(now + for_ms);
        }
        let sum = known.sum;
        self.state.moves += 1;
        out.emit(0, account.as_bytes(), &event("moved", &account, sum, now, offset));
        out.emit(1, account.as_bytes(), &Balance { sum, revision: offset + 1 });
        out.change(account.into_bytes());
        out.change(MOVES.to_vec());
        Ok(())
    }
}

impl Process for Accounts {
    fn apply(&mut self, input: &Input<'_>, out: &mut Output) -> Result<(), Reject> {
        let mut reader = Reader::new(input.datum);
        match input.schema {
            0 => {
                let moved = Moved::get(&mut reader)?;
                reader.finish()?;
                self.take(moved, input, out)?;
            }
            _ => {
                let Closed { account } = Closed::get(&mut reader)?;
                if !self.state.accounts.contains_key(&account) {
                    return Err(Reject::Rule { field: "account", rule: "must be open".to_owned() });
                }
                self.end(&account, "closed", input.now, input.offset, out);
            }
        }
        self.show();
        Ok(())
    }

    fn tick(&mut self, now: i64, offset: i64, out: &mut Output) {
        let due = self.state.accounts.iter().filter(|(_, account)| account.expires_at.is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(account, _)| account.clone()).collect();
        due.iter().for_each(|account| self.end(account, "expired", now, offset, out));
        self.show();
    }

    fn due(&self) -> Option<i64> {
        self.state.accounts.values().filter_map(|account| account.expires_at).min()
    }

    fn entry(&self, key: &[u8], datum: &mut Vec<u8>) -> Option<usize> {
        if key == MOVES {
            Moves { moves: self.state.moves }.put(datum);
            return Some(1);
        }
        self.state.accounts.get(std::str::from_utf8(key).unwrap())?.put(datum);
        Some(0)
    }

    fn restore(&mut self, key: &[u8], schema: usize, datum: &[u8]) -> Result<(), Reject> {
        let mut reader = Reader::new(datum);
        if schema == 0 {
            let name = String::from_utf8(key.to_vec()).unwrap();
            assert!(self.state.accounts.insert(name, Account::get(&mut reader)?).is_none(), "an entry came twice");
        } else {
            self.state.moves = Moves::get(&mut reader)?.moves;
        }
        self.show();
        Ok(())
    }
}

/// A value of the input as a publisher writes it.
pub(crate) fn value(registry: &dyn Registry, input: &str, schema: &Schema, record: &impl for<'a> Avro<'a>) -> Vec<u8> {
    let id = registry.register(&format!("{input}-{}", schema.name), &schema.avsc).unwrap();
    let mut value = Vec::new();
    wire::put(id, record, &mut value);
    value
}

impl State {
    /// The entries that the changelog should hold, by key: place of the schema and datum.
    pub(crate) fn entries(&self) -> BTreeMap<Vec<u8>, (usize, Vec<u8>)> {
        let datum = |record: &dyn Fn(&mut Vec<u8>)| {
            let mut datum = Vec::new();
            record(&mut datum);
            datum
        };
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|(name, account)| (name.clone().into_bytes(), (0, datum(&|out| account.put(out)))));
        let moves = (MOVES.to_vec(), (1, datum(&|out| Moves { moves: self.moves }.put(out))));
        accounts.chain((self.moves > 0).then_some(moves)).collect()
    }
}
