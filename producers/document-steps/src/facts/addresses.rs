//! E-mail addresses and URLs.

use super::{FOUND_MAX, Fact, pattern};
use crate::fault::Fault;

/// The longest address that mail takes (RFC 5321, 4.5.3.1).
const EMAIL_MAX: usize = 254;
/// Characters of a URL; the rest of a longer one is not read.
const URL_MAX: usize = 2_048;

/// Addresses, with `address` in the form in which mail compares them: the domain in lowercase.
pub(super) fn emails(text: &str) -> Result<Vec<Fact>, Fault> {
    if !text.contains('@') {
        return Ok(Vec::new());
    }
    let found = pattern(
        r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}\b",
    )?;
    let addresses = found.find_iter(text).filter(|found| found.len() <= EMAIL_MAX).filter_map(|found| {
        let (local, domain) = found.as_str().rsplit_once('@')?;
        let valid = !local.contains("..") && !local.ends_with('.');
        let address = format!("{local}@{}", domain.to_ascii_lowercase());
        valid.then(|| Fact { at: found.range(), fields: vec![("address", address.into())] })
    });
    Ok(addresses.take(FOUND_MAX + 1).collect())
}

/// URLs with a scheme, as they stand; signs that end a sentence or close a bracket opened before them are not theirs.
pub(super) fn urls(text: &str) -> Result<Vec<Fact>, Fault> {
    if !text.contains("://") {
        return Ok(Vec::new());
    }
    let found = pattern(r#"(?i)\b(?:https?|ftp)://[^\s<>"'`{}|\\^“”«»]+"#)?;
    let urls = found.find_iter(text).filter_map(|found| {
        let whole = found.as_str();
        // Counted here: a repetition with such a bound is thousands of states to be made for each document.
        let end = whole.char_indices().nth(URL_MAX).map_or(whole.len(), |(end, _)| end);
        let url = without_end(whole.get(..end)?);
        let host = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
        let at = found.start()..found.start() + url.len();
        host.contains(|c: char| c.is_alphanumeric()).then(|| Fact { at, fields: vec![("url", url.into())] })
    });
    Ok(urls.take(FOUND_MAX + 1).collect())
}

/// Takes off the end what is the sentence's. Linear in the URL, whatever closes at its end.
fn without_end(url: &str) -> &str {
    let closes_more = |open: char, close: char| url.matches(close).count().saturating_sub(url.matches(open).count());
    let (mut round, mut square) = (closes_more('(', ')'), closes_more('[', ']'));
    url.trim_end_matches(|c| match c {
        '.' | ',' | ';' | ':' | '!' | '?' | '…' | '*' => true,
        ')' => take_one(&mut round),
        ']' => take_one(&mut square),
        _ => false,
    })
}

fn take_one(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

#[cfg(test)]
mod tests {
    use super::{emails, urls};

    fn texts(text: &str, facts: &[super::Fact]) -> Vec<String> {
        facts.iter().map(|fact| text[fact.at.clone()].to_owned()).collect()
    }

    #[test]
    fn addresses() {
        let text = "Mail ann.b+x@Example.ORG, <joe@mail.example.co.uk>. Not: a@b, @x.org, a..b@x.org, joe.@x.org";
        let facts = emails(text).unwrap();
        assert_eq!(texts(text, &facts), ["ann.b+x@Example.ORG", "joe@mail.example.co.uk"]);
        assert_eq!(facts[0].fields[0].1, "ann.b+x@example.org");
    }

    #[test]
    fn urls_end_where_they_end() {
        let text = "See https://example.org/a_(b)?x=1#y. (http://example.org/c), \"ftp://example.org\"; http:// none";
        assert_eq!(
            texts(text, &urls(text).unwrap()),
            ["https://example.org/a_(b)?x=1#y", "http://example.org/c", "ftp://example.org"]
        );
    }
}
