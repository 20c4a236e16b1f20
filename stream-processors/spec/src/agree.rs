//! Whether two lists of most frequent values agree: all other aggregates are equal or different, whatever the order of their
//! records was, but a top-k that met more values than it lists depends on that order within its stated error.

use serde_json::Value as Json;
use tidemark_core::Accumulator;
use tidemark_core::aggregate::{Accumulators, Answer, Function};

/// A listed value: it came at least `least` and at most `most` times.
struct Listed<'j> {
    value: &'j Json,
    least: i64,
    most: i64,
}

fn listed(list: &Json) -> Option<Vec<Listed<'_>>> {
    list.as_array()?.iter().map(entry).collect()
}

fn entry(entry: &Json) -> Option<Listed<'_>> {
    let (most, error) = (entry.get("count")?.as_i64()?, entry.get("error")?.as_i64()?);
    Some(Listed { value: entry.get("value")?, least: most - error, most })
}

/// Whether two lists of the `k` most frequent values can be of the same records: each value's bounds overlap, and what only
/// one of them lists need not have come more often than the last one that the other lists. Lists whose counts are exact must
/// be equal.
///
/// `[{"value":"a","count":9,"error":2}]` agrees with `[{"value":"a","count":8,"error":0}]`, and not with a count of 6.
pub fn top_k(a: &Json, b: &Json, k: usize) -> bool {
    let (Some(a), Some(b)) = (listed(a), listed(b)) else { return a == b };
    let exact = |list: &[Listed<'_>]| list.iter().all(|entry| entry.least == entry.most);
    if exact(&a) && exact(&b) {
        let same = |(a, b): (&Listed<'_>, &Listed<'_>)| (a.value, a.most) == (b.value, b.most);
        return a.len() == b.len() && a.iter().zip(&b).all(same);
    }
    covers(&a, &b, k) && covers(&b, &a, k)
}

/// Whether what `list` says leaves room for what `other` says.
fn covers(list: &[Listed<'_>], other: &[Listed<'_>], k: usize) -> bool {
    // A list that is not full has all values there are.
    let unlisted_most = if list.len() < k { 0 } else { list.iter().map(|entry| entry.most).min().unwrap_or(0) };
    other.iter().all(|entry| match list.iter().find(|there| there.value == entry.value) {
        Some(there) => there.least <= entry.most && entry.least <= there.most,
        None => entry.least <= unlisted_most,
    })
}

/// Whether two sums of the same records agree: bit for bit, but for lists of most frequent values that have lost some.
pub fn sums(functions: &[Function], a: &Accumulators, b: &Accumulators) -> bool {
    let bytes = |sums: &Accumulators| {
        let mut out = Vec::new();
        sums.put(&mut out);
        out
    };
    if bytes(a) == bytes(b) {
        return true;
    }
    let answers = a.results(functions).zip(b.results(functions));
    let agree = |((function, (a, b)), (x, y)): ((&Function, (_, _)), (Answer<'_>, Answer<'_>))| {
        a == b || (function.order_matters() && same_tops(function, &x, &y))
    };
    a.0.len() == b.0.len() && functions.iter().zip(a.0.iter().zip(&b.0)).zip(answers).all(agree)
}

fn same_tops(function: &Function, a: &Answer<'_>, b: &Answer<'_>) -> bool {
    let Function::TopK { k, .. } = function else { return false };
    let (Answer::Json(a), Answer::Json(b)) = (a, b) else { return false };
    let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    top_k(&a, &b, *k as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list(entries: &[(&str, i64, i64)]) -> Json {
        entries.iter().map(|(value, count, error)| json!({"value": value, "count": count, "error": error})).collect()
    }

    #[test]
    fn exact_lists_are_equal_or_different() {
        let one = list(&[("a", 9, 0), ("b", 5, 0)]);
        assert!(top_k(&one, &one, 2));
        assert!(!top_k(&one, &list(&[("a", 9, 0), ("b", 6, 0)]), 2));
        assert!(!top_k(&one, &list(&[("a", 9, 0), ("c", 5, 0)]), 2), "ties are broken by value");
        assert!(!top_k(&one, &list(&[("a", 9, 0)]), 2));
    }

    #[test]
    fn lists_with_errors_agree_where_their_bounds_overlap() {
        let one = list(&[("a", 9, 2), ("b", 5, 2)]);
        assert!(top_k(&one, &list(&[("a", 7, 0), ("b", 5, 0)]), 2));
        assert!(!top_k(&one, &list(&[("a", 6, 0), ("b", 5, 0)]), 2), "came 7 times at least");
        assert!(top_k(&one, &list(&[("a", 9, 2), ("c", 5, 3)]), 2), "c may have come unseen");
        assert!(!top_k(&one, &list(&[("a", 9, 2), ("c", 9, 3)]), 2), "c came 6 times, and b 5 times at most is listed");
        assert!(!top_k(&one, &list(&[("a", 9, 2)]), 2), "a list that is not full has all values");
    }
}
