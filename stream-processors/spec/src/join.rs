//! A table that records are joined with, and what a record finds there.
//!
//! Promise: a record is joined with a row of [`Versions`] or with nothing, or [`Table::look_up`] says that the table has not been
//! read as far as the record was appended, and then nothing is decided. Rows hold the fields that the job's expressions name;
//! what is looked up is copied, so that nobody keeps a table from being read on.
//!
//! Limits: [`LIMITS`] for each table of a job, in each process.

use crate::cel::check::Checked;
use crate::cel::eval::Val;
use crate::job::TENANT;
use crate::source::Walk;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tidemark_core::join::{Change, Error, KeyedTable};
use tidemark_core::value::Value;
use tidemark_core::versions::{Found, Limits, Need, Place, Versions};
use tidemark_schemas::catalog::Schema;

/// What a table may hold: about as much as the windows of a busy job.
pub const LIMITS: Limits = Limits { versions: 1_000_000, bytes: 256 << 20 };
/// From so many parts of a hundred of the limits on, versions are dropped that nobody is expected to ask for.
const FORGET_ABOVE: usize = 50;
/// The same once somebody has asked for what was dropped, so that a table is not read again and again.
const FORGET_ABOVE_MISSED: usize = 90;
/// So many versions come before it is tried again: it goes over the whole table.
const FORGET_EVERY: usize = LIMITS.versions / 20;

/// A table of a job: [`KeyedTable`] says how it is filled.
#[derive(Debug)]
pub struct Table {
    pub(crate) topic: String,
    pub(crate) schema: Schema,
    /// Reads key, time and row.
    pub(crate) walk: Walk,
    /// Slot of the key.
    pub(crate) key: usize,
    /// Slot of the tenant, where stream and table have one: a record sees rows of its own tenant alone.
    pub(crate) tenant: Option<usize>,
    /// Slot of the event time.
    pub(crate) time: Option<usize>,
    /// Slots of the row.
    pub(crate) row: Vec<usize>,
    state: RwLock<State>,
    missed: AtomicBool,
}

#[derive(Debug)]
struct State {
    versions: Versions<Box<[Cell]>>,
    /// Everything that was appended before it is here.
    read_before: i64,
    forget_above: usize,
    forget_from: usize,
}

/// A table's value, kept.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Integer(i128),
    Text(Box<str>),
    Time(i64),
}

impl Cell {
    fn new(value: &Value<'_>) -> Self {
        match value {
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Long(n) => Self::Long(*n),
            Value::Double(n) => Self::Double(*n),
            Value::Integer(n) => Self::Integer(*n),
            Value::Text(text) => Self::Text((*text).into()),
            Value::Time(ms) => Self::Time(*ms),
            // The checker lets no expression name bytes of a table.
            Value::Null | Value::Bytes(_) => Self::Null,
        }
    }

    fn val<'a>(&self) -> Val<'a> {
        Val::Plain(match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Long(n) => Value::Long(*n),
            Self::Double(n) => Value::Double(*n),
            Self::Integer(n) => Value::Integer(*n),
            Self::Time(ms) => Value::Time(*ms),
            Self::Text(text) => return Val::Made(Rc::from(&**text)),
        })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// A key as it is held: a table has one type of key, behind the tenant where there is one.
fn key_of(tenant: Option<&[u8]>, value: &Value<'_>) -> Option<SmallVec<[u8; 64]>> {
    let mut key = SmallVec::new();
    if let Some(tenant) = tenant {
        key.extend_from_slice(&(tenant.len() as u64).to_be_bytes());
        key.extend_from_slice(tenant);
    }
    match value {
        Value::Text(text) => key.extend_from_slice(text.as_bytes()),
        Value::Long(n) => key.extend_from_slice(&n.to_be_bytes()),
        _ => return None,
    }
    Some(key)
}

/// The table is not read as far as the record was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind;

impl Table {
    pub(crate) fn new(
        topic: &str,
        schema: Schema,
        walk: Walk,
        key: usize,
        tenant: Option<usize>,
        time: Option<usize>,
        row: Vec<usize>,
    ) -> Self {
        let state = State::new(FORGET_ABOVE);
        let (topic, missed) = (topic.to_owned(), AtomicBool::new(false));
        Self { topic, schema, walk, key, tenant, time, row, state: RwLock::new(state), missed }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether each tenant has rows of its own.
    pub fn has_tenants(&self) -> bool {
        self.tenant.is_some()
    }

    /// The row that a tenant's record of this event and append time sees under a key, appended to `lets`; nulls where there is none.
    pub(crate) fn look_up(
        &self,
        tenant: Option<&[u8]>,
        on: &Value<'_>,
        event_time: i64,
        appended_at: i64,
        lets: &mut SmallVec<[Val<'_>; 4]>,
    ) -> Result<(), Behind> {
        let nothing = std::iter::repeat_n(Val::NULL, self.row.len());
        let Some(key) = key_of(tenant.filter(|_| self.has_tenants()), on) else {
            lets.extend(nothing);
            return Ok(());
        };
        let state = self.state();
        if appended_at >= state.read_before {
            return Err(Behind);
        }
        match state.versions.get(&key, event_time, appended_at) {
            Found::Row(row) => lets.extend(row.iter().map(Cell::val)),
            Found::Nothing => lets.extend(nothing),
            Found::Forgotten => {
                self.missed.store(true, Ordering::Relaxed);
                return Err(Behind);
            }
        }
        Ok(())
    }
}

impl State {
    fn new(forget_above: usize) -> Self {
        Self { versions: Versions::new(LIMITS), read_before: i64::MIN, forget_above, forget_from: 0 }
    }
}

impl KeyedTable for Table {
    fn topic(&self) -> &str {
        &self.topic
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn clear(&self) {
        let mut state = self.state_mut();
        let missed = self.missed.swap(false, Ordering::Relaxed);
        *state = State::new(if missed { FORGET_ABOVE_MISSED } else { state.forget_above });
    }

    fn apply(&self, change: Change<'_>) -> Result<(), Error> {
        let unusable = |why: &str| Err(Error::Unusable(why.to_owned()));
        let Change { appended_at, partition, offset, key: log_key, datum } = change;
        let place = Place { appended_at, partition, offset };
        let Some(datum) = datum else {
            let Some(log_key) = log_key else { return unusable("it has neither key nor value") };
            return Ok(self.state_mut().versions.delete(log_key, place)?);
        };
        let mut fields = SmallVec::new();
        self.walk.read(datum, &mut fields).map_err(|error| Error::Unusable(error.to_string()))?;
        let tenant = self.tenant.map(|slot| match fields.get(slot) {
            Some(Value::Text(tenant)) => tenant.as_bytes(),
            _ => TENANT.as_bytes(),
        });
        let Some(key) = fields.get(self.key).and_then(|value| key_of(tenant, value)) else {
            return unusable("the field that is the table's key is null");
        };
        let event_time = match self.time.and_then(|slot| fields.get(slot)) {
            Some(Value::Time(ms)) => Some(*ms),
            _ => None,
        };
        let row: Box<[Cell]> = self.row.iter().map(|slot| fields.get(*slot).map_or(Cell::Null, Cell::new)).collect();
        let bytes = row.iter().map(Cell::bytes).sum();
        Ok(self.state_mut().versions.put(&key, log_key, event_time, place, row, bytes)?)
    }

    fn is_read(&self, before: i64) {
        let mut state = self.state_mut();
        state.read_before = state.read_before.max(before);
    }

    fn forget(&self, need: Need) {
        let due =
            |state: &State| state.versions.is_above(state.forget_above) && state.versions.len() >= state.forget_from;
        if !due(&self.state()) {
            return;
        }
        let mut state = self.state_mut();
        state.versions.forget(need);
        state.forget_from = state.versions.len() + FORGET_EVERY;
    }

    fn is_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }
}

/// A join of a job.
#[derive(Debug)]
pub struct Join {
    /// Its name.
    pub name: String,
    /// What a record is looked up by.
    pub on: Checked,
    /// Where.
    pub table: std::sync::Arc<Table>,
    /// Name of the field that is the table's key.
    pub key: String,
    /// Name of the field that is the event time of the table's records.
    pub time: Option<String>,
    /// Names of the fields of a row that expressions name, in its order.
    pub fields: Vec<String>,
}

impl Join {
    /// As it stands in the job's specification.
    pub(crate) fn text(name: &str, table: &str, key: &str, on: &str, time: Option<&str>, of_tenant: bool) -> String {
        let key = if of_tenant { format!("tenant and {key}") } else { key.to_owned() };
        let at = time.map_or_else(String::new, |time| format!(" at {time}"));
        format!("join {name} = {table} by {key} on {on}{at}")
    }
}
