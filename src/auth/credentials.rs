//! How a request carries its token.

use super::token::Token;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The cookie of a browser that signed in.
pub(super) const COOKIE: &str = "tidemark_token";

/// What a request carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nothing.
    None,
    /// Something that is no token.
    Malformed,
    /// A token, good or not.
    Token(Token),
}

/// Looks for a token.
///
/// `Authorization: Bearer` everywhere; `Basic` with the token as password at the registry, as Confluent's clients cannot do
/// otherwise. The cookie is good for reading alone: no page can make a browser write with it.
pub(super) fn of(method: &Method, path: &str, headers: &HeaderMap) -> Credentials {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let found = match (given.next(), given.next()) {
        (Some(_), Some(_)) => return Credentials::Malformed,
        (Some(value), None) => value.to_str().ok().and_then(|value| authorization(value, path)),
        (None, _) => match cookie(headers).filter(|_| method.is_safe()) {
            Some(value) => Token::presented(value),
            None => return Credentials::None,
        },
    };
    found.map_or(Credentials::Malformed, Credentials::Token)
}

fn authorization(value: &str, path: &str) -> Option<Token> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::presented(rest);
    }
    let at_registry = path == "/registry" || path.starts_with("/registry/");
    if !at_registry || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    Token::presented(pair.split_once(':')?.1)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|all| all.split(';')).find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        match of(
            &method,
            path,
            &headers.fold(HeaderMap::new(), |mut all, (name, value)| {
                let name: axum::http::HeaderName = name;
                all.append(name, value);
                all
            }),
        ) {
            Credentials::None => None,
            Credentials::Malformed => Some("malformed".into()),
            Credentials::Token(token) => Some(token.reveal().into()),
        }
    }

    #[test]
    fn tokens_are_found_where_they_may_be() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let get = |headers: &[(&'static str, &str)]| seen(Method::GET, "/v1/flows", headers);
        assert_eq!(get(&[]), None);
        assert_eq!(get(&[("authorization", "bearer tdm_1")]).unwrap(), "tdm_1");
        assert_eq!(get(&[("authorization", "Bearer password")]).unwrap(), "malformed");
        assert_eq!(get(&[("authorization", "Bearer tdm_1"), ("authorization", "Bearer tdm_2")]).unwrap(), "malformed");
        assert_eq!(get(&[("authorization", &basic("x:tdm_1"))]).unwrap(), "malformed");
        let registry = seen(Method::POST, "/registry/subjects/a", &[("authorization", &basic("x:tdm_1"))]);
        assert_eq!(registry.unwrap(), "tdm_1");
        assert_eq!(get(&[("cookie", "a=b; tidemark_token=tdm_3")]).unwrap(), "tdm_3");
    }

    #[test]
    fn a_cookie_writes_nothing() {
        let cookie = [("cookie", "tidemark_token=tdm_3")];
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(seen(method, "/v1/flows", &cookie), None);
        }
    }

    #[test]
    fn other_headers_are_no_credentials() {
        let headers = [("x-client-cert", "CN=admin"), ("x-forwarded-user", "admin"), ("x-api-key", "tdm_1")];
        assert_eq!(seen(Method::GET, "/v1/flows", &headers), None);
    }
}
