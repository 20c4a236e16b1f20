//! A TCP proxy in front of a server, to do to its clients what a network does: wait, lose, cut, and come back.
//!
//! Each direction of a connection is read by one thread and written by another, with a bounded queue between them, so that a
//! latency delays bytes without slowing their rate. With an [`Intercept`] the client's side is read as Kafka requests, each of
//! which may be kept back.

mod kafka;
mod pipe;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use kafka::{Action, Intercept, Request};

/// How long a connection to the server may take: it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A proxy on a free loopback port. Dropped, it takes no more connections; those that are open end with their server.
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
}

/// What all connections of a proxy share.
pub(crate) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    upstream: Option<String>,
    cut: bool,
    frozen: bool,
    latency: Duration,
    intercept: Option<Arc<Intercept>>,
    open: Vec<(TcpStream, TcpStream)>,
    closed: bool,
}

impl Proxy {
    /// Listens; connections are refused until [`Proxy::forward_to`].
    ///
    /// # Errors
    /// No loopback port is free.
    pub fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::free_port()?))?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link { state: Mutex::new(State::default()), changed: Condvar::new() });
        let accepting = Arc::clone(&link);
        std::thread::Builder::new().name("proxy".into()).spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, link })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the server's `host:port`.
    pub fn forward_to(&self, upstream: &str) {
        self.link.change(|state| state.upstream = Some(upstream.to_owned()));
    }

    /// Closes every connection and refuses new ones, until called with false.
    pub fn cut(&self, cut: bool) {
        self.link.change(|state| {
            state.cut = cut;
            if cut {
                state.open.drain(..).for_each(|(client, server)| close(&client, &server));
            }
        });
    }

    /// Keeps connections and forwards nothing in either direction, until called with false; what came meanwhile goes on then.
    pub fn freeze(&self, frozen: bool) {
        self.link.change(|state| state.frozen = frozen);
    }

    /// Delays every byte by so much, in each direction.
    pub fn delay(&self, latency: Duration) {
        self.link.change(|state| state.latency = latency);
    }

    /// Reads clients as Kafka clients, on connections made from now on, and asks what to do with each request.
    pub fn intercept(&self, intercept: impl Fn(&Request) -> Action + Send + Sync + 'static) {
        self.link.change(|state| state.intercept = Some(Arc::new(intercept)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.change(|state| {
            state.closed = true;
            state.open.drain(..).for_each(|(client, server)| close(&client, &server));
        });
        // Wakes the accepting thread, which then ends.
        drop(TcpStream::connect(self.address));
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// How long bytes are delayed; waits while the link is frozen.
    fn latency(&self) -> Duration {
        let mut state = self.lock();
        while state.frozen && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.latency
    }
}

fn accept(listener: &TcpListener, link: &Arc<Link>) {
    for client in listener.incoming() {
        let (upstream, intercept) = {
            let state = link.lock();
            if state.closed {
                return;
            }
            (state.upstream.clone().filter(|_| !state.cut), state.intercept.clone())
        };
        let (Ok(client), Some(upstream)) = (client, upstream) else { continue };
        // A client that cannot be served sees its connection closed, as it would without the proxy.
        let _ = join(client, &upstream, link, intercept);
    }
}

/// Connects a client with the server.
fn join(client: TcpStream, upstream: &str, link: &Arc<Link>, intercept: Option<Arc<Intercept>>) -> io::Result<()> {
    let address = upstream.parse().map_err(io::Error::other)?;
    let server = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let mut state = link.lock();
        state.open.retain(|(client, _)| client.peer_addr().is_ok());
        state.open.push((client.try_clone()?, server.try_clone()?));
    }
    pipe::start(&client, &server, link, intercept)?;
    pipe::start(&server, &client, link, None)
}

/// Ends both sides; threads that read or write them come back.
fn close(a: &TcpStream, b: &TcpStream) {
    // Errors mean that it is closed already.
    let _ = a.shutdown(Shutdown::Both);
    let _ = b.shutdown(Shutdown::Both);
}
