//! "Did you mean": the name that somebody may have meant who wrote another.

/// Longest part of a name that is compared, in characters: the work is the product of both lengths.
const NAME_MAX: usize = 64;

/// The name that was probably meant: the one that differs by the fewest letters, if these are few for its length; the first in
/// the alphabet of several.
pub fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = letters(name);
    let allowed = |known: &str| if known.len() < 3 { 1 } else { 2.max(known.len() / 3) };
    let candidates = known.into_iter().map(|known| (edits(&name, &letters(known)), known));
    candidates.min().filter(|(edits, known)| *edits <= allowed(known)).map(|(_, known)| known)
}

/// What to do about a name that is not known.
pub fn advice<'n>(name: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(meant) = near(name, known.clone()) {
        return format!("did you mean `{meant}`?");
    }
    let all: Vec<&str> = known.into_iter().collect();
    if all.is_empty() { "there is none to choose from".to_owned() } else { format!("there is {}", all.join(", ")) }
}

/// `did you mean X? `, or nothing: for a sentence that goes on.
pub fn hint<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    near(name, known).map_or_else(String::new, |meant| format!("did you mean {meant}? "))
}

/// Case aside.
fn letters(name: &str) -> Vec<char> {
    name.chars().take(NAME_MAX).flat_map(char::to_lowercase).collect()
}

/// From one name to the other: letters that are changed, left out, put in, or swapped with their neighbour (optimal string
/// alignment, as Levenshtein's distance but for the swaps).
fn edits(a: &[char], b: &[char]) -> usize {
    // The row before the last, the last, and the one under way.
    let (mut older, mut old) = (vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>());
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&old, j) + usize::from(x != y);
            let mut fewest = changed.min(at(&old, j + 1) + 1).min(at(&row, j) + 1);
            let before = |name: &[char], at: usize| at.checked_sub(1).and_then(|at| name.get(at).copied());
            if before(a, i) == Some(*y) && before(b, j) == Some(*x) {
                fewest = fewest.min(at(&older, j - 1) + 1);
            }
            row.push(fewest);
        }
        (older, old) = (old, row);
    }
    old.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant() {
        let known = ["src_app", "dest_app", "hour", "ip", "from", "to", "status"];
        for (name, meant) in [
            ("src_ap", Some("src_app")),
            ("Src_App", Some("src_app")),
            ("srcapp", Some("src_app")),
            ("stauts", Some("status")),
            ("huor", Some("hour")),
            ("id", Some("ip")),
            ("pi", Some("ip")),
            ("xy", None),
            ("source", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(near(name, known), meant, "{name}");
        }
        assert_eq!(near(&"x".repeat(1_000_000), known), None);
        assert_eq!(near("b", ["d", "c"]), Some("c"), "the first in the alphabet");
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| edits(&letters(a), &letters(b));
        for (a, b, expected) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("GTE", "get", 1), ("abcd", "badc", 2)]
        {
            assert_eq!((count(a, b), count(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn advice_names_what_there_is() {
        assert_eq!(advice("stauts", ["path", "status"]), "did you mean `status`?");
        assert_eq!(advice("colour", ["path", "status"]), "there is path, status");
        assert_eq!(advice("colour", []), "there is none to choose from");
        assert_eq!((hint("pth", ["path"]).as_str(), hint("x", ["path"]).as_str()), ("did you mean path? ", ""));
    }
}
