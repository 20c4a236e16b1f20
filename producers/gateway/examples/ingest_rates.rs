//! Rates of durable ingest on this machine, beside the raw rate of its disk, all in one run:
//! `cargo run --release -p tidemark-gateway --example ingest_rates [DIR]`.
//!
//! Workload: flows of distinct times as NDJSON over HTTP on loopback, first in batches of 1,000 on four connections while the
//! log is away, then the drain into an embedded log on the same disk, then batches with the log there, then single records on
//! one connection. Publishers, gateway and log share the machine's processors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_gateway::{FLOWS_TOPIC, Gateway, GatewayConfig, SpoolConfig};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{Cleanup, Log, TopicSpec, system_clock};
use tidemark_schemas::registry::{Error, Registry};

const BATCH: usize = 1_000;
const CONNECTIONS: usize = 4;
const RUN: Duration = Duration::from_secs(8);
const SINGLES: usize = 1_000;

struct AnyRegistry;

impl Registry for AnyRegistry {
    fn register(&self, _subject: &str, _schema: &str) -> Result<u32, Error> {
        Ok(1)
    }
    fn schema(&self, _id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(None)
    }
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from).join("ingest-rates");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    raw(&dir, "before");
    let log = EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap();
    let config = GatewayConfig::new(SpoolConfig::new(dir.join("spool")));
    let gateway =
        Gateway::start(Arc::clone(&log) as _, Arc::new(AnyRegistry), config, system_clock(), Arc::new(NoSpans))
            .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(serve(Arc::clone(&gateway)));
    while gateway.ready().is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    batches(address, "the log away");
    let spool = gateway.status()["spool"].clone();
    let (records, bytes) = (spool["records"].as_u64().unwrap(), spool["bytes"].as_u64().unwrap());
    let hour = bytes as f64 / records as f64 * 50_000.0 * 3_600.0 / 1e9;
    println!(
        "spool: {} bytes a record; computed, not measured: {hour:.1} GB for an hour at 50,000 records/s",
        bytes / records
    );
    log.create_topics(&[flows()]).unwrap();
    drain(&gateway, records);
    batches(address, "the log there");
    let left = gateway.status()["spool"]["records"].as_u64().unwrap();
    println!("  {left} of them were not published yet at the end");
    drain(&gateway, left);
    singles(address);
    raw(&dir, "after");
    gateway.stop();
    let _ = std::fs::remove_dir_all(&dir);
}

fn flows() -> TopicSpec {
    TopicSpec { name: FLOWS_TOPIC.into(), partitions: 4, cleanup: Cleanup::Delete, retention_ms: Some(86_400_000) }
}

async fn serve(gateway: Arc<Gateway>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, tidemark_gateway::router(gateway)).await });
    address
}

/// What the disk does with nothing else: append 4 KiB, fdatasync.
fn raw(dir: &Path, when: &str) {
    let path = dir.join("raw");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
    let times = (0..1_000).map(|at| {
        let began = Instant::now();
        file.write_all_at(&[at as u8; 4_096], at * 4_096).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    percentiles(&format!("raw append of 4 KiB + fdatasync, {when}"), times.collect());
    std::fs::remove_file(path).unwrap();
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    println!("{what}: p50 {:?}, p99 {:?}, mean {mean:?}, {:.0}/s", at(50), at(99), 1.0 / mean.as_secs_f64());
}

fn batches(address: SocketAddr, when: &str) {
    let began = Instant::now();
    let send = |_| {
        std::thread::spawn(move || {
            let (mut connection, body) = (Connection::open(address), body(BATCH));
            let mut times = Vec::new();
            while began.elapsed() < RUN {
                times.push(connection.post(&body));
            }
            times
        })
    };
    let threads: Vec<_> = (0..CONNECTIONS).map(send).collect();
    let times: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let rate = (times.len() * BATCH) as f64 / began.elapsed().as_secs_f64();
    println!("batches of {BATCH} on {CONNECTIONS} connections, {when}: {rate:.0} durable records/s");
    percentiles("  a batch", times);
}

fn drain(gateway: &Gateway, records: u64) {
    let began = Instant::now();
    while gateway.status()["spool"]["records"] != 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("drain into the embedded log: {:.0} records/s", records as f64 / began.elapsed().as_secs_f64());
}

fn singles(address: SocketAddr) {
    let (mut connection, body) = (Connection::open(address), body(1));
    percentiles("a single record on one connection", (0..SINGLES).map(|_| connection.post(&body)).collect());
}

fn body(records: usize) -> Vec<u8> {
    let line = |at| {
        let (app, time) = (at % 100, 1_769_860_800_000_i64 + at as i64);
        format!(
            "{{\"src_app\":\"app-{app}\",\"dest_app\":\"db-{app}.internal:5432\",\"vpc_id\":\"vpc-{}\",\
             \"observed_at\":{time},\"bytes_tx\":{},\"bytes_rx\":{}}}\n",
            app % 5,
            at * 37,
            at * 101
        )
    };
    (0..records).map(line).collect::<String>().into_bytes()
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn post(&mut self, body: &[u8]) -> Duration {
        let began = Instant::now();
        let head = format!(
            "POST /v1/flows HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
        let (mut line, mut length, mut first) = (String::new(), 0, true);
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            assert!(!std::mem::take(&mut first) || line.contains(" 202 "), "{line}");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        began.elapsed()
    }
}
