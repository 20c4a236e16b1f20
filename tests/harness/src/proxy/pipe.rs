//! One direction of a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::kafka::{Action, Intercept, Request};
use super::{Link, close};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pieces that may wait to be written: a slow reader slows its sender down, as TCP does.
const QUEUED_MAX: usize = 256;

/// A piece and the time it came.
type Piece = (Instant, Vec<u8>);

/// Forwards `from` to `to` until either ends, then closes both.
pub(super) fn start(
    from: &TcpStream,
    to: &TcpStream,
    link: &Arc<Link>,
    intercept: Option<Arc<Intercept>>,
) -> io::Result<()> {
    let (queue, pieces) = sync_channel(QUEUED_MAX);
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    let (reading, writing) = ((from.try_clone()?, to.try_clone()?), (from, to));
    let link = Arc::clone(link);
    let thread = || std::thread::Builder::new().name("proxy pipe".into());
    thread().spawn(move || {
        let (from, to) = reading;
        // The end of a connection is no error of the proxy's.
        let _ = match intercept {
            Some(intercept) => read_requests(&from, &queue, &intercept),
            None => read_chunks(&from, &queue),
        };
        drop(queue);
        let _ = from.shutdown(std::net::Shutdown::Read);
        // The writer closes what is left once it has written all.
        drop(to);
    })?;
    thread().spawn(move || {
        let (from, to) = writing;
        let _ = write(&to, &pieces, &link);
        close(&from, &to);
    })?;
    Ok(())
}

fn read_chunks(mut from: &TcpStream, queue: &SyncSender<Piece>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { return Ok(()) };
        queue.send((Instant::now(), chunk.to_vec())).map_err(io::Error::other)?;
    }
}

fn read_requests(from: &TcpStream, queue: &SyncSender<Piece>, intercept: &Arc<Intercept>) -> io::Result<()> {
    loop {
        let request = Request::read(from)?;
        match intercept(&request) {
            Action::Forward => queue.send((Instant::now(), request.into_bytes())).map_err(io::Error::other)?,
            Action::Keep => {}
            Action::KeepAndCut => return Ok(()),
        }
    }
}

fn write(mut to: &TcpStream, pieces: &Receiver<Piece>, link: &Link) -> io::Result<()> {
    while let Ok((came, piece)) = pieces.recv() {
        let latency = link.latency();
        if latency > Duration::ZERO {
            std::thread::sleep((came + latency).saturating_duration_since(Instant::now()));
        }
        to.write_all(&piece)?;
    }
    Ok(())
}
