//! The structs and the .avsc files are the same records: apache-avro reads by the .avsc what our codec wrote, field by
//! field with names, and writes the very bytes that our codec reads.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Debug;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::dispatch::*;
use tidemark_schemas::documents::*;
use tidemark_schemas::engine::*;
use tidemark_schemas::flows::*;
use tidemark_schemas::gateway::{Answer, SpoolPosition};
use tidemark_schemas::jobs::{JobEntry, JobRetiring, JobSource, JobVersion};
use tidemark_schemas::notifications::{MailHandled, MailRequested};

/// A field as apache-avro sees it, logical types taken off.
trait AsValue {
    fn value(&self) -> Value;
}

macro_rules! plain {
    ($($ty:ty, $v:ident => $e:expr;)*) => { $(impl AsValue for $ty { fn value(&self) -> Value { let $v = self; $e } })* };
}

plain! {
    i32, v => Value::Int(*v);
    i64, v => Value::Long(*v);
    bool, v => Value::Boolean(*v);
    &str, v => Value::String((*v).to_owned());
    String, v => Value::String(v.clone());
    &[u8], v => Value::Bytes(v.to_vec());
    LateReason, v => match v {
        LateReason::Amended => Value::Enum(0, "AMENDED".to_owned()),
        LateReason::Held => Value::Enum(1, "HELD".to_owned()),
    };
    i128, v => {
        let mut out = vec![];
        v.put(&mut out);
        Value::Bytes(Reader::new(&out).bytes().unwrap().to_vec())
    };
}

impl<T: AsValue> AsValue for Option<T> {
    fn value(&self) -> Value {
        match self {
            None => Value::Union(0, Box::new(Value::Null)),
            Some(v) => Value::Union(1, Box::new(v.value())),
        }
    }
}

impl<T: AsValue> AsValue for Vec<T> {
    fn value(&self) -> Value {
        Value::Array(self.iter().map(AsValue::value).collect())
    }
}

/// The destructuring names every field, so that one added to a struct does not compile until it stands here.
macro_rules! records {
    ($($ty:ident $(<$lt:lifetime>)? { $($field:ident),* $(,)? })*) => {
        $(impl AsValue for $ty $(<$lt>)? {
            fn value(&self) -> Value {
                let $ty { $($field),* } = self;
                Value::Record(vec![$((stringify!($field).to_owned(), $field.value())),*])
            }
        })*
    };
}

records! {
    FlowObserved<'_> { tenant, src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id }
    FlowHourly<'_> { tenant, src_app, dest_app, vpc_id, window_start, merge_partition, opened_at, records, bytes_tx, bytes_rx, epoch, revision }
    Partial<'_> { fingerprint, topic, partition, windows }
    PartialWindow<'_> { start, first_offset, last_offset, late, held, rows }
    PartialRow<'_> { key, records, accumulator }
    Marker { fingerprint, at, oldest_append, sources, partition_counts }
    SourceMark { topic, partition, next_offset, watermark, idle_at, records, late, held, filtered, dead_lettered, duplicates }
    TopicPartitions { topic, partitions }
    Repair<'_> { fingerprint, window_start, replaces, rows, ledger }
    RepairedLedger { rows, records, held, sealed_out, sources }
    Ledger {
        window_start, window_end, merge_partition, rows, records, late, held, sealed_out, amended, sealed, opened_at,
        closed_at, updated_at, sources, epoch, revision,
    }
    SourceRange { topic, partition, first_offset, last_offset }
    Progress { fingerprint, merge_partition, merge_partitions, watermark, as_of, oldest_append, sources, partition_counts, epoch, revision }
    SourceProgress { topic, partition, next_offset, watermark, idle_at, records, late, held, filtered, dead_lettered, duplicates }
    SeenIds<'_> { fingerprint, topic, partition, ids }
    RowState<'_> { window_start, key, records, accumulator, revision }
    LateRecord<'_> { topic, partition, offset, event_time, window_start, window_end, watermark, grace_ms, reason, value_length, value }
    SealedOut<'_> { topic, partition, first_offset, last_offset, window_start, window_end, key, records, accumulator }
    DeadLetter<'_> { topic, partition, offset, appended_at, rule, detail, key, value_length, value }
    Answer<'_> { tenant, key, request_hash, received_at, first_id }
    SpoolPosition<'_> { spool, run, position, record }
    JobEntry { job, changed_at, current, previous, versions, retiring }
    JobRetiring { version, retired_at, topics, groups, table, replica, until }
    JobVersion { version, created_at, applied_at, fingerprint, spec, sources }
    JobSource { topic, schema }
    Answered { request_id, at, outcome, message, key, task_id, token, attempt, deadline, payload, revoked }
    RevokedLease { task_id, token }
    Heartbeat { tenant, queue, request_id, worker, capacity, push, memory_bytes, cpu_percent, held }
    HeldLease { task_id, token, step }
    LeaseRequested { tenant, queue, request_id, worker, capacity, wait_until }
    QueueEntry { next_place, next_token, times }
    RunTime { kind, step, expected_ms }
    RequestEntry { request_id, worker, place, wait_until }
    RunTimesLearned { tenant, queue, times }
    TaskActed { tenant, queue, request_id, key, action, by }
    TaskEntry { task_id, kind, place, queued_at, attempt, lost, undelivered, refused, worker, token, request_id, accepted, step, leased_at, deadline, finished, finished_at }
    TaskReported { tenant, queue, request_id, worker, task_id, token, outcome, step, message, result, result_bytes, attempts }
    AttemptReport { step, attempt, outcome, message, started_at, wall_us, cpu_us, memory_bytes }
    Ticked { due }
    WorkerChanged { tenant, queue, worker, capacity, leases, last_heartbeat, memory_bytes, cpu_percent }
    WorkerEntry { worker, capacity, push, last_heartbeat, assigned_at }
    CountEntry { done }
    Document { tenant, queue, file_id, task_id, name, media_type, bytes, owner, mail, state, uploaded_at, changed_at, queued_at, leased_at, worker, token, attempt, step, error, result, result_bytes, duplicates, infrastructure_failures, seq, revision }
    DocumentUploaded { tenant, queue, request_id, upload_id, file_id, name, media_type, bytes, owner, mail, received_at }
    StepAttempted { tenant, event_id, file_id, task_id, token, worker, place, step, attempt, outcome, message, media_type, at, started_at, wall_us, cpu_us, memory_bytes }
    TaskChanged { tenant, event_id, file_id, task_id, seq, at, event, state, message, worker, token, attempt, step, media_type, bytes, queued_ms, worked_ms }
    UploadEntry { upload_id, file_id, outcome, at }
    MailHandled { tenant, mail_id, at, to, template, outcome, message, tries }
    MailRequested { tenant, mail_id, at, to, template, data }
}

/// Takes logical types off.
fn plain(value: Value) -> Value {
    match value {
        Value::TimestampMillis(n) => Value::Long(n),
        Value::Uuid(id) => Value::String(id.to_string()),
        Value::Decimal(d) => Value::Bytes(Vec::<u8>::try_from(&d).unwrap()),
        Value::Union(i, v) => Value::Union(i, Box::new(plain(*v))),
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Record(fields) => Value::Record(fields.into_iter().map(|(n, v)| (n, plain(v))).collect()),
        other => other,
    }
}

fn in_step<'a, T: Avro<'a> + AsValue + PartialEq + Debug>(schema: Schema, ours: &T, bytes: &'a mut Vec<u8>) -> String {
    let avsc = apache_avro::Schema::parse_str(&schema.avsc).unwrap();
    assert_eq!(avsc.name().unwrap().fullname(None), schema.name);
    ours.put(bytes);
    let bytes: &'a [u8] = bytes;
    let mut left = bytes;
    let theirs = GenericDatumReader::builder(&avsc).build().unwrap().read_value(&mut left).unwrap();
    assert!(left.is_empty(), "{}: the struct has fields that the .avsc lacks", schema.name);
    assert_eq!(plain(theirs.clone()), ours.value(), "{}", schema.name);
    let written = GenericDatumWriter::builder(&avsc).build().unwrap().write_value_to_vec(theirs).unwrap();
    assert_eq!(written, bytes, "{}", schema.name);
    let mut reader = Reader::new(bytes);
    assert_eq!(T::get(&mut reader).unwrap(), *ours);
    reader.finish().unwrap();
    schema.name.to_string()
}

/// Those of the dispatcher, the documents and the mails: every field filled.
fn dispatch_and_documents(check: &mut impl FnMut(String)) {
    check(in_step(
        catalog::ANSWERED,
        &Answered {
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            at: 2,
            outcome: "outcome".into(),
            message: Some("message".into()),
            key: Some("key".into()),
            task_id: Some("task_id".into()),
            token: Some(7),
            attempt: Some(8),
            deadline: Some(9),
            payload: Some("payload".into()),
            revoked: vec![RevokedLease { task_id: "task_id".into(), token: 2 }],
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::HEARTBEAT,
        &Heartbeat {
            tenant: "tenant".into(),
            queue: "queue".into(),
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            worker: "worker".into(),
            capacity: 5,
            push: true,
            memory_bytes: 7,
            cpu_percent: 8,
            held: vec![HeldLease { task_id: "task_id".into(), token: 2, step: "step".into() }],
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::LEASE_REQUESTED,
        &LeaseRequested {
            tenant: "tenant".into(),
            queue: "queue".into(),
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            worker: "worker".into(),
            capacity: 5,
            wait_until: 6,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::QUEUE_ENTRY,
        &QueueEntry {
            next_place: 1,
            next_token: 2,
            times: vec![RunTime { kind: "kind".into(), step: "step".into(), expected_ms: 3 }],
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::REQUEST_ENTRY,
        &RequestEntry {
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            worker: "worker".into(),
            place: 3,
            wait_until: 4,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::RUN_TIMES_LEARNED,
        &RunTimesLearned {
            tenant: "tenant".into(),
            queue: "queue".into(),
            times: vec![RunTime { kind: "kind".into(), step: "step".into(), expected_ms: 3 }],
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::TASK_ACTED,
        &TaskActed {
            tenant: "tenant".into(),
            queue: "queue".into(),
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            key: "key".into(),
            action: "action".into(),
            by: "by".into(),
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::TASK_ENTRY,
        &TaskEntry {
            task_id: "task_id".into(),
            kind: "kind".into(),
            place: 3,
            queued_at: 4,
            attempt: 5,
            lost: 6,
            undelivered: 7,
            refused: 8,
            worker: Some("worker".into()),
            token: 10,
            request_id: Some("0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into()),
            accepted: true,
            step: "step".into(),
            leased_at: 14,
            deadline: 15,
            finished: Some("finished".into()),
            finished_at: 17,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::TASK_REPORTED,
        &TaskReported {
            tenant: "tenant".into(),
            queue: "queue".into(),
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            worker: "worker".into(),
            task_id: "task_id".into(),
            token: 6,
            outcome: "outcome".into(),
            step: Some("step".into()),
            message: Some("message".into()),
            result: Some("result".into()),
            result_bytes: 11,
            attempts: vec![AttemptReport {
                step: "step".into(),
                attempt: 2,
                outcome: "outcome".into(),
                message: Some("message".into()),
                started_at: 5,
                wall_us: 6,
                cpu_us: 7,
                memory_bytes: 8,
            }],
        },
        &mut vec![],
    ));
    check(in_step(catalog::TICKED, &Ticked { due: 1 }, &mut vec![]));
    check(in_step(
        catalog::WORKER_CHANGED,
        &WorkerChanged {
            tenant: "tenant".into(),
            queue: "queue".into(),
            worker: "worker".into(),
            capacity: 4,
            leases: 5,
            last_heartbeat: 6,
            memory_bytes: 7,
            cpu_percent: 8,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::WORKER_ENTRY,
        &WorkerEntry { worker: "worker".into(), capacity: 2, push: true, last_heartbeat: 4, assigned_at: 5 },
        &mut vec![],
    ));
    check(in_step(catalog::COUNT_ENTRY, &CountEntry { done: 1 }, &mut vec![]));
    check(in_step(
        catalog::DOCUMENT,
        &Document {
            tenant: "tenant".into(),
            queue: "queue".into(),
            file_id: "file_id".into(),
            task_id: "task_id".into(),
            name: "name".into(),
            media_type: "media_type".into(),
            bytes: 7,
            owner: "owner".into(),
            mail: "mail".into(),
            state: "state".into(),
            uploaded_at: 11,
            changed_at: 12,
            queued_at: 13,
            leased_at: 14,
            worker: Some("worker".into()),
            token: 16,
            attempt: 17,
            step: Some("step".into()),
            error: Some("error".into()),
            result: Some("result".into()),
            result_bytes: 21,
            duplicates: 22,
            infrastructure_failures: 23,
            seq: 24,
            revision: 25,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::DOCUMENT_UPLOADED,
        &DocumentUploaded {
            tenant: "tenant".into(),
            queue: "queue".into(),
            request_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            upload_id: "upload_id".into(),
            file_id: "file_id".into(),
            name: "name".into(),
            media_type: "media_type".into(),
            bytes: 8,
            owner: "owner".into(),
            mail: "mail".into(),
            received_at: 11,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::STEP_ATTEMPTED,
        &StepAttempted {
            tenant: "tenant".into(),
            event_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            file_id: "file_id".into(),
            task_id: "task_id".into(),
            token: 5,
            worker: "worker".into(),
            place: 7,
            step: "step".into(),
            attempt: 9,
            outcome: "outcome".into(),
            message: Some("message".into()),
            media_type: "media_type".into(),
            at: 13,
            started_at: 14,
            wall_us: 15,
            cpu_us: 16,
            memory_bytes: 17,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::TASK_CHANGED,
        &TaskChanged {
            tenant: "tenant".into(),
            event_id: "0190b5a2-7d2c-7e31-8f3b-2f6f1d0c9a11".into(),
            file_id: "file_id".into(),
            task_id: "task_id".into(),
            seq: 5,
            at: 6,
            event: "event".into(),
            state: "state".into(),
            message: "message".into(),
            worker: Some("worker".into()),
            token: Some(11),
            attempt: Some(12),
            step: Some("step".into()),
            media_type: "media_type".into(),
            bytes: 15,
            queued_ms: Some(16),
            worked_ms: Some(17),
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::UPLOAD_ENTRY,
        &UploadEntry { upload_id: "upload_id".into(), file_id: "file_id".into(), outcome: "outcome".into(), at: 4 },
        &mut vec![],
    ));
    check(in_step(
        catalog::MAIL_HANDLED,
        &MailHandled {
            tenant: "tenant".into(),
            mail_id: "mail_id".into(),
            at: 3,
            to: "to".into(),
            template: "template".into(),
            outcome: "outcome".into(),
            message: Some("message".into()),
            tries: 8,
        },
        &mut vec![],
    ));
    check(in_step(
        catalog::MAIL_REQUESTED,
        &MailRequested {
            tenant: "tenant".into(),
            mail_id: "mail_id".into(),
            at: 3,
            to: "to".into(),
            template: "template".into(),
            data: "data".into(),
        },
        &mut vec![],
    ));
}

#[test]
fn every_struct_is_its_avsc() {
    let mut seen = BTreeSet::new();
    let mut check = |name: String| assert!(seen.insert(name));
    let counts = || {
        vec![
            TopicPartitions { topic: "a.b".into(), partitions: 4 },
            TopicPartitions { topic: "c".into(), partitions: 1 },
        ]
    };
    check(in_step(catalog::FLOW_OBSERVED, &flow(), &mut vec![]));
    check(in_step(catalog::FLOW_HOURLY, &hourly(), &mut vec![]));
    check(in_step(catalog::PARTIAL, &partial(), &mut vec![]));
    let marker = Marker {
        fingerprint: -7,
        at: 1_700_000_000_000,
        oldest_append: Some(41),
        sources: marks(),
        partition_counts: counts(),
    };
    check(in_step(catalog::MARKER, &marker, &mut vec![]));
    for ledger in [None, Some(repaired())] {
        in_step(catalog::REPAIR, &repair(ledger), &mut vec![]);
    }
    check(catalog::REPAIR.name.to_string());
    check(in_step(catalog::LEDGER, &ledger(), &mut vec![]));
    check(in_step(catalog::PROGRESS, &progress(counts()), &mut vec![]));
    let ids = SeenIds { fingerprint: 7, topic: "flows.observed", partition: 3, ids: &[5; 48] };
    check(in_step(catalog::SEEN_IDS, &ids, &mut vec![]));
    let row = RowState { window_start: 1, key: b"key", records: 2, accumulator: b"sum", revision: 3 };
    check(in_step(catalog::ROW_STATE, &row, &mut vec![]));
    for reason in [LateReason::Held, LateReason::Amended] {
        in_step(catalog::LATE_RECORD, &late(reason), &mut vec![]);
    }
    check(catalog::LATE_RECORD.name.to_string());
    check(in_step(catalog::SEALED_OUT, &sealed_out(), &mut vec![]));
    check(in_step(catalog::DEAD_LETTER, &dead_letter(), &mut vec![]));
    check(in_step(catalog::ANSWER, &answer(), &mut vec![]));
    check(in_step(catalog::SPOOL_POSITION, &spool_position(), &mut vec![]));
    check(in_step(catalog::JOB_ENTRY, &job_entry(), &mut vec![]));
    dispatch_and_documents(&mut check);
    assert_eq!(
        seen,
        catalog::ALL.iter().map(|s| s.name.to_string()).collect(),
        "each schema of the catalog has a struct checked here"
    );
}

#[test]
fn a_flow_is_read_without_copying() {
    let (mut bytes, flow) = (vec![], flow());
    flow.put(&mut bytes);
    let read = FlowObserved::get(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(read, flow);
    let within = |s: &str| bytes.as_ptr_range().contains(&s.as_ptr());
    assert!([read.tenant, read.src_app, read.dest_app, read.vpc_id, read.event_id].into_iter().all(within));
}

proptest! {
    #[test]
    fn any_flow_is_in_step(src in ".{1,20}", dest in ".{1,20}", at: i64, tx in 0..1i64 << 53, rx in 0..1i64 << 53) {
        let flow = FlowObserved { src_app: &src, dest_app: &dest, observed_at: at, bytes_tx: tx, bytes_rx: rx, ..flow() };
        in_step(catalog::FLOW_OBSERVED, &flow, &mut vec![]);
    }

    #[test]
    fn any_sum_is_in_step(tx: i128, rx: i64, records: i64) {
        let hourly = FlowHourly { bytes_tx: tx, bytes_rx: rx.into(), records, ..hourly() };
        in_step(catalog::FLOW_HOURLY, &hourly, &mut vec![]);
    }
}

fn flow() -> FlowObserved<'static> {
    FlowObserved {
        tenant: "acme",
        src_app: "web-\u{fc}",
        dest_app: "10.0.0.1:443",
        vpc_id: "vpc-1",
        observed_at: 1_700_000_000_123,
        bytes_tx: 1 << 53,
        bytes_rx: 77,
        event_id: "0192f5d2-5b6c-7000-8000-000000000001",
    }
}

fn hourly() -> FlowHourly<'static> {
    FlowHourly {
        tenant: "acme",
        src_app: "web",
        dest_app: "db",
        vpc_id: "vpc-1",
        window_start: 1_700_000_000_000,
        merge_partition: 11,
        records: 12,
        bytes_tx: i128::from(i64::MAX) * 3,
        bytes_rx: -129,
        opened_at: 15,
        epoch: 13,
        revision: 14,
    }
}

fn partial() -> Partial<'static> {
    let row = |records| PartialRow { key: b"k\x00", records, accumulator: &[0xff, 2] };
    let window = |start, rows| PartialWindow { start, first_offset: 5, last_offset: 6, late: 7, held: 8, rows };
    let windows = vec![window(3_600_000, vec![row(1), row(2)]), window(-3_600_000, vec![])];
    Partial { fingerprint: i64::MIN, topic: "flows.observed", partition: 9, windows }
}

fn repair(ledger: Option<RepairedLedger>) -> Repair<'static> {
    let row = |records| PartialRow { key: b"k", records, accumulator: &[0xff, 3] };
    Repair { fingerprint: -3, window_start: 3_600_000, replaces: 120, rows: vec![row(121), row(0)], ledger }
}

fn repaired() -> RepairedLedger {
    let source = SourceRange { topic: "flows.observed".into(), partition: 122, first_offset: 123, last_offset: 124 };
    RepairedLedger { rows: 125, records: 126, held: 127, sealed_out: 128, sources: vec![source] }
}

fn marks() -> Vec<SourceMark> {
    let mark = |partition, watermark, idle_at| SourceMark {
        topic: "flows.observed".into(),
        partition,
        next_offset: 20,
        watermark,
        idle_at,
        records: 21,
        late: 22,
        held: 23,
        filtered: 24,
        dead_lettered: 25,
        duplicates: 28,
    };
    vec![mark(0, None, Some(26)), mark(1, Some(27), None)]
}

fn ledger() -> Ledger {
    let source =
        |partition| SourceRange { topic: "flows.observed".into(), partition, first_offset: 31, last_offset: 32 };
    Ledger {
        window_start: 40,
        window_end: 41,
        merge_partition: 42,
        rows: 43,
        records: 44,
        late: 45,
        held: 46,
        sealed_out: 47,
        amended: true,
        sealed: false,
        opened_at: 48,
        closed_at: Some(49),
        updated_at: 50,
        sources: vec![source(0), source(1)],
        epoch: 51,
        revision: 52,
    }
}

fn progress(partition_counts: Vec<TopicPartitions>) -> Progress {
    let source = SourceProgress {
        topic: "flows.observed".into(),
        partition: 60,
        next_offset: 61,
        watermark: Some(62),
        idle_at: Some(63),
        records: 64,
        late: 65,
        held: 66,
        filtered: 67,
        dead_lettered: 68,
        duplicates: 69,
    };
    Progress {
        fingerprint: 70,
        merge_partition: 71,
        merge_partitions: 72,
        watermark: None,
        as_of: 73,
        oldest_append: Some(79),
        sources: vec![source],
        partition_counts,
        epoch: 74,
        revision: 75,
    }
}

fn late(reason: LateReason) -> LateRecord<'static> {
    LateRecord {
        topic: "flows.observed",
        partition: 80,
        offset: 81,
        event_time: 82,
        window_start: 83,
        window_end: 84,
        watermark: 85,
        grace_ms: 86,
        reason,
        value_length: 6,
        value: &[0, 0, 0, 0, 1, 9],
    }
}

fn sealed_out() -> SealedOut<'static> {
    SealedOut {
        topic: "flows.observed",
        partition: 90,
        first_offset: 91,
        last_offset: 92,
        window_start: 93,
        window_end: 94,
        key: b"key",
        records: 95,
        accumulator: b"sum",
    }
}

fn dead_letter() -> DeadLetter<'static> {
    DeadLetter {
        topic: "flows.observed",
        partition: 100,
        offset: 101,
        appended_at: 102,
        rule: "bad_magic",
        detail: "magic byte is 0x7b",
        key: None,
        value_length: 9,
        value: Some(b"{}"),
    }
}

fn answer() -> Answer<'static> {
    Answer {
        tenant: "acme",
        key: "retry-1",
        request_hash: &[7; 16],
        received_at: 110,
        first_id: "0192f5d2-5b6c-7000-8000-000000000002",
    }
}

fn spool_position() -> SpoolPosition<'static> {
    SpoolPosition { spool: "0192f5d2-5b6c-7000-8000-000000000003", run: 1_769_860_800_123, position: 17, record: 3 }
}

fn job_entry() -> JobEntry {
    let source = JobSource { topic: "a.b".into(), schema: "{}".into() };
    let (spec, sources) = ("job: x".into(), vec![source]);
    let version = JobVersion { version: 2, created_at: 4, applied_at: 5, fingerprint: -9, spec, sources };
    let retiring = JobRetiring {
        version: 1,
        retired_at: 6,
        topics: vec!["tidemark.a.b.v1.late".into()],
        groups: vec!["tidemark.a.b.v1.merge".into()],
        table: "a_b_v1".into(),
        replica: Some("r".into()),
        until: 8,
    };
    let (versions, retiring) = (vec![version], vec![retiring]);
    JobEntry { job: "a.b".into(), changed_at: 7, current: Some(2), previous: None, versions, retiring }
}
