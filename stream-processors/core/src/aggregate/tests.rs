//! What holds for every aggregate, against naive references.

mod distinct;
mod extremes;
mod forged;
mod latest;
mod laws;
mod numbers;
mod quantile;
mod top;

use super::{Answer, Function, State};
use crate::value::{Place, Value};
use tidemark_schemas::avro::Reader;

/// A value that owns what it holds.
#[derive(Debug, Clone)]
pub(super) enum Owned {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Integer(i128),
    Text(String),
    Bytes(Vec<u8>),
    Time(i64),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Text(value) => Value::Text(value),
            Self::Bytes(value) => Value::Bytes(value),
            Self::Time(value) => Value::Time(*value),
        }
    }
}

/// SplitMix64: the same numbers from the same seed.
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// In (0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).for_each(|at| items.swap(at, self.below(at + 1)));
    }
}

pub(super) fn bytes(state: &State) -> Vec<u8> {
    let mut out = vec![];
    state.put(&mut out);
    out
}

pub(super) fn again(state: &State) -> State {
    let out = bytes(state);
    let mut reader = Reader::new(&out);
    let read = State::get(&mut reader).unwrap();
    reader.finish().unwrap();
    read
}

/// One after the other.
pub(super) fn fold<'a>(function: &Function, items: impl IntoIterator<Item = &'a (Owned, Place)>) -> State {
    let mut state = State::Empty;
    items.into_iter().for_each(|(value, place)| state.add(function, value.value(), *place));
    state
}

/// In random order, with random splits, nesting and trips through bytes.
pub(super) fn fold_at_random(function: &Function, items: &[(Owned, Place)], random: &mut Random) -> State {
    let mut items = items.to_vec();
    random.shuffle(&mut items);
    nest(function, &items, random)
}

fn nest(function: &Function, items: &[(Owned, Place)], random: &mut Random) -> State {
    if items.len() <= 1 || random.below(5) == 0 {
        return fold(function, items);
    }
    let (left, right) = items.split_at(random.below(items.len() + 1));
    let (mut left, mut right) = (nest(function, left, random), nest(function, right, random));
    if random.below(2) == 0 {
        (left, right) = (right, left);
    }
    if random.below(3) == 0 {
        (left, right) = (again(&left), again(&right));
    }
    left.merge(&right);
    left
}

pub(super) fn place(offset: usize) -> Place {
    Place { offset: offset as i64, ..Place::default() }
}

pub(super) fn placed(values: impl IntoIterator<Item = Owned>) -> Vec<(Owned, Place)> {
    values.into_iter().enumerate().map(|(at, value)| (value, place(at))).collect()
}

pub(super) fn double(state: &State, function: &Function) -> f64 {
    match state.result(function) {
        Answer::Value(Value::Double(value)) => value,
        other => panic!("{other:?} is no double"),
    }
}

pub(super) fn long(state: &State, function: &Function) -> i64 {
    match state.result(function) {
        Answer::Value(Value::Long(value)) => value,
        other => panic!("{other:?} is no long"),
    }
}

#[test]
fn a_state_is_small() {
    assert_eq!(size_of::<State>(), 32);
}

/// The heap that a state says it uses is what its parts take.
#[test]
fn the_heap_is_estimated() {
    let heap = |function: &Function, values: &[Owned]| fold(function, &placed(values.iter().cloned())).bytes();
    let text = [Owned::Text("x".repeat(100))];
    assert_eq!(heap(&Function::Min, &text), 100);
    assert_eq!(heap(&Function::Last, &text), 100 + 48);
    assert_eq!(heap(&Function::Sum, &[Owned::Long(1)]), 0);
    let (one, far) = (Owned::Double(1.0), [1e-300, 1.0, 1e300].map(Owned::Double));
    assert!(heap(&Function::Mean, &[one]) < 100 && heap(&Function::Mean, &far) >= 100 + 32);
    assert!(heap(&Function::TopK { k: 1, capacity: 100 }, &text) > 100 + 40);
    let mut row = super::Accumulators(vec![State::Count(1); 4].into());
    assert_eq!(row.bytes(), 0, "four states need no heap");
    row.0.push(fold(&Function::Min, &placed(text)));
    assert!(row.bytes() >= 5 * 32 + 100);
}
