//! Flow records with their exact hourly sums, computed apart from the platform.

use crate::process::{Answer, eventually, get, post};
use std::collections::BTreeMap;

/// A flow as a publisher knows it.
#[derive(Debug, Clone)]
pub struct Flow {
    pub src_app: String,
    pub dest_app: String,
    pub vpc_id: String,
    pub observed_at: i64,
    pub bytes_tx: i64,
    pub bytes_rx: i64,
}

pub const HOUR_MS: i64 = 3_600_000;
/// The first hour of the flows made here: 2020-01-01T00:00Z.
pub const FIRST_HOUR: i64 = 438_288;

/// `count` flows over `hours` hours; the second half of the hours comes before the first, so that half of them arrive
/// after newer data. Different `seed`s give different flows.
pub fn make(count: usize, hours: i64, seed: u64) -> Vec<Flow> {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let flow = |n: usize| {
        let hour = (n as i64 * hours / count as i64 + hours / 2) % hours;
        Flow {
            src_app: format!("app, \"{}\"", random(7)),
            dest_app: format!("svc-ü{}:443", random(11)),
            vpc_id: format!("vpc-{}", random(3)),
            observed_at: (FIRST_HOUR + hour) * HOUR_MS + random(HOUR_MS as u64) as i64,
            bytes_tx: random(1 << 20) as i64,
            bytes_rx: if random(50) == 0 { (1 << 53) - 1 } else { random(1 << 30) as i64 },
        }
    };
    (0..count).map(flow).collect()
}

pub fn ndjson(flows: &[Flow]) -> Vec<u8> {
    let mut out = vec![];
    for flow in flows {
        let record = serde_json::json!({
            "src_app": flow.src_app, "dest_app": flow.dest_app, "vpc_id": flow.vpc_id,
            "observed_at": flow.observed_at, "bytes_tx": flow.bytes_tx, "bytes_rx": flow.bytes_rx,
        });
        out.extend_from_slice(record.to_string().as_bytes());
        out.push(b'\n');
    }
    out
}

/// Posts in batches.
pub fn publish(url: &str, flows: &[Flow], batch: usize) {
    for chunk in flows.chunks(batch) {
        let answer = post(&format!("{url}/v1/flows"), "application/x-ndjson", &ndjson(chunk)).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.json()["accepted"], chunk.len());
    }
}

type Rows = BTreeMap<(String, String, String), (i128, i128, u64)>;

/// The CSV of every hour that has flows, by hour.
pub fn expected(flows: &[Flow]) -> BTreeMap<i64, String> {
    let mut sums: BTreeMap<i64, Rows> = BTreeMap::new();
    for flow in flows {
        let key = (flow.src_app.clone(), flow.dest_app.clone(), flow.vpc_id.clone());
        let row = sums.entry(flow.observed_at / HOUR_MS).or_default().entry(key).or_default();
        row.0 += i128::from(flow.bytes_rx);
        row.1 += i128::from(flow.bytes_tx);
        row.2 += 1;
    }
    let csv = |(hour, rows): (i64, Rows)| {
        let mut out = csv::Writer::from_writer(vec![]);
        out.write_record(["hour", "src_app", "dest_app", "vpc_id", "bytes_rx", "bytes_tx", "records"]).unwrap();
        for ((src, dest, vpc), (rx, tx, records)) in rows {
            let numbers = [rx.to_string(), tx.to_string(), records.to_string()];
            let [rx, tx, records] = &numbers;
            out.write_record([&hour.to_string(), &src, &dest, &vpc, rx, tx, records]).unwrap();
        }
        (hour, String::from_utf8(out.into_inner().unwrap()).unwrap())
    };
    sums.into_iter().map(csv).collect()
}

pub fn csv_of(url: &str, hour: i64) -> Answer {
    get(&format!("{url}/v1/flows?hour={hour}&format=csv")).unwrap()
}

/// Waits until every hour reads back exactly.
pub fn assert_exact(url: &str, flows: &[Flow]) {
    let expected = expected(flows);
    eventually("every hour exact", || {
        for (hour, want) in &expected {
            let got = csv_of(url, *hour);
            if got.status != 200 || got.body.replace("\r\n", "\n") != *want {
                return Err(differs(*hour, &got, want));
            }
        }
        Ok(())
    });
}

fn differs(hour: i64, got: &Answer, want: &str) -> String {
    let line = got.body.lines().zip(want.lines()).find(|(got, want)| got != want);
    let counts = (got.body.lines().count(), want.lines().count());
    format!("hour {hour} (status {}): {counts:?} lines got and wanted, first different {line:?}", got.status)
}
