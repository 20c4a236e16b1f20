//! `Content-Digest` (RFC 9530): what the sender says that the contents are.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::problem::Problem;
use crate::store::hex;

const NAME: &str = "content-digest";
const RULE: &str = "sha-256=:BASE64: with the 32 bytes of the hash in base64";

/// The SHA-256 that the headers name, in hexadecimal; other algorithms are passed over.
pub(crate) fn sha256(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(NAME) else { return Ok(None) };
    let wrong = |found: &str| Problem::field("Content-Digest", format!("`Content-Digest` is {found:?}"), RULE);
    let value = value.to_str().map_err(|_| wrong("no text"))?;
    let mut found = None;
    for member in value.split(',').map(str::trim) {
        let (algorithm, digest) = member.split_once('=').ok_or_else(|| wrong(value))?;
        if algorithm.eq_ignore_ascii_case("sha-256") {
            let text = digest.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
            let bytes = text.and_then(|text| STANDARD.decode(text).ok()).filter(|bytes| bytes.len() == 32);
            found = Some(hex(&bytes.ok_or_else(|| wrong(value))?));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let read = |value: &str| {
            let headers = [(NAME.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            sha256(&headers)
        };
        // RFC 9530, appendix B.1: {"hello": "world"} and a line feed.
        let found = read("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:").unwrap().unwrap();
        assert_eq!(found, "44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38");
        assert_eq!(read("sha-512=:AAAA:").unwrap(), None);
        for bad in ["sha-256=abc", "sha-256=:AAAA:", "x", "sha-256=:=:"] {
            read(bad).unwrap_err();
        }
    }
}
