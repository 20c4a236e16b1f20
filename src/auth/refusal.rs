//! Refusals as RFC 9457 problem documents: what happened, why, what to do.

use super::roles::Role;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Seconds after which a client that has too much under way may come again.
const RETRY_AFTER_S: u32 = 1;

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no token.
    NoToken,
    /// The token is not known, expired, or revoked.
    BadToken,
    /// The token is good for other things than these.
    Roles(&'static [Role]),
    /// The route is in no table.
    Unlisted,
    /// A browser sent it for somebody else's page.
    Foreign(super::origin::Foreign),
    /// The client has this many requests under way.
    Busy(usize),
}

impl Refusal {
    /// Status, code, title, detail.
    fn row(self) -> (StatusCode, &'static str, &'static str, String) {
        let told = |text: &str| text.to_owned();
        match self {
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "no_token",
                "a token is needed",
                told(
                    "send one as \"Authorization: Bearer TOKEN\"; whoever runs this makes one with: tidemark token new",
                ),
            ),
            Self::BadToken => (
                StatusCode::UNAUTHORIZED,
                "bad_token",
                "the token is not good",
                told("it is not known here, expired, or revoked; ask whoever runs this for another"),
            ),
            Self::Roles(roles) => (
                StatusCode::FORBIDDEN,
                "wrong_role",
                "the token is good for other things",
                format!("this needs a token with the role {}; ask whoever runs this for one", either(roles)),
            ),
            Self::Unlisted => (
                StatusCode::FORBIDDEN,
                "unlisted",
                "no role may do this",
                told("no rule says who may use this path; it is a fault of Tidemark, report it"),
            ),
            Self::Foreign(why) => (
                StatusCode::FORBIDDEN,
                "foreign_page",
                "a page from elsewhere may not do this",
                format!("{why}; use http://127.0.0.1 or http://localhost, or set up tokens (docs/security.md)"),
            ),
            Self::Busy(limit) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests at a time",
                format!(
                    "{limit} requests of this client are under way, which is the limit; nothing was done, try again after Retry-After seconds"
                ),
            ),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        self.row().0
    }

    /// The code alone, for logs.
    pub(super) fn code(self) -> &'static str {
        self.row().1
    }
}

fn either(roles: &[Role]) -> String {
    let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, title, detail) = self.row();
        let body = serde_json::json!({
            "type": format!("urn:tidemark:problem:{code}"), "title": title, "status": status.as_u16(), "detail": detail,
        });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let challenge = match self {
            Self::NoToken => Some("Bearer realm=\"tidemark\""),
            Self::BadToken => Some("Bearer realm=\"tidemark\", error=\"invalid_token\""),
            Self::Roles(_) | Self::Unlisted | Self::Foreign(_) => None,
            Self::Busy(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
                None
            }
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
