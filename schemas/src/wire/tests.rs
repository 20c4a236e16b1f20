#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::avro::Reader;
use crate::flows::FlowObserved;

/// Answers by id; counts the questions.
#[derive(Default)]
struct Fake {
    schemas: Mutex<HashMap<u32, String>>,
    down: Mutex<bool>,
    takes: Mutex<std::time::Duration>,
    asked: AtomicUsize,
}

impl Registry for Fake {
    fn register(&self, _: &str, schema: &str) -> Result<u32, registry::Error> {
        let mut schemas = self.schemas.lock().unwrap();
        let id = u32::try_from(schemas.len()).unwrap() + 1;
        schemas.insert(id, schema.to_owned());
        Ok(id)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, registry::Error> {
        self.asked.fetch_add(1, SeqCst);
        std::thread::sleep(*self.takes.lock().unwrap());
        if *self.down.lock().unwrap() {
            return Err(registry::Error::Unavailable("refused".into()));
        }
        Ok(self.schemas.lock().unwrap().get(&id).map(|s| s.as_str().into()))
    }
}

const ONE: &[catalog::Schema] = &[catalog::FLOW_OBSERVED];
const TWO: &[catalog::Schema] = &[catalog::MARKER, catalog::FLOW_OBSERVED];

fn decoder(readers: &'static [catalog::Schema], writer: &str) -> (Arc<Fake>, Decoder) {
    let fake = Arc::new(Fake::default());
    fake.register("s", writer).unwrap();
    (Arc::clone(&fake), Decoder::new(fake, readers))
}

fn flow() -> FlowObserved<'static> {
    FlowObserved {
        tenant: "default",
        src_app: "web",
        dest_app: "db",
        vpc_id: "vpc-1",
        observed_at: 1_700_000_000_000,
        bytes_tx: 5,
        bytes_rx: 7,
        event_id: "e-1",
    }
}

fn value(id: u32) -> Vec<u8> {
    let mut out = vec![];
    put(id, &flow(), &mut out);
    out
}

/// A writer's schema with the fields given, named `name`.
fn writer(name: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(n, t)| format!(r#"{{"name":"{n}","type":{t}}}"#)).collect();
    format!(r#"{{"type":"record","name":"{name}","fields":[{}]}}"#, fields.join(","))
}

fn python() -> String {
    let string = r#""string""#;
    let fields = [
        ("event_id", string),
        ("bytes_rx", r#""int""#),
        ("bytes_tx", r#"["null","long"]"#),
        ("observed_at", r#""long""#),
        ("extra", r#"{"type":"array","items":{"type":"map","values":"string"}}"#),
        ("vpc_id", string),
        ("dest_app", string),
        ("src_app", string),
    ];
    writer("Flow", &fields)
}

fn put_strings(out: &mut Vec<u8>, strings: &[&str]) {
    strings.iter().for_each(|s| crate::avro::put_bytes(out, s.as_bytes()));
}

fn python_value(branch: i64) -> Vec<u8> {
    let mut out = vec![];
    put_header(1, &mut out);
    put_strings(&mut out, &["e-1"]);
    [7, branch].iter().for_each(|n| crate::avro::put_long(&mut out, *n));
    if branch == 1 {
        crate::avro::put_long(&mut out, 5);
    }
    crate::avro::put_long(&mut out, 1_700_000_000_000);
    [1, 1].iter().for_each(|n| crate::avro::put_long(&mut out, *n));
    put_strings(&mut out, &["k", "v"]);
    [0, 0].iter().for_each(|n| crate::avro::put_long(&mut out, *n));
    put_strings(&mut out, &["vpc-1", "db", "web"]);
    out
}

#[test]
fn our_own_form_is_borrowed_and_asked_for_once() {
    let (fake, mut decoder) = decoder(TWO, &catalog::FLOW_OBSERVED.avsc);
    let (value, mut scratch) = (value(1), vec![]);
    for _ in 0..3 {
        let (reader, datum) = decoder.datum(&value, &mut scratch).unwrap();
        assert_eq!(reader, 1);
        assert!(value.as_ptr_range().contains(&datum.as_ptr()));
        assert_eq!(FlowObserved::get(&mut Reader::new(datum)).unwrap(), flow());
    }
    assert_eq!(fake.asked.load(SeqCst), 1);
}

#[test]
fn anothers_form_is_resolved_with_defaults() {
    let (fake, mut decoder) = decoder(ONE, &python());
    let mut scratch = vec![1, 2, 3];
    for _ in 0..2 {
        let value = python_value(1);
        let (reader, datum) = decoder.datum(&value, &mut scratch).unwrap();
        let mut left = Reader::new(datum);
        assert_eq!((reader, FlowObserved::get(&mut left).unwrap()), (0, flow()));
        left.finish().unwrap();
    }
    assert_eq!(fake.asked.load(SeqCst), 1);
}

#[test]
fn a_null_where_we_need_a_number_is_named() {
    let (_, mut decoder) = decoder(ONE, &python());
    let error = decoder.datum(&python_value(0), &mut vec![]).unwrap_err().to_string();
    let expected =
        "schema id 1 cannot be read as tidemark.flows.FlowObserved: field bytes_tx: reader type long cannot read null";
    assert_eq!(error, expected);
}

#[test]
fn every_truncation_is_refused() {
    let (_, mut decoder) = decoder(ONE, &python());
    let value = python_value(1);
    for end in 5..value.len() {
        let error = decoder.datum(value.get(..end).unwrap(), &mut vec![]).unwrap_err();
        assert!(matches!(error, Error::Datum(_)), "{end}: {error}");
    }
}

#[test]
fn an_incompatible_writer_is_refused_with_fields_and_remembered() {
    let (fake, mut decoder) = decoder(TWO, &writer("tidemark.flows.FlowObserved", &[("src_app", r#""long""#)]));
    for _ in 0..2 {
        let error = decoder.datum(&value(1), &mut vec![]).unwrap_err().to_string();
        assert!(error.contains("field src_app: reader type string cannot read long"), "{error}");
        assert!(error.contains("field dest_app: new field has no default"), "{error}");
        assert!(!error.contains("tenant"), "it has a default: {error}");
    }
    assert_eq!(fake.asked.load(SeqCst), 1);
}

#[test]
fn another_record_is_refused_by_name_where_there_is_a_choice() {
    let (_, mut decoder) = decoder(TWO, &python());
    let error = decoder.datum(&python_value(1), &mut vec![]).unwrap_err().to_string();
    assert!(
        error.contains("tidemark.engine.Marker or tidemark.flows.FlowObserved: the writer's schema is Flow"),
        "{error}"
    );
}

#[test]
fn other_time_units_are_not_taken_for_ours() {
    let micros = &catalog::FLOW_OBSERVED.avsc.replace("timestamp-millis", "timestamp-micros");
    let (_, mut decoder) = decoder(ONE, micros);
    let error = decoder.datum(&value(1), &mut vec![]).unwrap_err().to_string();
    assert!(error.contains("field observed_at: reader type timestamp-millis cannot read timestamp-micros"), "{error}");
}

/// Waits for a condition that comes with time, 10 s at most.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "not in 10 s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_unknown_id_may_become_known_and_a_registry_may_come_back() {
    let (fake, mut decoder) = decoder(ONE, &catalog::MARKER.avsc);
    let value = value(2);
    *fake.down.lock().unwrap() = true;
    assert!(matches!(decoder.datum(&value, &mut vec![]), Err(Error::Registry(registry::Error::Unavailable(_)))));
    *fake.down.lock().unwrap() = false;
    assert!(matches!(decoder.datum(&value, &mut vec![]), Err(Error::UnknownSchema(2))));
    fake.register("s", &catalog::FLOW_OBSERVED.avsc).unwrap();
    // Not asked for each time: a second later.
    assert!(matches!(decoder.datum(&value, &mut vec![]), Err(Error::UnknownSchema(2))));
    until("it is asked for again", || decoder.datum(&value, &mut vec![]).is_ok_and(|(schema, _)| schema == 0));
}

#[test]
fn thousands_of_unknown_ids_do_not_keep_the_reader() {
    let (fake, mut decoder) = decoder(ONE, &catalog::FLOW_OBSERVED.avsc);
    *fake.takes.lock().unwrap() = std::time::Duration::from_millis(1);
    let began = Instant::now();
    let pass = |decoder: &mut Decoder| {
        let answers = (2..5_002).map(|id| decoder.datum(&value(id), &mut vec![]).map(drop));
        answers.filter(|answer| matches!(answer, Err(Error::Registry(_)))).count()
    };
    let later = pass(&mut decoder);
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "one pass took {:?}", began.elapsed());
    assert!((4_000..5_000).contains(&later), "{later} of 5,000 are put off");
    assert_eq!(fake.asked.load(SeqCst), 5_000 - later);
    // A schema that is known is read all the while.
    *fake.takes.lock().unwrap() = std::time::Duration::ZERO;
    until("a known one is read", || decoder.datum(&value(1), &mut vec![]).is_ok());
    until("all have been asked for", || pass(&mut decoder) == 0);
}

#[test]
fn headers_are_checked() {
    assert!(matches!(split(&[]), Err(Error::Short(0))));
    assert!(matches!(split(&[0, 1, 2, 3]), Err(Error::Short(4))));
    assert!(matches!(split(b"{\"a\":1}"), Err(Error::BadMagic(b'{'))));
    assert_eq!(split(&[0, 0, 0, 1, 2, 9]).unwrap(), (258, &[9][..]));
}
