//! What is particular to the CQL store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scylla::client::session_builder::SessionBuilder;
use tidemark_views::cql::{CqlConfig, CqlViews, Credentials};
use tidemark_views::{Error, LEDGER_RETENTIONS, ViewStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::sample::*;

pub(crate) struct Fixture {
    pub(crate) store: Arc<CqlViews>,
    address: String,
    keyspace: String,
}

pub(crate) async fn open() -> Fixture {
    let address = tokio::task::spawn_blocking(tidemark_harness::cassandra).await.unwrap();
    let keyspace = tidemark_harness::unique("views");
    let config = CqlConfig { keyspace: keyspace.clone(), ..CqlConfig::new(vec![address.clone()], 1) };
    Fixture { store: CqlViews::connect(config).await.unwrap(), address, keyspace }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_ledger_live_for_what_is_left_of_the_retention() {
    let fixture = open().await;
    let spec = view("short");
    fixture.store.create(&spec).await.unwrap();
    let mut row = row(key("a", 0, 0), values(1, 1, ""), 0, 1);
    row.written_at = now() - WEEK + 1_000_000;
    fixture.store.put_rows(&spec, &[row]).await.unwrap();
    let mut entry = ledger(0, 0, 0, 1);
    entry.opened_at = now() - LEDGER_RETENTIONS * WEEK + 1_000_000;
    fixture.store.put_ledger(&spec, &[entry]).await.unwrap();
    fixture.store.put_progress(&spec, &progress(0, 0, 1)).await.unwrap();
    let session = SessionBuilder::new().known_node(&fixture.address).build().await.unwrap();
    for (table, column) in [("short", "bytes"), ("short_ledger", "entry"), ("short_progress", "entry")] {
        let text = format!("SELECT TTL({column}), WRITETIME({column}) FROM {}.{table}", fixture.keyspace);
        let rows = session.query_unpaged(text, ()).await.unwrap().into_rows_result().unwrap();
        let (ttl, timestamp) = rows.single_row::<(Option<i32>, i64)>().unwrap();
        assert_eq!(timestamp, 1, "the revision");
        match ttl {
            Some(ttl) => assert!((900..=1_000).contains(&ttl), "{table} lives {ttl} s"),
            None => assert_eq!(table, "short_progress"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_finds_what_the_first_made() {
    let fixture = open().await;
    let (spec, written) = (view("kept"), row(key("a", 0, 0), values(1, 1, ""), 0, 1));
    fixture.store.create(&spec).await.unwrap();
    fixture.store.put_rows(&spec, std::slice::from_ref(&written)).await.unwrap();
    let config = CqlConfig { keyspace: fixture.keyspace.clone(), ..CqlConfig::new(vec![fixture.address.clone()], 1) };
    let second = CqlViews::connect(config).await.unwrap();
    assert_eq!(second.rows(&spec, &all(partition())).await.unwrap(), [written]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_make_the_same_tables_at_once() {
    let fixture = open().await;
    let keyspace = tidemark_harness::unique("views");
    let starts = (0..4).map(|_| {
        let config = CqlConfig { keyspace: keyspace.clone(), ..CqlConfig::new(vec![fixture.address.clone()], 1) };
        tokio::spawn(async move {
            let store = CqlViews::connect(config).await.unwrap();
            store.create(&view("raced")).await.unwrap();
            store.put_rows(&view("raced"), &[row(key("a", 0, 0), values(1, 1, ""), 0, 1)]).await.unwrap();
            store
        })
    });
    for start in starts.collect::<Vec<_>>() {
        let rows = start.await.unwrap().rows(&view("raced"), &all(partition())).await.unwrap();
        assert_eq!(rows.len(), 1);
    }
}

async fn unavailable(address: String) {
    let begin = Instant::now();
    match CqlViews::connect(CqlConfig::new(vec![address.clone()], 1)).await {
        Err(Error::Unavailable(said)) => assert!(said.contains(&address), "{said}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("connected to nothing"),
    }
    assert!(begin.elapsed() <= Duration::from_secs(10), "took {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_closed_port_and_a_silent_one_are_unavailable_within_ten_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    tokio::join!(unavailable(closed.to_string()), unavailable(silent.local_addr().unwrap().to_string()));
}

#[test]
fn passwords_are_not_printed() {
    let credentials = Credentials { user: "tidemark".into(), password: "hunter2".into() };
    let config = CqlConfig { credentials: Some(credentials), ..CqlConfig::new(vec![], 1) };
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_falls_silent_is_unavailable_until_it_answers_again() {
    let fixture = open().await;
    let proxy = Proxy::start(fixture.address.clone()).await;
    let config = CqlConfig { keyspace: fixture.keyspace.clone(), ..CqlConfig::new(vec![proxy.address.clone()], 1) };
    let store = CqlViews::connect(config).await.unwrap();
    let (spec, rows) = (view("silent"), [row(key("a", 0, 0), values(1, 1, ""), 0, 1)]);
    store.create(&spec).await.unwrap();
    proxy.open.send_replace(false);
    let (begin, query) = (Instant::now(), all(partition()));
    let (write, read) = tokio::join!(store.put_rows(&spec, &rows), store.rows(&spec, &query));
    assert!(begin.elapsed() <= Duration::from_secs(10), "took {:?}", begin.elapsed());
    for result in [write, read.map(drop)] {
        assert!(matches!(&result, Err(Error::Unavailable(said)) if said.contains(&proxy.address)), "{result:?}");
    }
    proxy.open.send_replace(true);
    let begin = Instant::now();
    while let Err(error) = store.put_rows(&spec, &rows).await {
        assert!(begin.elapsed() < Duration::from_secs(30), "still {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.rows(&spec, &query).await.unwrap(), rows);
}

/// A way to the store that can be stopped: bytes wait while it is not open.
struct Proxy {
    address: String,
    open: watch::Sender<bool>,
}

impl Proxy {
    async fn start(store: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, gate) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&store).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(forward(from_client, to_server, gate.clone()));
                tokio::spawn(forward(from_server, to_client, gate.clone()));
            }
        });
        Self { address, open }
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        gate.wait_for(|open| *open).await.ok()?;
        to.write_all(&buffer[..n]).await.ok()?;
    }
}
