//! Requests that a web page makes a browser send: without tokens, the browser of whoever runs Tidemark on his machine would be
//! a way in for every page he visits.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};
use std::net::IpAddr;

/// Why a request is not taken from a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// A name of somebody else's points to this machine (DNS rebinding).
    #[error("the Host header names neither this machine's loopback address nor localhost")]
    Host,
    /// A page from elsewhere sends something.
    #[error("a web page of another origin sent this")]
    Origin,
}

/// Checks a request to a process without tokens, which listens on loopback alone.
///
/// # Errors
/// It was sent by a page from elsewhere, or under a name from elsewhere.
pub(super) fn check_open(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
    let host = match headers.get(header::HOST) {
        Some(host) => Some(host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()).ok_or(Foreign::Host)?),
        None => uri.authority().cloned(), // HTTP/1.0 may have neither
    };
    // A request line with a whole URL names its host twice.
    if host.iter().chain(uri.authority()).any(|host| !is_loopback(host.host())) {
        return Err(Foreign::Host);
    }
    if !method.is_safe() && (is_cross_site(headers) || !is_same(headers, host.as_ref())) {
        return Err(Foreign::Origin);
    }
    Ok(())
}

/// Whether the browser itself says that another site's page sent this.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whether there is no `Origin`, or the page is one of ours.
fn is_same(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host.as_str()))
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(method: Method, headers: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check_open(&method, &"/v1/flows".parse().unwrap(), &headers)
    }

    #[test]
    fn names_of_this_machine_are_taken_and_others_are_not() {
        for host in
            ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.9.9.9", "a.localhost", "localhost."]
        {
            assert_eq!(check(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "localhost.evil.example", "0.0.0.0", "a b"]
        {
            assert_eq!(check(Method::GET, &[("host", host)]), Err(Foreign::Host), "{host}");
        }
        assert_eq!(check(Method::GET, &[]), Ok(()));
    }

    #[test]
    fn pages_from_elsewhere_write_nothing() {
        let host = ("host", "127.0.0.1:8080");
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3000", "https://127.0.0.1:8080", ""] {
            assert_eq!(check(Method::POST, &[host, ("origin", origin)]), Err(Foreign::Origin), "{origin}");
            assert_eq!(check(Method::GET, &[host, ("origin", origin)]), Ok(()), "{origin}");
        }
        assert_eq!(check(Method::POST, &[host, ("origin", "http://127.0.0.1:8080")]), Ok(()));
        assert_eq!(check(Method::POST, &[host]), Ok(()), "no browser");
        assert_eq!(check(Method::PUT, &[host, ("sec-fetch-site", "cross-site")]), Err(Foreign::Origin));
        assert_eq!(check(Method::PUT, &[host, ("sec-fetch-site", "same-origin")]), Ok(()));
    }
}
