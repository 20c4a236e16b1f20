//! What is not taken, and that it changes nothing.

use crate::world::{Command, World, file, run, uuid};
use proptest::prelude::*;
use tidemark_core::process::{Input, Output, Process, Reject};
use tidemark_jobs::documents::Settings;
use tidemark_schemas::dispatch::{
    Heartbeat, HeldLease, LeaseRequested, RunTime, RunTimesLearned, TaskActed, TaskReported,
};
use tidemark_schemas::documents::DocumentUploaded;

/// A field, and how it is made wrong.
type Wrong<T> = (&'static str, fn(&mut T));

/// The command with each change is refused for that field.
fn refused<T: Clone>(command: &T, of: fn(T) -> Command, changes: &[Wrong<T>]) {
    let mut world = World::new(Settings::default());
    for (field, change) in changes {
        let mut wrong = command.clone();
        change(&mut wrong);
        match world.try_give(&of(wrong)) {
            Err(Reject::Rule { field: found, .. }) => assert_eq!(found, *field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(world.entries.is_empty() && world.process.due().is_none(), "it changed nothing");
    world.give(of(command.clone()));
}

#[test]
fn uploads() {
    let upload = World::new(Settings::default()).upload(1, "ann");
    let changes: &[Wrong<DocumentUploaded>] = &[
        ("tenant", |upload| upload.tenant.clear()),
        ("queue", |upload| upload.queue = "a\0b".into()),
        ("queue", |upload| upload.queue = "q".repeat(65)),
        ("request_id", |upload| upload.request_id = "1".into()),
        ("upload_id", |upload| upload.upload_id.clear()),
        ("upload_id", |upload| upload.upload_id = "u".repeat(256)),
        ("file_id", |upload| upload.file_id = "AB".repeat(32)),
        ("file_id", |upload| upload.file_id = "ab".repeat(31)),
        ("name", |upload| upload.name.clear()),
        ("name", |upload| upload.name = "n".repeat(256)),
        ("media_type", |upload| upload.media_type.clear()),
        ("bytes", |upload| upload.bytes = -1),
        ("owner", |upload| upload.owner = "o".repeat(129)),
        ("owner", |upload| upload.owner = "a\nb".into()),
        ("mail", |upload| upload.mail = "no address".into()),
        ("mail", |upload| upload.mail = "a@b\r\nBcc: c@d".into()),
    ];
    refused(&upload, Command::Upload, changes);
}

#[test]
fn a_request_names_one_task_only() {
    let mut world = World::new(Settings::default());
    let first = world.upload(1, "ann");
    world.give(Command::Upload(first.clone()));
    let second = DocumentUploaded { request_id: first.request_id, ..world.upload(2, "ann") };
    let told = world.try_give(&Command::Upload(second)).unwrap_err();
    assert_eq!(told.to_string(), "request_id: it names the task of another document");
}

#[test]
fn workers() {
    let asked = LeaseRequested {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: uuid(1),
        worker: "w".into(),
        capacity: 1,
        wait_until: 0,
    };
    let changes: &[Wrong<LeaseRequested>] = &[
        ("request_id", |asked| asked.request_id.clear()),
        ("worker", |asked| asked.worker.clear()),
        ("worker", |asked| asked.worker = "w".repeat(129)),
        ("capacity", |asked| asked.capacity = 0),
        ("capacity", |asked| asked.capacity = 1_025),
    ];
    refused(&asked, Command::Lease, changes);
    let heard = Heartbeat {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: uuid(1),
        worker: "w".into(),
        capacity: 0,
        push: false,
        memory_bytes: 0,
        cpu_percent: 0,
        held: vec![],
    };
    let changes: &[Wrong<Heartbeat>] = &[
        ("capacity", |heard| heard.capacity = -1),
        ("capacity", |heard| heard.capacity = 1_025),
        ("memory_bytes", |heard| heard.memory_bytes = -1),
        ("cpu_percent", |heard| heard.cpu_percent = -1),
        ("held", |heard| heard.held = vec![HeldLease { task_id: uuid(1), token: 1, step: String::new() }; 1_025]),
        ("held.step", |heard| heard.held = vec![HeldLease { task_id: uuid(1), token: 1, step: "s".repeat(65) }]),
    ];
    refused(&heard, Command::Heartbeat, changes);
}

#[test]
fn reports_acts_and_run_times() {
    let report = TaskReported {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: uuid(1),
        worker: "w".into(),
        task_id: uuid(2),
        token: 1,
        outcome: "COMPLETED".into(),
        step: None,
        message: None,
        result: Some(file(1)),
        result_bytes: 0,
        attempts: vec![],
    };
    let changes: &[Wrong<TaskReported>] = &[
        ("outcome", |report| report.outcome = "completed".into()),
        ("result", |report| report.result = None),
        ("result", |report| report.result = Some("x".into())),
        ("result_bytes", |report| report.result_bytes = -1),
        ("message", |report| report.message = Some("m".repeat(8_193))),
        ("attempts", |report| report.attempts = vec![run("D1", 1, "OK"); 1_001]),
        ("attempts.step", |report| report.attempts = vec![run("", 1, "OK")]),
        ("attempts.attempt", |report| report.attempts = vec![run("D1", 0, "OK")]),
        ("attempts.outcome", |report| report.attempts = vec![run("D1", 1, "FINE")]),
        ("attempts.wall_us", |report| {
            report.attempts = vec![tidemark_schemas::dispatch::AttemptReport { wall_us: -1, ..run("D1", 1, "OK") }]
        }),
    ];
    refused(&report, Command::Report, changes);
    let act = TaskActed {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: uuid(1),
        key: file(1),
        action: "CANCEL".into(),
        by: String::new(),
    };
    let changes: &[Wrong<TaskActed>] = &[
        ("key", |act| act.key = "x".into()),
        ("action", |act| act.action = "DELETE".into()),
        ("by", |act| act.by = "b".repeat(129)),
    ];
    refused(&act, Command::Act, changes);
    let time = RunTime { kind: "text/plain".into(), step: "D1".into(), expected_ms: 1 };
    let learned = RunTimesLearned { tenant: "default".into(), queue: "documents".into(), times: vec![time] };
    let changes: &[Wrong<RunTimesLearned>] = &[
        ("times.expected_ms", |learned| learned.times[0].expected_ms = -1),
        ("times.kind", |learned| learned.times[0].kind.clear()),
        ("times", |learned| learned.times = vec![learned.times[0].clone(); 1_001]),
    ];
    refused(&learned, Command::Learn, changes);
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let mut world = World::new(Settings::default());
    let upload = world.upload(1, "ann");
    let (schema, datum) = Command::Upload(upload).datum();
    for (schema, datum) in [(schema, &datum[..datum.len() - 1]), (schema, &[&datum[..], b"x"].concat()), (9, &datum)] {
        let input = Input { schema, datum, now: 1, offset: 1 };
        assert!(world.process.apply(&input, &mut Output::default()).is_err());
    }
    assert!(world.process.restore(b"no key", 4, &[]).is_err());
    assert!(world.process.restore(b"t\0q\0d\0x", 4, &[1]).is_err());
    assert!(world.process.restore(b"t\0q\0d\0x", 9, &[]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(schema in 0..8usize, bytes: Vec<u8>, cut: prop::sample::Index, byte: u8) {
        let mut world = World::new(Settings::default());
        let upload = world.upload(1, "ann");
        let mut datum = Command::Upload(upload).datum().1;
        let place = cut.index(datum.len());
        datum[place] = byte;
        for datum in [&bytes, &datum] {
            let input = Input { schema, datum, now: 1, offset: 1 };
            let mut out = Output::default();
            if world.process.apply(&input, &mut out).is_err() {
                prop_assert!(out.emitted.is_empty() && out.changed.is_empty());
            }
            let _ = world.process.restore(datum, schema, datum);
            let _ = world.process.restore(b"t\0q\0d\0x", schema, datum);
            let _ = world.process.entry(datum, &mut Vec::new());
        }
    }
}
