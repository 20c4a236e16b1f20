//! What somebody may have meant who wrote a name wrong.

/// Longest name that is compared, bytes: the work is the product of both lengths.
const NAME_MAX: usize = 64;

/// Edits from one name to the other (Levenshtein), case aside; none when one is too long to be a slip.
pub(crate) fn distance(name: &str, other: &str) -> Option<usize> {
    if name.len().max(other.len()) > NAME_MAX {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in name.bytes().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), i + 1);
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other.bytes()) {
            let change = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = *cell;
            left = change.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied()
}

/// Whether two neighbours are swapped and nothing else differs.
fn is_swap(name: &str, other: &str) -> bool {
    let mut differing = name.bytes().zip(other.bytes()).enumerate().filter(|(_, (a, b))| !a.eq_ignore_ascii_case(b));
    match (differing.next(), differing.next(), differing.next()) {
        (Some((i, (a, b))), Some((j, (c, d))), None) => {
            name.len() == other.len() && j == i + 1 && a.eq_ignore_ascii_case(&d) && b.eq_ignore_ascii_case(&c)
        }
        _ => false,
    }
}

/// The nearest of `names` that `name` may stand for: at most two edits away, one if it is short, or with two neighbours swapped; the first of several.
pub(crate) fn meant<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = if name.len() <= 3 { 1 } else { 2 };
    let close = names.filter_map(|other| {
        let edits = if is_swap(name, other) { Some(1) } else { distance(name, other) };
        edits.filter(|edits| *edits <= near).map(|edits| (edits, other))
    });
    close.min_by_key(|(edits, _)| *edits).map(|(_, other)| other)
}

/// `did you mean X? `, or nothing.
pub(crate) fn hint<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    meant(name, names).map_or_else(String::new, |other| format!("did you mean {other}? "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant() {
        let names = || ["src_app", "dest_app", "hour", "ip"].into_iter();
        for (name, found) in [
            ("src_ap", Some("src_app")),
            ("Src_App", Some("src_app")),
            ("srcapp", Some("src_app")),
            ("source", None),
            ("", None),
            ("id", Some("ip")),
            ("xy", None),
            ("pi", Some("ip")),
        ] {
            assert_eq!(meant(name, names()), found, "{name}");
        }
        assert_eq!(meant(&"x".repeat(1_000), names()), None);
    }
}
