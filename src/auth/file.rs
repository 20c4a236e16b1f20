//! The file of tokens: names, roles, hashes, expiry. It holds no secret; whoever can write it can let himself in.

use super::roles::{Caller, Role};
use super::token::{Hash, Token};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Tokens in a file.
const TOKENS_MAX: usize = 1_000;
/// Characters of a name.
const NAME_MAX: usize = 64;
/// What the file begins with when we write it.
const HEADING: &str = "# Tokens of Tidemark, written by `tidemark token`. Of each token only its SHA-256 is here.\n\n";

/// The tokens of a file, in its order.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
}

/// What is known of one token.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who holds it, and what its holder may do.
    pub caller: Caller,
    /// Made then, seconds since the epoch.
    pub created: i64,
    /// Good until then, seconds since the epoch; `None` is for ever.
    pub expires: Option<i64>,
    hash: Hash,
}

/// Why a file of tokens cannot be used, or a token not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML, or other keys than there are.
    #[error("not a file of tokens: {0}")]
    Syntax(String),
    /// A token breaks a rule.
    #[error("token {name:?}: {rule}")]
    Token {
        /// Its name, as far as it is shown.
        name: String,
        /// What it must be.
        rule: &'static str,
    },
    /// More than are read.
    #[error("more than {TOKENS_MAX} tokens; revoke those that are not needed")]
    TooMany,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    roles: Vec<Role>,
    sha256: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl Tokens {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is not TOML, has other keys, or a token breaks a rule.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File = toml::from_str(text).map_err(|error| Error::Syntax(error.to_string()))?;
        let mut tokens = Self::default();
        for row in file.token {
            let broken = |rule| Error::Token { name: shown(&row.name), rule };
            let hash = Hash::from_hex(&row.sha256).ok_or(broken("sha256 must be 64 hexadecimal digits"))?;
            let instant = |text: &str| {
                let parsed = OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp);
                parsed.map_err(|_| broken("created and expires must be times such as 2027-01-31T00:00:00Z"))
            };
            let created = instant(&row.created)?;
            let expires = row.expires.as_deref().map(instant).transpose()?;
            let caller = Caller { name: Arc::from(row.name.as_str()), roles: row.roles.clone() };
            tokens.push(Entry { caller, created, expires, hash })?;
        }
        Ok(tokens)
    }

    /// The text of a file.
    pub fn render(&self) -> String {
        let row = |entry: &Entry| Row {
            name: entry.caller.name.to_string(),
            roles: entry.caller.roles.clone(),
            sha256: entry.hash.to_hex(),
            created: instant(entry.created),
            expires: entry.expires.map(instant),
        };
        let file = File { token: self.entries.iter().map(row).collect() };
        format!("{HEADING}{}", toml::to_string(&file).unwrap_or_default())
    }

    /// Adds a token.
    ///
    /// # Errors
    /// The name is taken or no plain word, or there is no role.
    pub fn add(&mut self, token: &Token, caller: Caller, created: i64, expires: Option<i64>) -> Result<(), Error> {
        self.push(Entry { caller, created, expires, hash: token.hash() })
    }

    fn push(&mut self, entry: Entry) -> Result<(), Error> {
        let name = &entry.caller.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let rule = if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(plain) {
            "a name is 1 to 64 letters, digits, '-', '_' or '.'"
        } else if self.entries.iter().any(|other| other.caller.name == *name) {
            "there is one of this name already; revoke that first, or take another name"
        } else if entry.caller.roles.is_empty() {
            "it must have at least one role"
        } else if self.entries.len() >= TOKENS_MAX {
            return Err(Error::TooMany);
        } else {
            self.entries.push(entry);
            return Ok(());
        };
        Err(Error::Token { name: shown(name), rule })
    }

    /// Takes a token out; says whether it was there.
    pub fn revoke(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| &*entry.caller.name != name);
        self.entries.len() < before
    }

    /// Whose token it is, if it is good at `now` (seconds since the epoch). Every token is looked at, so that the time says
    /// nothing about which one it was.
    pub fn find(&self, token: &Token, now: i64) -> Option<&Entry> {
        let hash = token.hash();
        let mut found = None;
        for entry in &self.entries {
            if entry.hash.same(hash) {
                found = Some(entry);
            }
        }
        found.filter(|entry| entry.expires.is_none_or(|expires| now < expires))
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// RFC 3339, UTC.
pub fn instant(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| seconds.to_string())
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(name: &str, roles: &[Role]) -> Caller {
        Caller { name: name.into(), roles: roles.to_vec() }
    }

    #[test]
    fn a_file_reads_back_and_never_holds_the_token() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        let mut tokens = Tokens::default();
        tokens.add(&token, caller("shop", &[Role::Publish, Role::Query]), 1_000, Some(2_000)).unwrap();
        let text = tokens.render();
        assert!(!text.contains(token.reveal()) && text.contains(&token.hash().to_hex()), "{text}");
        let read = Tokens::parse(&text).unwrap();
        assert_eq!(read.render(), text);
        assert_eq!(read.find(&token, 1_999).unwrap().caller, caller("shop", &[Role::Publish, Role::Query]));
        assert!(read.find(&token, 2_000).is_none(), "expired");
        assert!(read.find(&other, 0).is_none());
    }

    #[test]
    fn a_revoked_token_is_gone() {
        let (token, mut tokens) = (Token::random().unwrap(), Tokens::default());
        tokens.add(&token, caller("a", &[Role::Ops]), 0, None).unwrap();
        assert!(tokens.find(&token, i64::MAX).is_some() && tokens.revoke("a") && !tokens.revoke("a"));
        assert!(tokens.find(&token, 0).is_none());
    }

    #[test]
    fn broken_files_are_refused_with_the_place() {
        let sha = "0".repeat(64);
        let row = |name: &str, roles: &str, sha: &str, more: &str| {
            format!(
                "[[token]]\nname = {name:?}\nroles = {roles}\nsha256 = {sha:?}\ncreated = \"2026-01-01T00:00:00Z\"\n{more}"
            )
        };
        let good = row("a", "[\"query\"]", &sha, "");
        assert_eq!(Tokens::parse(&good).unwrap().entries().len(), 1);
        for (text, said) in [
            (row("a b", "[\"query\"]", &sha, ""), "a name is 1 to 64"),
            (row("a", "[]", &sha, ""), "at least one role"),
            (row("a", "[\"root\"]", &sha, ""), "unknown variant `root`"),
            (row("a", "[\"query\"]", "12", ""), "64 hexadecimal digits"),
            (row("a", "[\"query\"]", &sha, "expires = \"soon\""), "2027-01-31T00:00:00Z"),
            (row("a", "[\"query\"]", &sha, "secret = \"x\""), "unknown field `secret`"),
            (format!("{good}{good}"), "one of this name already"),
        ] {
            let error = Tokens::parse(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error} lacks {said}");
        }
    }
}
