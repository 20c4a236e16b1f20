//! What is particular to the CQL store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scylla::client::session_builder::SessionBuilder;
use tidemark_views::cql::{CqlConfig, CqlViews, Credentials};
use tidemark_views::{Error, ViewStore};

use crate::sample::*;

pub(crate) struct Fixture {
    pub(crate) store: Arc<CqlViews>,
    address: String,
    keyspace: String,
}

pub(crate) async fn open() -> Fixture {
    let address = std::env::var("TIDEMARK_TEST_CQL").expect("address");
    let keyspace = tidemark_harness::unique("views");
    let config = CqlConfig {
        keyspace: keyspace.clone(),
        ..CqlConfig::new(vec![address.clone()], 1)
    };
    Fixture {
        store: CqlViews::connect(config).await.unwrap(),
        address,
        keyspace,
    }
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
    entry.opened_at = now() - WEEK + 1_000_000;
    fixture.store.put_ledger(&spec, &[entry]).await.unwrap();
    fixture
        .store
        .put_progress(&spec, &progress(0, 0, 1))
        .await
        .unwrap();
    let session = SessionBuilder::new()
        .known_node(&fixture.address)
        .build()
        .await
        .unwrap();
    for (table, column) in [
        ("short", "bytes"),
        ("ledger", "entry"),
        ("progress", "entry"),
    ] {
        let text = format!(
            "SELECT TTL({column}), WRITETIME({column}) FROM {}.{table}",
            fixture.keyspace
        );
        let rows = session
            .query_unpaged(text, ())
            .await
            .unwrap()
            .into_rows_result()
            .unwrap();
        let (ttl, timestamp) = rows.single_row::<(Option<i32>, i64)>().unwrap();
        assert_eq!(timestamp, 1, "the revision");
        match ttl {
            Some(ttl) => assert!((900..=1_000).contains(&ttl), "{table} lives {ttl} s"),
            None => assert_eq!(table, "progress"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_finds_what_the_first_made() {
    let fixture = open().await;
    let (spec, written) = (view("kept"), row(key("a", 0, 0), values(1, 1, ""), 0, 1));
    fixture.store.create(&spec).await.unwrap();
    fixture
        .store
        .put_rows(&spec, std::slice::from_ref(&written))
        .await
        .unwrap();
    let config = CqlConfig {
        keyspace: fixture.keyspace.clone(),
        ..CqlConfig::new(vec![fixture.address.clone()], 1)
    };
    let second = CqlViews::connect(config).await.unwrap();
    assert_eq!(
        second.rows(&spec, &all(partition())).await.unwrap(),
        [written]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_make_the_same_tables_at_once() {
    let fixture = open().await;
    let keyspace = tidemark_harness::unique("views");
    let starts = (0..4).map(|_| {
        let config = CqlConfig {
            keyspace: keyspace.clone(),
            ..CqlConfig::new(vec![fixture.address.clone()], 1)
        };
        tokio::spawn(async move {
            let store = CqlViews::connect(config).await.unwrap();
            store.create(&view("raced")).await.unwrap();
            store
                .put_rows(
                    &view("raced"),
                    &[row(key("a", 0, 0), values(1, 1, ""), 0, 1)],
                )
                .await
                .unwrap();
            store
        })
    });
    for start in starts.collect::<Vec<_>>() {
        let rows = start
            .await
            .unwrap()
            .rows(&view("raced"), &all(partition()))
            .await
            .unwrap();
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
    assert!(
        begin.elapsed() <= Duration::from_secs(10),
        "took {:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_closed_port_and_a_silent_one_are_unavailable_within_ten_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    tokio::join!(
        unavailable(closed.to_string()),
        unavailable(silent.local_addr().unwrap().to_string())
    );
}

#[test]
fn passwords_are_not_printed() {
    let credentials = Credentials {
        user: "tidemark".into(),
        password: "hunter2".into(),
    };
    let config = CqlConfig {
        credentials: Some(credentials),
        ..CqlConfig::new(vec![], 1)
    };
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmp_paused() {
    let fixture = open().await;
    let spec = view("paused");
    let store = &fixture.store;
    store.create(&spec).await.unwrap();
    let pid = std::env::var("CPID").unwrap();
    let sig = |s: &str| assert!(std::process::Command::new("kill").args([s, &pid]).status().unwrap().success());
    let rows = [row(key("a", 0, 0), values(1, 1, ""), 0, 1), row(key("b", 0, 0), values(1, 1, ""), 0, 1)];
    sig("-STOP");
    for n in [0, 1, 2] {
        let begin = Instant::now();
        let r = store.put_rows(&spec, &rows[..n]).await;
        println!("{n} rows: {r:?} after {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    println!("read {:?} after {:?}", store.rows(&spec, &all(partition())).await, begin.elapsed());
    sig("-CONT");
    for _ in 0..50 { let begin = Instant::now(); let r = store.put_rows(&spec, &rows).await; println!("{r:?} {:?}", begin.elapsed()); if r.is_ok() { break } tokio::time::sleep(Duration::from_millis(200)).await; }
    if std::env::var("CKILL").is_ok() {
    sig("-KILL");
    for n in [1, 2] {
        let begin = Instant::now();
        let r = store.put_rows(&spec, &rows[..n]).await;
        println!("killed {n} rows: {r:?} after {:?}", begin.elapsed());
    }
    let _ = std::process::Command::new("bash").args(["-c", "cd /tmp/views-cass; nohup setsid bash run.sh >> out.log 2>&1 &"]).status();
    let begin = Instant::now();
    loop { let r = store.put_rows(&spec, &rows).await; if r.is_ok() { break } if begin.elapsed() > Duration::from_secs(60) { panic!("{r:?}") } tokio::time::sleep(Duration::from_millis(200)).await; }
    println!("back {:?}", begin.elapsed());
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows);
    }
}
