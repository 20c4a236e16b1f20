//! Top-k: exact up to the capacity, within what it says beyond.

use super::*;
use crate::aggregate::TEXT_BYTES_MAX;
use std::collections::HashMap;

const TOP: Function = Function::TopK { k: 6, capacity: 8 };

fn json(function: &Function, values: impl IntoIterator<Item = Owned>) -> String {
    match fold(function, &placed(values)).result(function) {
        Answer::Json(json) => json,
        other => panic!("{other:?}"),
    }
}

#[test]
fn counts_are_exact_up_to_the_capacity_and_ties_go_by_value() {
    let text = |text: &str| Owned::Text(text.to_owned());
    let values = ["b", "a", "c", "b", "a", "d\"", "c", "b"].map(text);
    let expected =
        r#"[{"value":"b","count":3,"error":0},{"value":"a","count":2,"error":0},{"value":"c","count":2,"error":0}]"#;
    assert_eq!(json(&Function::TopK { k: 3, capacity: 8 }, values), expected);
    let flags = [true, false, true].map(Owned::Boolean);
    assert_eq!(json(&TOP, flags), r#"[{"value":true,"count":2,"error":0},{"value":false,"count":1,"error":0}]"#);
    let doubles = [0.0, -0.0, f64::NAN, 0.5].map(Owned::Double);
    let expected =
        r#"[{"value":0.0,"count":2,"error":0},{"value":0.5,"count":1,"error":0},{"value":"NaN","count":1,"error":0}]"#;
    assert_eq!(json(&TOP, doubles), expected);
}

#[test]
fn the_ninth_of_eight_takes_the_least_out() {
    // Six stay; a count of 1 is lost, from all.
    let values = (0..9).flat_map(|n: i64| std::iter::repeat_n(Owned::Long(n), if n < 3 { 5 } else { 1 }));
    let top: Vec<_> =
        (0..6).map(|n| format!(r#"{{"value":{n},"count":{},"error":0}}"#, if n < 3 { 5 } else { 1 })).collect();
    assert_eq!(json(&TOP, values.clone()), format!("[{}]", top.join(",")), "what was listed all along is still exact");
    let newcomer = json(&Function::TopK { k: 4, capacity: 8 }, values.chain([8, 8].map(Owned::Long)));
    assert!(newcomer.ends_with(r#",{"value":8,"count":3,"error":1}]"#), "one may have come unseen: {newcomer}");
}

#[test]
fn long_texts_stay_apart() {
    let long = |end: &str| Owned::Text("é".repeat(TEXT_BYTES_MAX / 2) + end);
    let json = json(&TOP, [long(""), long("a"), long("b"), long("a"), long("")]);
    let start = "é".repeat(TEXT_BYTES_MAX / 2);
    assert!(json.starts_with(&format!("[{{\"value\":\"{start}\",\"count\":2,")), "{json}");
    assert_eq!(json.matches(&format!("{start}…#")).count(), 2, "{json}");
    assert!(json.contains("\",\"count\":2,\"error\":0},{\"value\":\"é") && json.ends_with("\"count\":1,\"error\":0}]"));
    let bytes = |last| Owned::Bytes([vec![7; TEXT_BYTES_MAX], vec![last]].concat());
    let json = self::json(&TOP, [bytes(1), bytes(2), bytes(1)]);
    assert_eq!(json.matches("\"value\"").count(), 2, "{json}");
}

/// Zipf's law with a long tail, folded in pieces that merge at random.
#[test]
fn counts_beyond_the_capacity_are_within_what_they_say() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (capacity, n) = (40, 20_000);
        let function = Function::TopK { k: 30, capacity };
        let items = placed((0..n).map(|_| Owned::Long((1.0 / random.unit().powf(2.0)) as i64)));
        let mut truth = HashMap::<i64, i64>::new();
        for (value, _) in &items {
            if let Owned::Long(value) = value {
                *truth.entry(*value).or_default() += 1;
            }
        }
        assert!(truth.len() > 1000);
        let state = fold_at_random(&function, &items, &mut random);
        let Answer::Json(json) = state.result(&function) else { panic!() };
        let numbers: Vec<i64> = json
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap())
            .collect();
        let listed: Vec<_> = numbers.chunks(3).map(|entry| (entry[0], entry[1], entry[2])).collect();
        let bound = (function.error().unwrap() * f64::from(n)) as i64;
        for (value, count, error) in &listed {
            assert!(
                (count - error..=*count).contains(&truth[value]),
                "seed {seed}: {value} came {} times: {json}",
                truth[value]
            );
            assert!(*error <= bound, "seed {seed}: {error} of {bound}");
        }
        assert_eq!(listed.len(), 30, "seed {seed}");
        for (value, count) in truth.iter().filter(|(_, count)| **count > bound) {
            assert!(listed.iter().any(|(listed, ..)| listed == value), "seed {seed}: {value} with {count} is missing");
        }
    }
}

/// Merging is commutative even where something is lost.
#[test]
fn sides_can_be_swapped_beyond_the_capacity() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut part = || fold(&TOP, &placed((0..60).map(|_| Owned::Long(random.below(20) as i64))));
        let (a, b) = (part(), part());
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        assert_eq!(bytes(&ab), bytes(&ba));
        assert_eq!(again(&ab), ab);
    }
}
