//! Numbers as people write them, as decimals: `1,234.50`, `1.234,50`, `1 234,50`, `1'234.50`, `1.234`.

/// The decimal of a number: digits with at most one point, no grouping, no zeros in front. None when its signs contradict each other.
pub(super) fn decimal(number: &str) -> Option<String> {
    let plain: String = number.chars().filter(|c| !c.is_whitespace() && *c != '\'' && *c != '’').collect();
    let (whole, fraction) = match plain.rfind(['.', ',']) {
        None => (plain.as_str(), ""),
        Some(last) => {
            let (before, after) = plain.split_at_checked(last)?;
            let fraction = after.get(1..)?;
            if is_group(before, after, fraction) { (plain.as_str(), "") } else { (before, fraction) }
        }
    };
    grouped(whole)?;
    let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    Some(if fraction.is_empty() { digits.to_owned() } else { format!("{digits}.{fraction}") })
}

/// Whether the last sign parts thousands: three digits after it, and no other sign before it that does.
fn is_group(before: &str, after: &str, fraction: &str) -> bool {
    let sign = after.chars().next();
    let other = before.contains(['.', ',']) && !before.chars().any(|c| Some(c) == sign);
    fraction.len() == 3 && !other && !before.trim_start_matches('0').is_empty()
}

/// One sign only parts thousands, and parts them in threes.
fn grouped(whole: &str) -> Option<()> {
    let sign = whole.chars().find(|c| !c.is_ascii_digit());
    let Some(sign) = sign else { return Some(()) };
    let mut groups = whole.split(sign);
    let first = groups.next()?;
    ((1..=3).contains(&first.len())
        && groups.all(|group| group.len() == 3 && group.chars().all(|c| c.is_ascii_digit())))
    .then_some(())
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_of_all_countries() {
        for (number, expected) in [
            ("1234", "1234"),
            ("1,234.50", "1234.50"),
            ("1.234,50", "1234.50"),
            ("1 234,50", "1234.50"),
            ("1'234.50", "1234.50"),
            ("1.234", "1234"),
            ("1,234,567", "1234567"),
            ("0.125", "0.125"),
            ("12,5", "12.5"),
            ("007", "7"),
            ("0", "0"),
            ("1,234.567", "1234.567"),
        ] {
            assert_eq!(decimal(number).as_deref(), Some(expected), "{number}");
        }
        for number in ["1,23,456.7", "1.2.3", "12,34,56"] {
            assert_eq!(decimal(number), None, "{number}");
        }
    }
}
