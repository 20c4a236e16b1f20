//! A topic of one's own: made on the command line, published to over HTTP, read back from the log by its schema.

use crate::process::{Tidemark, eventually, get, post};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Log, TopicPartition};
use tidemark_schemas::registry::{HttpRegistry, Registry};

const SCHEMA: &str = r#"{"type": "record", "name": "AccessEvent", "namespace": "access", "fields": [
  {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "path", "type": "string"},
  {"name": "status", "type": "int", "default": 200},
  {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}], "default": null}
]}"#;

fn tidemark(args: &[&str]) -> (bool, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_tidemark")).args(args).output().unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
}

#[test]
fn a_topic_of_ones_own_is_made_published_to_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("access.avsc"));
    std::fs::write(&file, SCHEMA).unwrap();
    let platform = Tidemark::start(&data, &["up"]);
    let schema = file.to_str().unwrap();
    let create = |more: &[&str]| {
        let args = ["topics", "create", "access.events", "--schema", schema, "--url", &platform.url];
        tidemark(&[&args[..], more].concat())
    };
    let (made, told) = create(&["--partitions", "3", "--retention", "2d"]);
    assert!(made && told.contains("made the topic access.events with 3 partitions, records kept for 2 days"), "{told}");
    let (again, told) = create(&[]);
    assert!(again && told.contains("left as it is") && told.contains("is the same"), "{told}");
    let (fewer, told) = create(&["--partitions", "2", "--retention", "2d"]);
    assert!(!fewer && told.contains("cannot become 2"), "{told}");
    let (listed, told) = tidemark(&["topics", "list", "--url", &platform.url]);
    assert!(listed && told.contains("access.events") && told.contains("access.AccessEvent, version 1"), "{told}");
    let (away, told) = tidemark(&["topics", "list", "--url", "http://127.0.0.1:1"]);
    assert!(!away && told.contains("tidemark up"), "{told}");

    let body = "{\"at\": \"2026-01-31T12:00:00.5Z\", \"path\": \"/a\", \"price\": 12.5}\n{\"at\": 7, \"path\": \"/b\", \"status\": 404}\n";
    let url = format!("{}/v1/events/access.events", platform.url);
    let answer = post(&url, "application/x-ndjson", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    let wrong = post(&url, "application/json", b"{\"at\": 7, \"pth\": \"/b\"}").unwrap();
    assert!(wrong.status == 422 && wrong.body.contains("did you mean path?"), "{}", wrong.body);
    eventually("published", || {
        let status = get(&format!("{}/v1/status", platform.url)).unwrap();
        if status.body.contains("\"records\":0") { Ok(()) } else { Err(status.body) }
    });
    let registered = get(&format!("{}/registry/subjects/access.events-value/versions/latest", platform.url)).unwrap();
    platform.stop();

    let registered = registered.json();
    let schema = apache_avro::Schema::parse_str(registered["schema"].as_str().unwrap()).unwrap();
    let read = read(&data);
    assert_eq!(read.len(), 2);
    for (id, (status, price)) in
        answer.json()["event_ids"].as_array().unwrap().iter().zip([(200, Some(1250i64)), (404, None)])
    {
        let id = id.as_str().unwrap();
        let value = &read[id];
        assert_eq!(u64::from(u32::from_be_bytes(value[1..5].try_into().unwrap())), registered["id"].as_u64().unwrap());
        let datum = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut &value[5..]).unwrap();
        let Avro::Record(fields) = datum else { panic!("{datum:?}") };
        let fields: HashMap<String, Avro> = fields.into_iter().collect();
        assert_eq!(fields["event_id"], Avro::Uuid(id.parse().unwrap()));
        assert_eq!(fields["status"], Avro::Int(status));
        let price = price.map(|price| Avro::Decimal(price.to_be_bytes()[6..].to_vec().into()));
        let price = price.map_or(Avro::Union(0, Box::new(Avro::Null)), |price| Avro::Union(1, Box::new(price)));
        assert_eq!(fields["price"], price);
    }
}

/// The gateway tells versions apart by what the registry calls them: a server must call a schema the same in both answers.
#[test]
fn a_registry_server_tells_the_latest_version_by_the_id_that_it_gave() {
    let registry = HttpRegistry::new(&tidemark_harness::registry());
    let subject = format!("{}-value", tidemark_harness::unique("latest"));
    assert_eq!(registry.latest_of(&subject), Ok(None));
    for (version, schema) in [(1, SCHEMA.to_owned()), (2, SCHEMA.replace("\"default\": 200", "\"default\": 0"))] {
        let id = registry.register(&subject, &schema).unwrap();
        let latest = registry.latest_of(&subject).unwrap().unwrap();
        assert_eq!((latest.id, latest.version), (id, version));
        let parsed = |text: &str| apache_avro::Schema::parse_str(text).unwrap();
        assert_eq!(parsed(&latest.schema), parsed(&schema));
    }
    assert!(registry.subject_names().unwrap().contains(&subject));
}

/// The values of the topic by event id, from the log on disk.
fn read(data: &std::path::Path) -> HashMap<String, Vec<u8>> {
    let replica =
        std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path().join("log")).find(|path| path.is_dir());
    let log = replica.unwrap_or_else(|| data.join("log"));
    let log = EmbeddedLog::open(&log, tidemark_log::system_clock()).unwrap();
    let partitions: Vec<_> = (0..3).map(|partition| TopicPartition::new("access.events", partition)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<_> = partitions.iter().map(|partition| (partition.clone(), 0)).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut values = HashMap::new();
    while partitions.iter().zip(&ends).any(|(partition, end)| reader.position(partition).unwrap() < *end) {
        reader
            .poll(Duration::from_millis(10), &mut |batch| {
                for record in batch.records {
                    let id = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                    values.insert(id, record.value.unwrap().to_vec());
                }
            })
            .unwrap();
    }
    values
}
