//! Serves HTTP: connections are bounded, in all and by address; slow headers and idle or dead connections are closed; a stop
//! waits for requests under way.

use crate::auth::clients::{Clients, Place};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time; more wait in the kernel's queue. Fewer where the process may not open twice as many files.
const CONNECTIONS_MAX: usize = 4_096;
/// Connections of one address ([`Peer::network`]), as a part of all: nobody can have them all. More are closed at once.
const ADDRESS_PART: usize = 2;
/// A client has so long for the header of a request, and a connection may be idle for so long between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of a request's line and headers; their number is bounded by hyper to 100. Over either the answer is 431.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// Bytes read ahead from a connection.
const READ_BYTES_MAX: usize = 64 << 10;
/// A client that takes nothing of its answer for so long, or is gone without a word, is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// A stop waits so long for requests under way.
const DRAIN: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection; every request has it as an extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// Whose connections and requests are counted together: an IPv4 address, or the 64-bit prefix of an IPv6 one, which is the
    /// least that one host or household is given. Any of its 2^64 addresses is there for the asking.
    pub fn network(&self) -> IpAddr {
        match self.0.ip().to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }
    }
}

/// Listens on `address`.
///
/// # Errors
/// The address is in use or not allowed; the error says what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot listen on {address}: {error}; stop what listens there, or give another address with --listen"
        )
    })
}

/// Serves `router` until `stop` is ready, then drains.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let http = http();
    let graceful = GracefulShutdown::new();
    let connections = connections_max();
    let permits = Arc::new(Semaphore::new(connections));
    let addresses = Clients::new(connections / ADDRESS_PART);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits, &addresses) => accepted,
            () = &mut stop => break,
        };
        let Some(Accepted { stream, peer, permit, place }) = accepted else { continue };
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            inner.call(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop((permit, place));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "some requests did not end in time and are cut off");
    }
}

/// HTTP/1 alone: telling the versions apart would wait for the first bytes without any limit.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX);
    http
}

/// Raises the process's limit on open files as far as it may, and leaves half of it to the log and the views.
fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = if raised.is_ok() { limit.maximum } else { limit.current };
    let half = files.and_then(|files| usize::try_from(files / 2).ok());
    half.map_or(CONNECTIONS_MAX, |half| half.clamp(1, CONNECTIONS_MAX))
}

struct Accepted {
    stream: TcpStream,
    peer: Peer,
    permit: OwnedSemaphorePermit,
    place: Place<IpAddr>,
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    addresses: &Arc<Clients<IpAddr>>,
) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            let peer = Peer(address);
            let place = addresses.enter(peer.network())?;
            let _ = stream.set_nodelay(true);
            // The kernel sees what we cannot: a peer that has gone, or takes nothing of what is sent.
            let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(SEND_TIMEOUT));
            Some(Accepted { stream, peer, permit, place })
        }
        Err(error) => {
            // Out of file descriptors, most likely: accepting again at once would spin.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn addresses_of_one_network_are_one() {
        let network = |ip: &str| Peer(SocketAddr::new(ip.parse().unwrap(), 1)).network().to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
        assert_eq!((network("10.0.0.7"), network("::ffff:10.0.0.7")), ("10.0.0.7".into(), "10.0.0.7".into()));
    }

    /// Closed in the limit: a connection that says nothing, and one that stops in its header.
    #[tokio::test]
    async fn silent_and_slow_connections_are_closed() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Router::new(), std::future::pending()));
        let closes = async |said: &'static [u8]| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            let limit = HEADER_TIMEOUT + Duration::from_secs(5);
            tokio::time::timeout(limit, stream.read_to_end(&mut answer)).await.is_ok()
        };
        let (silent, slow, sniffed) = tokio::join!(closes(b""), closes(b"GET / HT"), closes(b"PRI * HT"));
        assert_eq!((silent, slow, sniffed), (true, true, true));
    }
}
