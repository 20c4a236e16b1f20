//! A large upload takes little memory, however fast it comes. A test binary of its own: nothing else is in the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "documents/faulty.rs"]
#[allow(dead_code, reason = "shared with the other test binary")]
mod faulty;
#[path = "documents/responder.rs"]
#[allow(dead_code, reason = "shared with the other test binary")]
mod responder;
#[path = "documents/world.rs"]
#[allow(dead_code, reason = "shared with the other test binary")]
mod world;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use world::World;

const MIB: u64 = 1 << 20;
/// Bytes of the upload.
const BYTES: u64 = 512 * MIB;
/// What it may take.
const GROWTH_MAX: u64 = 32 * MIB;

/// Peak resident memory of this process, since it was last asked to forget.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn forget() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Pieces that are always ready, as from a client that is faster than the disk.
fn pieces(head: &str, tail: &str, seed: u8) -> Body {
    let contents = (0..BYTES / (64 << 10)).map(move |i| {
        let mut piece = vec![seed; 64 << 10];
        piece[..8].copy_from_slice(&i.to_be_bytes().map(|byte| byte | 0x20));
        Bytes::from(piece)
    });
    let (head, tail) = (Bytes::from(head.to_owned()), Bytes::from(tail.to_owned()));
    let all = std::iter::once(head).chain(contents).chain(std::iter::once(tail)).map(Ok::<_, std::io::Error>);
    Body::from_stream(futures::stream::iter(all))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_gigabyte_streams_in_little_memory() {
    let world = World::new().await;
    let api = world.api().await;
    api.put("first", "so that everything is there").await;
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n";
    let multipart = Request::post("/v1/documents").header("content-type", "multipart/form-data; boundary=b");
    let requests = [
        Request::post("/v1/documents?name=big").body(pieces("", "", b'x')).unwrap(),
        multipart.body(pieces(head, "\r\n--b--\r\n", b'y')).unwrap(),
    ];
    for request in requests {
        forget();
        let before = peak();
        let answer = api.send(request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["documents"][0]["bytes"], BYTES);
        let grown = peak().saturating_sub(before);
        println!("{} MiB uploaded, memory grew by {} KiB", BYTES / MIB, grown >> 10);
        assert!(grown <= GROWTH_MAX, "memory grew by {} MiB", grown / MIB);
    }
}
