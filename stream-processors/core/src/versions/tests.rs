use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { versions: 1_000, bytes: 1 << 20 };

fn place(appended_at: i64, offset: i64) -> Place {
    Place { appended_at, partition: 0, offset }
}

fn table(puts: &[(i64, i64, i64, &'static str)]) -> Versions<&'static str> {
    let mut table = Versions::new(LIMITS);
    for (event_time, appended_at, offset, row) in puts {
        table.put(b"k", Some(b"log"), Some(*event_time), place(*appended_at, *offset), *row, 0).unwrap();
    }
    table
}

#[test]
fn a_record_sees_the_version_of_its_own_time() {
    let table = table(&[(100, 100, 0, "a"), (200, 200, 1, "b")]);
    assert_eq!(table.get(b"k", 99, 500), Found::Nothing, "before the first version");
    assert_eq!(table.get(b"k", 100, 500), Found::Row(&"a"));
    assert_eq!(table.get(b"k", 199, 500), Found::Row(&"a"), "not the later one, which is there too");
    assert_eq!(table.get(b"k", 200, 500), Found::Row(&"b"));
    assert_eq!(table.get(b"other", 200, 500), Found::Nothing);
}

#[test]
fn what_was_appended_later_is_not_seen() {
    let table = table(&[(100, 100, 0, "a"), (150, 300, 1, "b")]);
    assert_eq!(table.get(b"k", 160, 299), Found::Row(&"a"));
    assert_eq!(table.get(b"k", 160, 300), Found::Row(&"b"), "in the same millisecond it counts");
}

#[test]
fn of_one_event_time_the_last_counts() {
    let table = table(&[(100, 100, 0, "a"), (100, 100, 1, "b")]);
    assert_eq!(table.get(b"k", 100, 100), Found::Row(&"b"));
}

#[test]
fn a_deletion_counts_from_its_append_time_on() {
    let mut table = table(&[(100, 100, 0, "a")]);
    table.delete(b"log", place(200, 1)).unwrap();
    table.delete(b"never seen", place(200, 2)).unwrap();
    assert_eq!(table.get(b"k", 199, 500), Found::Row(&"a"));
    assert_eq!(table.get(b"k", 200, 500), Found::Nothing);
    table.put(b"k", Some(b"log"), Some(300), place(300, 3), "b", 0).unwrap();
    assert_eq!(table.get(b"k", 300, 500), Found::Row(&"b"));
}

#[test]
fn a_clock_that_was_set_back_changes_no_order() {
    let mut table = Versions::new(LIMITS);
    table.put(b"k", None, None, place(200, 0), "a", 0).unwrap();
    table.put(b"k", None, None, place(100, 1), "b", 0).unwrap();
    assert_eq!(table.get(b"k", 150, 150), Found::Nothing, "it came after the first, whatever its stamp");
    assert_eq!(table.get(b"k", 200, 200), Found::Row(&"b"));
}

#[test]
fn a_full_table_says_so() {
    let mut table = Versions::new(Limits { versions: 2, bytes: 1 << 20 });
    for offset in 0..2 {
        table.put(b"k", None, Some(offset), place(offset, offset), (), 0).unwrap();
    }
    let full = table.put(b"k", None, Some(2), place(2, 2), (), 0).unwrap_err();
    assert_eq!((full.versions, full.limits.versions), (3, 2));
    let mut table = Versions::new(Limits { versions: 100, bytes: 1_000 });
    assert!(table.put(b"k", None, None, place(0, 0), (), 900).is_err());
}

/// What was put: key, event time, append time, row or deletion.
#[derive(Debug, Clone)]
struct Put {
    key: u8,
    partition: u32,
    event_time: Option<i64>,
    appended_at: i64,
    deletes: bool,
}

fn puts() -> impl Strategy<Value = Vec<Put>> {
    let put = (0..3_u8, 0..2_u32, proptest::option::weighted(0.8, 0..40_i64), 0..4_i64, proptest::bool::weighted(0.15));
    proptest::collection::vec(put, 0..40).prop_map(|puts| {
        let mut now = 0;
        let put = |(key, partition, event_time, later, deletes)| {
            now += later;
            Put { key, partition, event_time, appended_at: now, deletes }
        };
        puts.into_iter().map(put).collect()
    })
}

/// The sentence of the module's docs, word by word, over all records.
fn naive(puts: &[Put], key: u8, t: i64, a: i64) -> Option<usize> {
    let mut best: Option<((i64, Place), Option<usize>)> = None;
    let mut there = false;
    for (number, put) in puts.iter().enumerate() {
        // Only a key that is known is deleted.
        if put.key != key || (put.deletes && !there) {
            continue;
        }
        there = true;
        let place = Place { appended_at: put.appended_at, partition: put.partition, offset: number as i64 };
        let event_time = if put.deletes { put.appended_at } else { put.event_time.unwrap_or(put.appended_at) };
        if event_time <= t && put.appended_at <= a && best.is_none_or(|(order, _)| order < (event_time, place)) {
            best = Some(((event_time, place), (!put.deletes).then_some(number)));
        }
    }
    best.and_then(|(_, row)| row)
}

fn of(puts: &[Put]) -> Versions<usize> {
    let mut table = Versions::new(LIMITS);
    take(&mut table, puts, 0..puts.len());
    table
}

fn take(table: &mut Versions<usize>, puts: &[Put], range: std::ops::Range<usize>) {
    for (number, put) in puts.iter().enumerate().take(range.end).skip(range.start) {
        let place = Place { appended_at: put.appended_at, partition: put.partition, offset: number as i64 };
        let (key, log_key) = ([put.key], [put.key, 0]);
        // Each twice: what is read again counts once.
        for _ in 0..2 {
            match put.deletes {
                true => table.delete(&log_key, place).unwrap(),
                false => table.put(&key, Some(&log_key), put.event_time, place, number, 0).unwrap(),
            }
        }
    }
}

fn row(found: Found<'_, usize>) -> Option<usize> {
    match found {
        Found::Row(row) => Some(*row),
        Found::Nothing => None,
        Found::Forgotten => panic!("forgotten"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn as_a_naive_search_says(puts in puts(), asked in proptest::collection::vec((0..4_u8, 0..60_i64, 0..100_i64), 20)) {
        let table = of(&puts);
        for (key, t, a) in asked {
            prop_assert_eq!(row(table.get(&[key], t, a)), naive(&puts, key, t, a), "key {} at {}, appended {}", key, t, a);
        }
    }

    #[test]
    fn what_is_forgotten_is_missed_by_nobody(
        puts in puts(),
        needs in proptest::collection::vec((0..40_i64, 0..60_i64), 1..3),
        cut in 0..40_usize,
        asked in proptest::collection::vec((0..4_u8, 0..60_i64, 0..100_i64), 20),
    ) {
        let mut table = Versions::new(LIMITS);
        let cut = cut.min(puts.len());
        take(&mut table, &puts, 0..cut);
        let read = puts.get(cut).map_or(i64::MAX, |next| next.appended_at - 1);
        for (event_time, appended_at) in needs {
            table.forget(Need { event_time, appended_at: appended_at.min(read) });
        }
        take(&mut table, &puts, cut..puts.len());
        let (versions, bytes) = table.rows.values().flatten().fold((0, 0), |(n, b), v| (n + 1, b + v.bytes));
        prop_assert_eq!(table.len(), versions);
        let keys: usize = table.rows.keys().map(|key| KEY_BYTES + key.len()).sum();
        let named: usize = table.named.iter().map(|(log_key, key)| KEY_BYTES + log_key.len() + key.len()).sum();
        prop_assert_eq!(table.bytes, bytes + keys + named);
        for (key, t, a) in asked {
            match table.get(&[key], t, a) {
                Found::Forgotten => prop_assert!(table.forgotten.is_some_and(|need| t < need.event_time || a < need.appended_at)),
                found => prop_assert_eq!(row(found), naive(&puts, key, t, a), "key {} at {}, appended {}", key, t, a),
            }
        }
    }
}
