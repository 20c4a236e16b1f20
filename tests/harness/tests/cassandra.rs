//! The CQL store: starts, answers, is killed and paused, restarts with its data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use tidemark_harness::{Cassandra, cassandra, cql, unique};

const KEYSPACE: &str = "WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";

async fn session(address: &str) -> Session {
    SessionBuilder::new().known_node(address).build().await.unwrap()
}

async fn count(address: &str) -> i64 {
    let rows = session(address).await.query_unpaged("SELECT count(*) FROM k.t", ()).await.unwrap();
    rows.into_rows_result().unwrap().single_row::<(i64,)>().unwrap().0
}

#[tokio::test]
async fn keeps_acknowledged_rows_over_kill_and_pause() {
    let mut own = Cassandra::start().unwrap();
    let address = own.address().to_owned();
    cql(&address, &format!("CREATE KEYSPACE k {KEYSPACE}")).unwrap();
    cql(&address, "CREATE TABLE k.t (id int PRIMARY KEY)").unwrap();
    let open = session(&address).await;
    for id in 0..50 {
        open.query_unpaged("INSERT INTO k.t (id) VALUES (?)", (id,)).await.unwrap();
    }
    drop(open);

    own.kill();
    assert!(cql(&address, "SELECT id FROM k.t").is_err(), "still answers after kill");
    own.restart().unwrap();
    assert_eq!(count(&address).await, 50);

    own.pause();
    assert!(cql(&address, "SELECT id FROM k.t").is_err(), "a paused store answered");
    own.resume();
    assert_eq!(count(&address).await, 50);
}

#[test]
fn is_shared_and_says_why_it_refuses() {
    assert_eq!(cassandra(), cassandra());
    let keyspace = unique("harness");
    cql(&cassandra(), &format!("CREATE KEYSPACE {keyspace} {KEYSPACE}")).unwrap();
    let refused = cql(&cassandra(), &format!("SELECT x FROM {keyspace}.absent")).unwrap_err().to_string();
    assert!(refused.contains("absent"), "{refused}");
}
