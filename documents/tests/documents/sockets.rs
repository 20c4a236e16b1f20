//! Answers over a real connection, to a client that reads when it has written all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tidemark_documents::UploadConfig;

use super::world::{LIMIT, World};

const BYTES: usize = 8 << 20;

/// Writes all of a request, then reads the first line of the answer.
fn send(to: SocketAddr, head: &str, first: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let length = first.len() + BYTES;
    write!(stream, "POST /v1/documents{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(first)?;
    for _ in 0..BYTES >> 16 {
        stream.write_all(&[b'x'; 1 << 16])?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Sends in a thread of its own.
async fn answer(to: SocketAddr, head: &'static str, first: &'static [u8]) -> String {
    let sent = tokio::task::spawn_blocking(move || send(to, head, first)).await.unwrap();
    sent.unwrap_or_else(|error| panic!("{head}: the answer was lost: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_who_still_sends() {
    let world = World::new().await;
    let mut config = world.config();
    config.upload = UploadConfig { bytes_max: 1 << 20, types: vec!["text/*".to_owned()], ..UploadConfig::default() };
    let api = world.start(config).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (to, app) = (listener.local_addr().unwrap(), api.app.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let png = b"\x89PNG\r\n\x1a\n";
    let form = "?x=1 HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b";
    let part = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    for (head, first, status) in [
        ("?name=a HTTP/1.1", b"".as_slice(), "413"),
        ("?name=a&x=1 HTTP/1.1", b"", "400"),
        ("?name=a HTTP/1.1\r\nContent-Digest: sha-256=:no:", b"", "413"),
        (" HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", b"", "415"),
        (form, part, "400"),
        (" HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b", part, "413"),
        ("?name=a HTTP/1.1\r\nIdempotency-Key: ", png, "400"),
    ] {
        let line = answer(to, head, first).await;
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {line:?}");
    }
    server.abort();
}
