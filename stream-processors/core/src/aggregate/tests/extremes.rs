//! Smallest, largest, first and last.

use super::*;

fn answer(function: &Function, values: &[Owned]) -> Owned {
    let items = placed(values.iter().cloned());
    let state = fold_at_random(function, &items, &mut Random(values.len() as u64));
    match state.result(function) {
        Answer::Value(Value::Long(value)) => Owned::Long(value),
        Answer::Value(Value::Double(value)) => Owned::Double(value),
        Answer::Value(Value::Integer(value)) => Owned::Integer(value),
        Answer::Value(Value::Text(value)) => Owned::Text(value.to_owned()),
        Answer::Value(Value::Boolean(value)) => Owned::Boolean(value),
        Answer::Value(Value::Time(value)) => Owned::Time(value),
        Answer::Value(Value::Bytes(value)) => Owned::Bytes(value.to_owned()),
        Answer::Value(Value::Null) | Answer::Json(_) => Owned::Null,
    }
}

#[track_caller]
fn check(values: &[Owned], least: &Owned, largest: &Owned) {
    assert_eq!(format!("{:?}", answer(&Function::Min, values)), format!("{least:?}"));
    assert_eq!(format!("{:?}", answer(&Function::Max, values)), format!("{largest:?}"));
}

#[test]
fn every_type_has_a_least_and_a_largest() {
    let text = |text: &str| Owned::Text(text.to_owned());
    check(&[3, i64::MIN, 5].map(Owned::Long), &Owned::Long(i64::MIN), &Owned::Long(5));
    check(&[3, -1, i128::MAX].map(Owned::Integer), &Owned::Integer(-1), &Owned::Integer(i128::MAX));
    check(&[true, false].map(Owned::Boolean), &Owned::Boolean(false), &Owned::Boolean(true));
    check(&[3, -7].map(Owned::Time), &Owned::Time(-7), &Owned::Time(3));
    check(&["b", "", "é", "z"].map(text), &text(""), &text("é"));
    check(&[vec![1], vec![0, 9]].map(Owned::Bytes), &Owned::Bytes(vec![0, 9]), &Owned::Bytes(vec![1]));
    check(&[Owned::Null, Owned::Long(1), Owned::Null], &Owned::Long(1), &Owned::Long(1));
    check(&[Owned::Null], &Owned::Null, &Owned::Null);
}

#[test]
fn nan_is_the_largest_and_zeros_are_one() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    check(&[1.0, -nan, -inf].map(Owned::Double), &Owned::Double(-inf), &Owned::Double(nan));
    check(&[nan, inf].map(Owned::Double), &Owned::Double(inf), &Owned::Double(nan));
    check(&[-0.0, 0.0].map(Owned::Double), &Owned::Double(0.0), &Owned::Double(0.0));
    check(&[-0.0].map(Owned::Double), &Owned::Double(0.0), &Owned::Double(0.0));
}

#[test]
fn first_and_last_go_by_place_field_by_field() {
    let at = |time, topic, partition, offset| Place { time, topic, partition, offset };
    let ascending = [at(-1, 9, 9, 9), at(0, 0, 9, 9), at(0, 1, 0, 9), at(0, 1, 1, -5), at(0, 1, 1, 0), at(7, 0, 0, 0)];
    let items: Vec<_> = ascending.into_iter().zip(0..).map(|(place, n)| (Owned::Long(n), place)).collect();
    for seed in 0..50 {
        let fold = |function: &Function| long(&fold_at_random(function, &items, &mut Random(seed)), function);
        assert_eq!((fold(&Function::First), fold(&Function::Last)), (0, 5));
        let inner = &items[1..5];
        let fold = |function: &Function| long(&fold_at_random(function, inner, &mut Random(seed)), function);
        assert_eq!((fold(&Function::First), fold(&Function::Last)), (1, 4));
    }
}

#[test]
fn a_null_is_neither_first_nor_last() {
    let values = [Owned::Null, Owned::Long(1), Owned::Long(2), Owned::Null];
    assert!(matches!(answer(&Function::First, &values), Owned::Long(1)));
    assert!(matches!(answer(&Function::Last, &values), Owned::Long(2)));
}
