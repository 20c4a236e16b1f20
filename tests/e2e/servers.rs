//! On real Kafka, a real CQL store and a real registry.

use crate::flows::{Flow, assert_exact, make, publish};
use crate::process::{Tidemark, eventually, get};
use std::path::Path;
use std::process::Command;
use tidemark_harness::Kafka;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{At, Log, Outgoing, TopicPartition};

/// A broker of the test's own, since topic names are the same in every installation, and a keyspace of its own.
pub struct Servers {
    kafka: Kafka,
    keyspace: String,
}

impl Servers {
    pub fn start() -> Self {
        Self { kafka: Kafka::start(&[]).unwrap(), keyspace: tidemark_harness::unique("e2e").replace('-', "_") }
    }

    fn args(&self) -> Vec<String> {
        let registry = tidemark_harness::registry();
        let cql = tidemark_harness::cassandra();
        let flags =
            ["--kafka", self.kafka.bootstrap(), "--cql", &cql, "--registry", &registry, "--keyspace", &self.keyspace];
        flags.map(str::to_owned).to_vec()
    }

    pub fn run(&self, data: &Path, command: &[&str]) -> Tidemark {
        let args = self.args();
        let all: Vec<&str> = command.iter().copied().chain(args.iter().map(String::as_str)).collect();
        Tidemark::start(data, &all)
    }

    /// The same on an address that is known, such as that of a process that was killed.
    pub fn run_at(&self, data: &Path, command: &[&str], address: &str) -> Tidemark {
        let args = self.args();
        let all: Vec<&str> = command.iter().copied().chain(args.iter().map(String::as_str)).collect();
        Tidemark::start_at(data, &all, address)
    }

    /// SIGKILL to the broker.
    pub fn kill_broker(&mut self) {
        self.kafka.kill();
    }

    /// Starts it again where it was.
    pub fn start_broker(&mut self) {
        self.kafka.restart().unwrap();
    }

    pub fn log(&self) -> std::sync::Arc<KafkaLog> {
        KafkaLog::connect(KafkaConfig::new(self.kafka.bootstrap())).unwrap()
    }

    pub fn tool(&self, class: &str, args: &[&str]) -> String {
        self.kafka.tool(class, args).unwrap()
    }

    /// Whether the keyspace has a table, by the store itself.
    pub fn has_table(&self, table: &str) -> bool {
        let select = format!("SELECT * FROM {}.{table} LIMIT 1", self.keyspace);
        match tidemark_harness::cql(&tidemark_harness::cassandra(), &select) {
            Ok(()) => true,
            Err(error) if error.to_string().contains("does not exist") => false,
            // Cassandra is about to drop it.
            Err(error) if error.to_string().contains("Unknown CF") => true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Two job processes in one group; one is killed with −9 while records flow, and a third joins: every row is exact, and
/// Kafka's own tools see the offsets at the end and no open transaction.
#[test]
fn a_killed_process_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let servers = Servers::start();
    let gateway = servers.run(&data, &["serve", "gateway"]);
    let first = servers.run(&data, &["serve", "jobs"]);
    let second = servers.run(&data, &["serve", "jobs"]);
    let api = servers.run(&data, &["serve", "query-api"]);

    let flows = make(12_000, 40, 2);
    let mut victim = Some(first);
    let mut third = None;
    for (round, chunk) in flows.chunks(400).enumerate() {
        publish(&gateway.url, chunk, 400);
        match round {
            10 => victim.take().unwrap().kill(),
            20 => third = Some(servers.run(&data, &["serve", "jobs"])),
            _ => {}
        }
    }
    assert_exact(&api.url, &flows);
    assert_at_rest(&servers);
    second.stop();
    third.unwrap().stop();
    gateway.stop();
    api.stop();
    // After graceful stops there is nothing left to do and nothing open.
    assert_at_rest(&servers);
}

/// Committed offsets are at the end of every partition, but for the control marker of the last transaction.
fn assert_at_rest(servers: &Servers) {
    eventually("offsets at the end", || {
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let group = "tidemark.flows.hourly.v1.partial";
        let table = servers.tool(class, &["--describe", "--offsets", "--group", group]);
        let lag = |line: &str| line.split_whitespace().nth(5).and_then(|lag| lag.parse::<i64>().ok());
        let rows: Vec<&str> = table.lines().filter(|line| line.contains("flows.observed")).collect();
        let behind = rows.iter().any(|row| lag(row).is_none_or(|lag| lag > 1));
        if rows.len() == 4 && !behind { Ok(()) } else { Err(table) }
    });
    eventually("no transaction open", || {
        let table = servers.tool("org.apache.kafka.tools.TransactionsCommand", &["list"]);
        let open = table.lines().skip(1).any(|line| line.contains("Ongoing"));
        if open { Err(table) } else { Ok(()) }
    });
}

/// One process on servers; then records of others straight on the topic: a stock Python client's, and broken ones.
#[test]
fn foreign_records_count_and_broken_ones_are_dead_lettered() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let servers = Servers::start();
    let platform = servers.run(&data, &["up"]);
    let mut flows = make(3_000, 20, 3);
    publish(&platform.url, &flows, 1_000);
    assert_exact(&platform.url, &flows);

    // A stop that outlasts the retention of the partials: the platform goes on from its state.
    platform.stop();
    delete_all_records(&servers, "tidemark.flows.hourly.v1.partials");
    let platform = servers.run(&data, &["up"]);

    flows.extend(python_publishes(&servers));
    assert_exact(&platform.url, &flows);

    python_reads_the_rows(&servers, &flows);
    broken_records(&servers);
    publish(&platform.url, &flows[..10], 10);
    let again: Vec<Flow> = flows.iter().chain(&flows[..10]).cloned().collect();
    assert_exact(&platform.url, &again);
    eventually("seven dead letters, each with its rule", || {
        let letters = dead_letters(&servers);
        let mut rules: Vec<&str> = letters.iter().map(|(rule, _)| rule.as_str()).collect();
        rules.sort_unstable();
        let want = ["bad_magic", "far_future", "malformed", "malformed", "out_of_range", "short", "unknown_schema"];
        if rules == want { Ok(()) } else { Err(format!("{letters:?}")) }
    });
    let metrics = get(&format!("{}/metrics", platform.url)).unwrap().body;
    let dead: i64 = metrics
        .lines()
        .filter(|line| line.starts_with("tidemark_dead_lettered_records_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(dead, 7, "{metrics}");
    platform.stop();
}

/// What retention does in the end, by Kafka's own tool.
fn delete_all_records(servers: &Servers, topic: &str) {
    let partitions: Vec<_> =
        (0..4).map(|partition| serde_json::json!({"topic": topic, "partition": partition, "offset": -1})).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let json = serde_json::json!({"partitions": partitions, "version": 1}).to_string();
    std::fs::write(file.path(), json).unwrap();
    servers.tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", file.path().to_str().unwrap()]);
}

/// Runs a script of tests/e2e with bootstrap address, registry and `last`; the JSON values it printed.
fn python(servers: &Servers, script: &str, last: &str) -> Vec<serde_json::Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/install.sh test", python.display());
    let output = Command::new(python)
        .arg(root.join("tests/e2e").join(script))
        .args([servers.kafka.bootstrap(), &tidemark_harness::registry(), last])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A stranger's deserializer reads every record of the view topic; the last row of each key sums up what was published.
fn python_reads_the_rows(servers: &Servers, flows: &[Flow]) {
    let mut rows = std::collections::BTreeMap::new();
    let mut schemas = std::collections::BTreeSet::new();
    for read in python(servers, "read.py", "view.flows.hourly.v1") {
        schemas.insert(read["schema"].as_str().unwrap().to_owned());
        if read["schema"] == "FlowHourly" {
            let row = &read["record"];
            let key = ["window_start", "src_app", "dest_app", "vpc_id"].map(|field| row[field].to_string());
            let bytes_rx: i128 = row["bytes_rx"].as_str().unwrap().parse().unwrap();
            rows.insert(key, (row["records"].as_i64().unwrap(), bytes_rx));
        }
    }
    assert!(schemas.iter().eq(["FlowHourly", "Ledger", "Progress"]), "{schemas:?}");
    assert_eq!(rows.values().map(|row| row.0).sum::<i64>(), flows.len() as i64);
    let sum: i128 = flows.iter().map(|flow| i128::from(flow.bytes_rx)).sum();
    assert_eq!(rows.values().map(|row| row.1).sum::<i128>(), sum);
}

/// The stock Confluent producer and Avro serializer, no code of ours.
fn python_publishes(servers: &Servers) -> Vec<Flow> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/avsc/flows/FlowObserved.avsc");
    let published = python(servers, "publish.py", schema.to_str().unwrap());
    assert_eq!(published.len(), 50);
    let flow = |record: &serde_json::Value| {
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let number = |name: &str| record[name].as_i64().unwrap();
        Flow {
            src_app: text("src_app"),
            dest_app: text("dest_app"),
            vpc_id: text("vpc_id"),
            observed_at: number("observed_at"),
            bytes_tx: number("bytes_tx"),
            bytes_rx: number("bytes_rx"),
        }
    };
    published.iter().map(flow).collect()
}

/// Seven values that cannot be counted, each for another reason.
fn broken_records(servers: &Servers) {
    use tidemark_schemas::avro::Avro;
    use tidemark_schemas::flows::FlowObserved;
    use tidemark_schemas::registry::Registry;
    let registry = tidemark_schemas::registry::HttpRegistry::new(&tidemark_harness::registry());
    let id = registry.register("flows.observed-value", &tidemark_schemas::catalog::FLOW_OBSERVED.avsc).unwrap();
    let flow = |observed_at, bytes_tx| {
        let event_id = "01890000-0000-7000-8000-000000000000";
        let (tenant, src_app, dest_app, vpc_id) = ("default", "broken", "b", "c");
        let record = FlowObserved { tenant, src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx: 1, event_id };
        let mut value = vec![0];
        value.extend_from_slice(&id.to_be_bytes());
        record.put(&mut value);
        value
    };
    let good = flow(crate::flows::FIRST_HOUR * crate::flows::HOUR_MS, 1);
    let mut bad_magic = good.clone();
    bad_magic[0] = 7;
    let mut unknown = good.clone();
    unknown[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    let truncated = good[..good.len() - 20].to_vec();
    let ten_years_ahead = flow(2_100_000_000_000, 1);
    let negative = flow(crate::flows::FIRST_HOUR * crate::flows::HOUR_MS, -5);
    // The largest record that a broker takes by default, or nearly: a letter about it must still fit.
    let mut large = good.clone();
    large.resize(999_950, 0);
    let values = [bad_magic, unknown, truncated, ten_years_ahead, negative, vec![0, 1], large];
    let mut producer = servers.log().producer("e2e-broken").unwrap();
    let write = |sink: &mut dyn tidemark_log::Sink| {
        values.iter().zip(0u32..).try_for_each(|(value, n)| {
            sink.send(Outgoing { topic: "flows.observed", partition: n % 4, value: Some(value), ..Outgoing::default() })
        })
    };
    producer.commit(&mut { write }).unwrap();
}

fn dead_letters(servers: &Servers) -> Vec<(String, String)> {
    use tidemark_schemas::avro::{Avro, Reader};
    use tidemark_schemas::engine::DeadLetter;
    let log = servers.log();
    let topic = "tidemark.flows.hourly.v1.dead-letter";
    let partitions: Vec<TopicPartition> = (0..4).map(|partition| TopicPartition::new(topic, partition)).collect();
    let starts = log.offsets(&partitions, At::Start).unwrap();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<(TopicPartition, i64)> = partitions.iter().cloned().zip(starts).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut letters = vec![];
    let done = |reader: &dyn tidemark_log::Reader| {
        partitions.iter().zip(&ends).all(|(partition, end)| reader.position(partition).unwrap() >= *end)
    };
    while !done(reader.as_ref()) {
        let mut take = |batch: tidemark_log::Batch<'_>| {
            for record in batch.records {
                let letter = DeadLetter::get(&mut Reader::new(&record.value.unwrap()[5..])).unwrap();
                letters.push((letter.rule.to_owned(), letter.detail.to_owned()));
            }
        };
        reader.poll(std::time::Duration::from_millis(100), &mut take).unwrap();
    }
    letters
}
