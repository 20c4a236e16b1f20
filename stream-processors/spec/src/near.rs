//! "did you mean".

/// The name that was probably meant: one that differs by few letters.
pub fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = |known: &str| if known.len() < 3 { 1 } else { 2.max(known.len() / 3) };
    let candidates = known.into_iter().map(|known| (distance(name, known), known));
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

/// Levenshtein's distance in characters, of names cut to 64, letters' case aside.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().take(64).collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (pair, y) in row.windows(2).zip(&b) {
            if let [diagonal, above] = pair {
                left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters_apart() {
        assert_eq!(near("stauts", ["path", "status"]), Some("status"));
        assert_eq!(near("Status", ["path", "status"]), Some("status"));
        assert_eq!(near("colour", ["path", "status"]), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc")), (3, 3));
    }
}
