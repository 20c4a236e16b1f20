//! A backlog of a day, loaded before the job first starts and read at full speed by several threads: on a real broker and
//! registry every row is exact, and late is only who is late in its own partition. The threads run hours of event time
//! apart here, which is what makes engines that judge lateness after the shuffle lose on-time records.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_benches::observed::{self, Observed};
use tidemark_benches::reference::{Cell, Sums};
use tidemark_benches::servers::{Servers, job};
use tidemark_benches::stages::Stages;
use tidemark_benches::workload::{Settings, TENANT};
use tidemark_benches::{Outcome, Reference, Workload, load};
use tidemark_core::Job;
use tidemark_harness::Kafka;
use tidemark_jobs::{flows, platform};
use tidemark_views::local::LocalViews;
use tidemark_views::{RowPartition, RowQuery, Value, ViewStore};

const PARTITIONS: u32 = 4;
const THREADS: u32 = 2;
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn a_day_read_at_full_speed_is_exact() {
    let kafka = Kafka::start(&[]).unwrap();
    let servers = Servers { kafka: kafka.bootstrap().to_owned(), registry: tidemark_harness::registry() };
    let workload = Workload::new(Settings { records: 400_000, keys: 2_000, seed: 7, span_ms: 24 * flows::HOUR_MS });
    let reference = Reference::of(&workload, PARTITIONS, job().unwrap().spec());
    load(servers.log().unwrap().as_ref(), servers.registry().as_ref(), &workload, PARTITIONS).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let views = LocalViews::open(dir.path(), tidemark_log::system_clock()).unwrap();
    let store: Arc<dyn ViewStore> = Arc::clone(&views) as _;
    let job = job().unwrap();
    let shape = platform::shape(job.head());
    let stages =
        Stages::start(Arc::new(job), &shape, servers.log().unwrap(), servers.registry(), store, THREADS).unwrap();
    let results = servers.results().unwrap();
    let deadline = Instant::now() + DEADLINE;
    let done = results.wait(workload.records(), deadline).unwrap();
    assert!(done, "not committed: {:?}", stages.metrics().threads());

    let observed = results.read(deadline).unwrap();
    let outcome = Outcome::of(&reference, &observed);
    assert!(outcome.is_exact(), "{outcome}");
    // The workload is one that tells: there are late records, of every partition.
    assert!((0..PARTITIONS).all(|p| reference.late.iter().any(|i| i % u64::from(PARTITIONS) == u64::from(p))));

    assert_eq!(rows_of(views.as_ref(), &observed, deadline), reference.cells);
    stages.stop();
}

/// Every row of the view store, once it has caught up with the view topic.
fn rows_of(views: &dyn ViewStore, observed: &Observed, deadline: Instant) -> HashMap<Cell, Sums> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let view = job().unwrap().head().columns().view.clone();
    let behind = || {
        let there = runtime.block_on(views.progress(&view)).unwrap();
        observed.progress.values().any(|want| {
            let same = |got: &&tidemark_schemas::engine::Progress| got.merge_partition == want.merge_partition;
            there.iter().find(same).is_none_or(|got| observed::read(got) < observed::read(want))
        })
    };
    while behind() {
        assert!(Instant::now() < deadline, "the view store has not caught up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut rows = HashMap::new();
    for &(partition, window_start) in observed.ledgers.keys() {
        let partition = RowPartition { tenant: TENANT.into(), window_start, merge_partition: partition as i32 };
        let query = RowQuery { partition, prefix: vec![], after: None, limit: 100_000 };
        rows.extend(runtime.block_on(views.rows(&view, &query)).unwrap().iter().map(cell));
    }
    rows
}

fn cell(row: &tidemark_views::Row) -> (Cell, Sums) {
    let [Value::Text(src_app), Value::Text(dest_app), Value::Text(vpc_id)] = &row.clustering[..] else {
        panic!("{row:?}")
    };
    let [Value::Integer(bytes_rx), Value::Integer(bytes_tx), Value::Long(records)] = row.values[..] else {
        panic!("{row:?}")
    };
    let [src_app, dest_app, vpc_id] = [src_app, dest_app, vpc_id].map(String::clone);
    (Cell { window_start: row.partition.window_start, src_app, dest_app, vpc_id }, Sums { records, bytes_tx, bytes_rx })
}
