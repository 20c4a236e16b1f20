//! Connections that say little, late, or nothing.

use crate::target::{GOOD, JSON, open, status};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Reaped by then.
const REAPED: Duration = Duration::from_secs(10);

/// Whether the server has closed it; what it said before is read.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_thousand_slow_connections_are_reaped_while_others_are_answered() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let raised = rustix::process::Rlimit { current: limit, maximum: limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let target = open();
    let post = format!("POST /v1/flows HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 1000\r\n\r\n{{");
    let chunked =
        format!("POST /v1/flows HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n3e8\r\n{{");
    let ways: [&[u8]; 5] = [b"", b"GET /v1/hours HT", b"GET / HTTP/1.1\r\nx: ", post.as_bytes(), chunked.as_bytes()];
    let mut slow: Vec<TcpStream> = (0..1_000)
        .map(|n: usize| {
            let mut stream = target.connect();
            stream.write_all(ways[n % ways.len()]).unwrap();
            if n % 50 == 1 {
                stream.shutdown(Shutdown::Write).unwrap(); // half open
            }
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let mut slowest = Duration::ZERO;
    let connected = Instant::now();
    while connected.elapsed() < REAPED {
        // Those that have begun go on, a byte a second.
        for (n, stream) in slow.iter_mut().enumerate().filter(|(n, _)| n % ways.len() > 0 && n % 50 != 1) {
            let _ = stream.write(if n % 2 == 0 { b"a" } else { b" " });
        }
        for _ in 0..10 {
            let asked = Instant::now();
            let answer = target.post(JSON, GOOD);
            assert_eq!(status(&answer), Some(202), "{answer}");
            slowest = slowest.max(asked.elapsed());
        }
        std::thread::sleep(Duration::from_secs(1).min(REAPED.saturating_sub(connected.elapsed())));
    }
    // Where ordinary requests are slow, the machine is, and so is who closes a thousand connections.
    let (mut open, until) = (slow.len(), connected + REAPED + slowest * 10);
    while open > 0 {
        let ways = slow.iter_mut().enumerate().filter_map(|(n, stream)| (!is_closed(stream)).then_some(n % ways.len()));
        let ways: Vec<usize> = ways.collect();
        open = ways.len();
        assert!(open == 0 || Instant::now() < until, "{open} are still open after {REAPED:?}, of the ways {ways:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(slowest < Duration::from_secs(5), "an ordinary request took {slowest:?}");
    target.assert_well();
}

/// Nobody reads what it is sent: the connection ends, and the memory with it.
#[test]
fn readers_that_stop_reading_cost_little() {
    let target = open();
    let ask = b"GET /dashboard/main.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2_000);
    let held: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = target.connect();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&ask);
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    target.assert_well();
    drop(held);
}
