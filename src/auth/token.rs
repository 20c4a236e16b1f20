//! Tokens themselves: 256 random bits for the caller, a hash for us.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use subtle::ConstantTimeEq;

/// What every token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "tdm_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Longest token that is looked at; ours have 68 characters.
const PRESENTED_BYTES_MAX: usize = 256;

/// A token as its holder has it. Never printed by `Debug`, kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes; no token was made, try again")]
pub struct NoRandom;

impl Token {
    /// A new one: `tdm_` and 256 random bits in hexadecimal.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, NoRandom> {
        let mut bytes = [0; RANDOM_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
        Ok(Self(format!("{PREFIX}{}", hex(&bytes))))
    }

    /// What a caller presents, if it can be a token at all.
    pub fn presented(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.starts_with(PREFIX) && text.len() <= PRESENTED_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for its holder alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. SHA-256 without salt or work factor: 256 random bits cannot be guessed.
    pub fn hash(&self) -> Hash {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Hash(bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// SHA-256 of a token.
#[derive(Debug, Clone, Copy)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Whether both are of one token; takes the same time whatever they have in common.
    pub fn same(self, other: Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_hash_as_sha_256_does() {
        let (a, b) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.reveal().len(), PREFIX.len() + 64);
        let known = Token::presented("tdm_abc").unwrap().hash();
        // printf tdm_abc | sha256sum
        assert_eq!(known.to_hex(), "5d71859f46df090e25a1cdcbeea4738f6bec605081cf0ed83b8db9fb3de10425");
        assert!(Hash::from_hex(&known.to_hex()).unwrap().same(known));
        assert!(!a.hash().same(b.hash()));
    }

    #[test]
    fn what_is_no_token_or_no_hash_is_told_apart() {
        assert!(Token::presented("password").is_none() && Token::presented(&"tdm_x".repeat(99)).is_none());
        assert!(Hash::from_hex("ab").is_none() && Hash::from_hex(&"g".repeat(64)).is_none());
        assert!(Hash::from_hex(&"é".repeat(32)).is_none());
    }

    #[test]
    fn debug_keeps_the_secret() {
        let token = Token::random().unwrap();
        assert!(!format!("{token:?}").contains(&token.reveal()[8..16]));
    }
}
