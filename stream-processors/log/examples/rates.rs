//! How fast the embedded log takes and gives records: `cargo run --release -p tidemark-log --example rates [DIR]`.
//!
//! Records of 100 bytes with a key of 16, four partitions. Prints durable appends for several sizes of commit, with one and
//! with four writers, then reads everything back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Cleanup, Log, Outgoing, TopicPartition, TopicSpec, system_clock};

const PARTITIONS: u32 = 4;

fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let dir = Path::new(&base).join(format!("tidemark-log-rates-{}", std::process::id()));
    let log = EmbeddedLog::open(&dir, system_clock()).unwrap();
    for (writers, batch, commits) in [(1, 1, 500), (4, 1, 500), (1, 1_000, 1_000), (4, 1_000, 500), (1, 10_000, 200)] {
        measure(&log, writers, batch, commits);
    }
    drop(log);
    let opening = Instant::now();
    let log = EmbeddedLog::open(&dir, system_clock()).unwrap();
    println!("opened again in {:.0?}", opening.elapsed());
    drop(log);
    std::fs::remove_dir_all(dir).unwrap();
}

fn measure(log: &Arc<EmbeddedLog>, writers: usize, batch: u32, commits: u32) {
    let topic = format!("t{writers}-{batch}");
    let spec = TopicSpec { name: topic.clone(), partitions: PARTITIONS, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    let (total, began) = (writers as u64 * u64::from(batch) * u64::from(commits), Instant::now());
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (log, topic) = (log.clone(), topic.as_str());
            scope.spawn(move || append(&log, topic, &format!("w{writer}"), batch, commits));
        }
    });
    report(&format!("append, {writers} writers, commits of {batch}"), total, began.elapsed());
    let places: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    assert_eq!(log.offsets(&places, At::StableEnd).unwrap().iter().sum::<i64>() as u64, total);
    let mut reader = log.reader(&places.into_iter().map(|p| (p, 0)).collect::<Vec<_>>()).unwrap();
    let (mut read, mut bytes, began) = (0, 0, Instant::now());
    while read < total {
        let poll = Duration::from_secs(1);
        reader
            .poll(poll, &mut |batch| {
                read += batch.records.len() as u64;
                bytes += batch.records.iter().map(|r| r.value.map_or(0, <[u8]>::len)).sum::<usize>();
            })
            .unwrap();
    }
    assert_eq!(bytes as u64, total * 100);
    report("  read", total, began.elapsed());
}

fn append(log: &EmbeddedLog, topic: &str, id: &str, batch: u32, commits: u32) {
    let mut producer = log.producer(id).unwrap();
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = [0_u8; 100];
    for _ in 0..commits {
        let mut send = |sink: &mut dyn tidemark_log::Sink| {
            for n in 0..batch {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                value[..8].copy_from_slice(&word.to_be_bytes());
                value[50..58].copy_from_slice(&word.to_le_bytes());
                let (key, value) = (Some(&value[..16]), Some(&value[..]));
                sink.send(Outgoing { topic, partition: n % PARTITIONS, key, value, headers: &[] })?;
            }
            Ok(())
        };
        producer.commit(&mut send).unwrap();
    }
}

fn report(what: &str, records: u64, took: Duration) {
    println!("{what}: {records} in {took:.2?}, {:.0} records/s", records as f64 / took.as_secs_f64());
}
