#![allow(clippy::unwrap_used)]

use super::*;

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn a() -> String {
    record(r#"{"name":"a","type":"long"}"#)
}

fn ab(default: &str) -> String {
    record(&format!(r#"{{"name":"a","type":"long"}},{{"name":"b","type":"string"{default}}}"#))
}

fn register(subjects: &mut Subjects, subject: &str, schema: &str) -> Result<u32, Refusal> {
    match subjects.register(subject, schema)? {
        Err(id) => Ok(id),
        Ok(event) => {
            subjects.apply(event);
            Ok(subjects.lookup(subject, schema)?.id)
        }
    }
}

fn set(subjects: &mut Subjects, subject: Option<&str>, level: &str) {
    let event = subjects.set_level(subject, level).unwrap();
    subjects.apply(event);
}

#[test]
fn the_same_schema_has_one_id_under_any_subject() {
    let mut subjects = Subjects::default();
    assert_eq!(register(&mut subjects, "s", &a()), Ok(1));
    let spaced = r#"{ "fields": [ {"type": {"type":"long"}, "name":"a"} ], "name":"R", "type":"record" }"#;
    assert_eq!(register(&mut subjects, "s", spaced), Ok(1));
    assert_eq!(register(&mut subjects, "t", spaced), Ok(1));
    assert_eq!(register(&mut subjects, "s", &ab(r#","default":"x""#)), Ok(2));
    assert_eq!(register(&mut subjects, "t", &ab(r#","default":"y""#)), Ok(3), "another default is another schema");
    assert_eq!(subjects.subjects(), ["s", "t"]);
    let numbers: Vec<_> = subjects.versions("s").unwrap().iter().map(|v| (v.version, v.id)).collect();
    assert_eq!(numbers, [(1, 1), (2, 2)]);
    assert_eq!(subjects.version("s", "latest").unwrap().id, 2);
    assert_eq!(&*subjects.schema(1).unwrap(), a());
    let uses: Vec<_> = subjects.uses(1).unwrap().iter().map(|v| v.subject.as_str()).collect();
    assert_eq!(uses, ["s", "t"]);
}

#[test]
fn a_breaking_change_is_refused_with_field_and_reason() {
    let mut subjects = Subjects::default();
    register(&mut subjects, "s", &a()).unwrap();
    let refusal = register(&mut subjects, "s", &ab("")).unwrap_err();
    assert_eq!(refusal.code(), 409);
    assert!(refusal.to_string().contains("field b: new field has no default"), "{refusal}");
    let int = record(r#"{"name":"a","type":"int"}"#);
    let refusal = register(&mut subjects, "s", &int).unwrap_err().to_string();
    assert!(refusal.contains("field a: reader type int cannot read long (against version 1)"), "{refusal}");
    assert_eq!(subjects.test("s", "latest", &int).unwrap().len(), 1);
    assert_eq!(subjects.test("s", "1", &ab(r#","default":"""#)).unwrap(), [""; 0]);
}

#[test]
fn each_level_asks_what_its_name_says() {
    let narrowed = record("");
    for (level, grown, shrunk) in [
        ("NONE", true, true),
        ("BACKWARD", false, true),
        ("FORWARD", true, false),
        ("FULL", false, false),
        ("BACKWARD_TRANSITIVE", false, true),
        ("FORWARD_TRANSITIVE", true, false),
        ("FULL_TRANSITIVE", false, false),
    ] {
        let mut subjects = Subjects::default();
        set(&mut subjects, Some("s"), level);
        register(&mut subjects, "s", &a()).unwrap();
        assert_eq!(subjects.register("s", &ab("")).is_ok(), grown, "{level} grown");
        assert_eq!(subjects.register("s", &narrowed).is_ok(), shrunk, "{level} shrunk");
    }
}

#[test]
fn transitive_levels_look_past_the_latest() {
    let string = record(r#"{"name":"a","type":"string","default":""}"#);
    for (level, allowed) in [("BACKWARD", true), ("BACKWARD_TRANSITIVE", false)] {
        let mut subjects = Subjects::default();
        set(&mut subjects, None, level);
        register(&mut subjects, "s", &a()).unwrap();
        register(&mut subjects, "s", &record("")).unwrap();
        assert_eq!(register(&mut subjects, "s", &string).is_ok(), allowed, "{level}");
    }
}

#[test]
fn every_refusal_has_its_code() {
    let mut subjects = Subjects::default();
    register(&mut subjects, "s", &a()).unwrap();
    let code = |r: Result<&Version, Refusal>| r.unwrap_err().code();
    assert_eq!(code(subjects.version("x", "1")), 40401);
    assert_eq!(code(subjects.version("s", "2")), 40402);
    assert_eq!(code(subjects.version("s", "0")), 42202);
    assert_eq!(code(subjects.lookup("s", &record(""))), 40403);
    assert_eq!(code(subjects.lookup("x", &a())), 40401);
    assert_eq!(code(subjects.lookup("s", "nonsense")), 42201);
    assert_eq!(subjects.register("s", r#"{"type":"nope"}"#).unwrap_err().code(), 42201);
    assert_eq!(subjects.register("", &a()).unwrap_err().code(), 42208);
    assert_eq!(subjects.set_level(None, "SIDEWAYS").unwrap_err().code(), 42203);
    assert_eq!(subjects.own_level("s").unwrap_err().code(), 40408);
    assert_eq!(subjects.uses(9).unwrap_err(), Refusal::SchemaNotFound);
}

#[test]
fn events_make_the_same_state_again() {
    let mut first = Subjects::default();
    let mut log = vec![];
    let mut put = |first: &mut Subjects, event: Event| {
        log.push(event.encode());
        first.apply(event);
    };
    for (subject, schema) in [("s", a()), ("s", ab(r#","default":"x""#)), ("t", a())] {
        let event = first.register(subject, &schema).unwrap().unwrap();
        put(&mut first, event);
    }
    for (subject, level) in [(None, "FULL"), (Some("t"), "NONE")] {
        let event = first.set_level(subject, level).unwrap();
        put(&mut first, event);
    }
    let mut keys: Vec<_> = log.iter().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), log.len(), "compaction drops no event");
    let mut again = Subjects::default();
    log.iter().chain(&log).for_each(|(key, value)| again.apply(Event::decode(key, value).unwrap()));
    for subject in ["s", "t"] {
        assert_eq!(again.versions(subject), first.versions(subject));
        assert_eq!(again.level_of(subject), first.level_of(subject));
    }
    assert_eq!((again.level(), again.schema(2)), (Level::Full, first.schema(2)));
    assert_eq!(Event::decode(br#"{"keytype":"NOOP","magic":0}"#, b"{}"), None);
    assert_eq!(Event::decode(b"\xff", b""), None);
}

#[test]
fn bytes_are_bounded_and_one_schema_is_kept_once() {
    let mut subjects = Subjects::default();
    let schema = |n: usize| format!(r#"{{"type":"fixed","name":"F{n}","size":1,"doc":"{}"}}"#, "d".repeat(250_000));
    let fits = MAX_BYTES / schema(100).len();
    for n in 100..100 + fits {
        register(&mut subjects, &format!("s{n}"), &schema(n)).unwrap();
    }
    assert_eq!(register(&mut subjects, "over", &schema(0)), Err(Refusal::Full));
    assert_eq!(register(&mut subjects, "over", &schema(100)), Ok(1), "a known one takes no more");
    assert_eq!(register(&mut subjects, "small", "\"long\""), Ok(u32::try_from(fits).unwrap() + 1));
    let read = Event::Registered(Version { subject: "t".into(), version: 1, id: 1, schema: schema(100).into() });
    subjects.apply(read);
    assert!(Arc::ptr_eq(&subjects.schema(1).unwrap(), &subjects.version("t", "1").unwrap().schema));
}
