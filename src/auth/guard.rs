//! One layer around every route: who asks, what he may, how much at a time.

use super::body::{Answer, Paced};
use super::clients::Clients;
use super::credentials::{self, Credentials};
use super::keyring::{self, Keyring};
use super::refusal::Refusal;
use super::roles::{self, Caller, Verdict};
use super::token::Token;
use super::{origin, session};
use crate::server::Peer;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// Requests of one client under way: of a token, or of an address that sent none.
const REQUESTS_MAX: usize = 256;
/// The same without tokens, where nearly all come from one address of this machine.
const OPEN_REQUESTS_MAX: usize = 1_024;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// The holder of a token.
    Token(Arc<str>),
    /// Whoever is at an address, as [`Peer::network`] has it.
    Address(IpAddr),
}

/// What stands before every route of a process.
#[derive(Debug)]
pub struct Guard {
    /// Without one the process listens on loopback alone and is open.
    keyring: Option<Arc<Keyring>>,
    clients: Arc<Clients<Client>>,
}

/// Why a process may not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be open to others than those on this machine.
    #[error(
        "{address} can be reached from other machines, and there are no tokens: whoever reaches it could read and write \
         everything. Make a token, then start with it:\n\n    \
         tidemark token new admin --role publish --role query --role ops --role registry --role work --role admin --file tokens.toml\n    \
         tidemark {command} --listen {address} --tokens tokens.toml\n\nor listen on 127.0.0.1 alone"
    )]
    Open {
        /// Where it would listen.
        address: SocketAddr,
        /// What was to be run.
        command: String,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
}

impl Guard {
    /// For a process that listens on `address` with the tokens in `tokens`; `command` is what was to be run.
    ///
    /// # Errors
    /// There are no tokens and the address is not loopback, or the tokens cannot be read.
    pub fn open(tokens: Option<&Path>, address: SocketAddr, command: &str) -> Result<Arc<Self>, Error> {
        let keyring = match tokens {
            Some(path) => Some(Keyring::open(path)?),
            None if address.ip().to_canonical().is_loopback() => None,
            None => return Err(Error::Open { address, command: command.to_owned() }),
        };
        let limit = if keyring.is_some() { REQUESTS_MAX } else { OPEN_REQUESTS_MAX };
        Ok(Arc::new(Self { keyring, clients: Clients::new(limit) }))
    }

    /// Puts the guard before every route of `router`, and adds the pages to sign in.
    pub fn protect(self: &Arc<Self>, router: Router) -> Router {
        router.merge(session::routes(self)).layer(middleware::from_fn_with_state(Arc::clone(self), pass))
    }

    /// Reads the tokens again whenever they change, for ever. Returns at once if there are none.
    pub async fn follow(self: Arc<Self>) {
        if let Some(keyring) = &self.keyring {
            Arc::clone(keyring).follow().await;
        }
    }

    /// What this process sends as `Authorization` when it publishes to itself; `None` if nothing is needed.
    pub fn own_authorization(&self) -> Option<String> {
        self.keyring.as_ref().map(|keyring| format!("Bearer {}", keyring.own().reveal()))
    }

    /// Whether tokens are needed here.
    pub(super) fn is_closed(&self) -> bool {
        self.keyring.is_some()
    }

    /// Whose token it is, if it is good.
    pub(super) fn find(&self, token: &Token) -> Option<Caller> {
        self.keyring.as_ref()?.find(token)
    }

    /// Who asks, with his token, and whether he may.
    fn judge(&self, request: &Request) -> Result<Option<(Caller, Token)>, Refusal> {
        let (method, headers) = (request.method(), request.headers());
        if !self.is_closed() {
            return origin::check_open(method, request.uri(), headers).map(|()| None).map_err(Refusal::Foreign);
        }
        let carried = credentials::of(method, request.uri().path(), headers);
        let caller = match &carried {
            Credentials::Token(token) => self.find(token).map(|caller| (caller, token.clone())),
            Credentials::None | Credentials::Malformed => None,
        };
        match roles::decide(method, route(request), caller.as_ref().map(|(caller, _)| caller)) {
            Verdict::Allow => Ok(caller),
            Verdict::Unauthorized if carried == Credentials::None => Err(Refusal::NoToken),
            Verdict::Unauthorized => Err(Refusal::BadToken),
            Verdict::Forbidden([]) => Err(Refusal::Unlisted),
            Verdict::Forbidden(roles) => Err(Refusal::Roles(roles)),
        }
    }
}

/// The path as the router has it.
fn route(request: &Request) -> Option<&str> {
    // What a nested router does not know matches its tail, whose name axum keeps to itself.
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    matched.filter(|path| !path.contains("{*__private"))
}

async fn pass(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let address = request.extensions().get::<Peer>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Peer::network);
    let judged = guard.judge(&request);
    let client = match &judged {
        Ok(Some((caller, _))) => Client::Token(Arc::clone(&caller.name)),
        _ => Client::Address(address),
    };
    let Some(place) = guard.clients.enter(client.clone()) else {
        return refuse(&guard, &request, &client, Refusal::Busy(guard.clients.limit()));
    };
    let caller = match judged {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&guard, &request, &client, refusal),
    };
    let is_public = route(&request) == Some("/v1/health") && caller.is_none() && guard.is_closed();
    // Nothing behind this layer has a use for them, so nothing can log them.
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(header::COOKIE);
    let streamed = request.method() == Method::POST && route(&request) == Some("/v1/documents");
    let mut response = next.run(request.map(|body| Paced::over(body, streamed))).await;
    if is_public {
        response = without_reasons(response.status());
    }
    harden(response.headers_mut(), guard.is_closed());
    let revoked = match (&guard.keyring, caller) {
        (Some(keyring), Some((_, token))) if is_stream(&response) => Some(Arc::clone(keyring).revoked(token)),
        _ => None,
    };
    response.map(|body| Answer::over(body, revoked.map(|revoked| Box::pin(revoked) as _), place))
}

fn refuse(guard: &Guard, request: &Request, client: &Client, refusal: Refusal) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let (status, why) = (refusal.status().as_u16(), refusal.code());
    tracing::info!(target: "tidemark::auth", %method, path, ?client, status, why, "refused");
    let mut response = if refusal.status() == StatusCode::UNAUTHORIZED && is_page(request) {
        Redirect::to(session::PAGE).into_response()
    } else {
        refusal.into_response()
    };
    harden(response.headers_mut(), guard.is_closed());
    response
}

/// Whether somebody is looking at it.
fn is_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    request.method() == Method::GET && accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

fn is_stream(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/event-stream"))
}

/// What a probe learns.
fn without_reasons(status: StatusCode) -> Response {
    let word = if status.is_success() { "ready" } else { "not ready" };
    (status, axum::Json(serde_json::json!({ "status": word }))).into_response()
}

/// Headers that every answer has, unless its route knows better.
fn harden(headers: &mut HeaderMap, closed: bool) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if closed {
        set(header::CACHE_CONTROL, "no-store");
        privately(headers);
    }
}

/// An answer to one caller is not to be kept for another.
fn privately(headers: &mut HeaderMap) {
    let directive = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !directive.contains("no-store") && !directive.contains("private") {
        if let Ok(value) = HeaderValue::try_from(format!("private, {directive}")) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        headers.append(header::VARY, HeaderValue::from_static("authorization, cookie"));
    }
}

#[cfg(test)]
mod tests;
