//! Bytes that no fold has written.

use super::*;
use crate::aggregate::Accumulators;
use crate::job::Accumulator;
use proptest::collection::vec;
use proptest::prelude::*;

fn samples() -> Vec<(Function, State)> {
    let wide = (0..300).map(|n| Owned::Long(n * n)).collect::<Vec<_>>();
    let doubles = (0..80).map(|n| Owned::Double(1.7f64.powi(n * 20 - 800))).collect::<Vec<_>>();
    let inputs = [wide, doubles].map(placed);
    laws::functions().into_iter().flat_map(|f| inputs.each_ref().map(|items| (f.clone(), fold(&f, items)))).collect()
}

/// Whatever was read can be used: merged, written, asked.
fn use_it(state: &State) {
    let mut merged = state.clone();
    merged.merge(state);
    for (function, sample) in samples() {
        let (mut left, mut right) = (state.clone(), sample.clone());
        left.merge(&sample);
        right.merge(state);
        assert_eq!(bytes(&left), bytes(&right));
        let _ = (state.result(&function), left.result(&function), left.bytes());
        left.add(&function, Value::Long(1), place(0));
        left.add(&function, Value::Double(-1e300), place(0));
        left.add(&function, Value::Text("x"), place(0));
    }
    assert_eq!(bytes(&again(&merged)), bytes(&merged));
    assert_eq!(again(state), *state);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_panic(branch in 0u8..14, rest in vec(any::<u8>(), 0..60)) {
        let input = [&[branch << 1][..], &rest].concat();
        if let Ok(state) = State::get(&mut Reader::new(&input)) {
            use_it(&state);
        }
        let _ = Accumulators::get(&mut Reader::new(&rest));
    }

    #[test]
    fn no_change_of_sound_bytes_panics(which: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: bool) {
        let samples = samples();
        let mut input = bytes(&which.get(&samples).1);
        let at = at.index(input.len());
        input[at] = byte;
        if cut {
            input.truncate(at);
        }
        if let Ok(state) = State::get(&mut Reader::new(&input)) {
            use_it(&state);
        }
    }
}

#[test]
fn a_length_that_lies_is_refused() {
    let long = |value: i64| {
        let mut out = vec![];
        tidemark_schemas::avro::put_long(&mut out, value);
        out
    };
    let lies = [1 << 40, i64::MAX, -1];
    let heads: [&[u8]; 6] = [&[8, 0], &[20], &[22, 28], &[24, 16, 0], &[12, 10], &[4]];
    for (head, lie) in heads.iter().flat_map(|head| lies.map(|lie| (head, lie))) {
        let input = [head.to_vec(), long(lie), vec![0; 20]].concat();
        assert!(State::get(&mut Reader::new(&input)).is_err(), "{head:?} {lie}");
    }
    for lie in lies {
        assert!(Accumulators::get(&mut Reader::new(&long(lie))).is_err());
    }
}

/// Each is sound but for one thing.
#[test]
fn what_is_not_canonical_is_refused() {
    let cases: [(&str, &[u8]); 14] = [
        ("a count of 0", &[2, 0]),
        ("a mean of 0 values", &[6, 2, 1, 0]),
        ("unknown flags", &[8, 16, 0]),
        ("an empty bucket", &[8, 0, 2, 0, 2, 0]),
        ("a bucket beyond the last", &[8, 0, 2, 128, 1, 2, 1]),
        ("a bucket twice", &[8, 0, 4, 2, 2, 1, 0, 2, 1]),
        ("buckets out of order", &[20, 8, 2, 2, 0, 2, 0, 0]),
        ("a bucket with nothing in it", &[20, 4, 2, 0, 0, 0]),
        ("collapsed without a bucket", &[20, 2, 0, 0]),
        ("a rank of 0", &[22, 28, 2, 128, 1]),
        ("a register twice", &[22, 28, 4, 130, 1, 4]),
        ("an unknown precision", &[22, 38, 2, 130, 1]),
        ("values out of order", &[24, 16, 0, 4, 4, 6, 2, 4, 4, 2]),
        ("an error above what was lost", &[24, 16, 2, 2, 4, 6, 2, 4]),
    ];
    for (what, input) in cases {
        assert!(State::get(&mut Reader::new(input)).is_err(), "{what}");
    }
    let sound: [&[u8]; 6] = [
        &[8, 0, 4, 2, 2, 1, 2, 2, 1],
        &[8, 0, 2, 0, 2, 1],
        &[20, 8, 2, 2, 2, 2, 0, 0],
        &[22, 28, 2, 130, 1],
        &[24, 16, 0, 4, 4, 4, 2, 4, 6, 2],
        &[6, 2, 1, 2],
    ];
    for input in sound {
        assert!(State::get(&mut Reader::new(input)).is_ok(), "{input:?}");
    }
}

/// A float read with other bits than the canonical ones is brought into form.
#[test]
fn a_forged_nan_is_the_one_nan() {
    let forged = [&[12, 6][..], &f64::from_bits(u64::MAX).to_le_bytes()].concat();
    let state = State::get(&mut Reader::new(&forged)).unwrap();
    assert_eq!(state, fold(&Function::Min, &placed([Owned::Double(f64::NAN)])));
}
