//! Questions a server that is up can answer, asked without a client library or an executor.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Connect and read timeout of every probe.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to `host:port`.
pub(crate) fn connect(address: &str) -> Result<TcpStream, String> {
    let socket: SocketAddr = address
        .to_socket_addrs()
        .map_err(|e| format!("{address} is no address: {e}"))?
        .next()
        .ok_or_else(|| format!("{address} has no address"))?;
    let stream = TcpStream::connect_timeout(&socket, TIMEOUT).map_err(|e| format!("connecting to {address}: {e}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// Yes when something accepts connections at `host:port`.
pub(crate) fn port_open(address: &str) -> Result<(), String> {
    connect(address).map(drop)
}

/// Yes when a GET of `url` is answered with a 2xx status.
pub(crate) fn http_ok(url: &str) -> Result<(), String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
    ureq::Agent::new_with_config(config).get(url).call().map(drop).map_err(|e| e.to_string())
}
