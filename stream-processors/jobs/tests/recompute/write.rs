//! What differs, written as a new epoch: by the stages at work, into sealed windows alone.

use crate::world::{ACCESS, Access, DAY, HOUR, TOPIC, World, access, job, only};
use serde_json::Value as Json;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::platform;
use tidemark_jobs::recompute::fold::{At, Fold, Partition};
use tidemark_jobs::recompute::report::{Report, Verdict};
use tidemark_jobs::recompute::scope::Scope;
use tidemark_jobs::recompute::{Error, Recompute, Request};
use tidemark_log::{Log, Outgoing};
use tidemark_runtime::repair::{RepairRow, Repairs, WindowRepair};
use tidemark_runtime::run::{Running, Shape};
use tidemark_schemas::engine::{Ledger, RepairedLedger, SourceRange};
use tidemark_schemas::registry::Registry;
use tidemark_spec::SpecJob;
use tidemark_views::local::LocalViews;
use tidemark_views::{Revision, Row, Value, ViewStore};

/// A job at work, in whose first hour records come late.
struct Late {
    world: World,
    job: Arc<SpecJob>,
    shape: Shape,
    running: Option<Running>,
    /// Of the last record of an hour far on, which moves the watermark.
    minute: i64,
}

impl Late {
    fn new(job: Arc<SpecJob>) -> Self {
        Self::kept(job, None)
    }

    fn kept(job: Arc<SpecJob>, retention_ms: Option<i64>) -> Self {
        let (world, shape) = (World::new(retention_ms), platform::shape(&job));
        let running = Some(world.start(&job, &shape));
        Self { world, job, shape, running, minute: 6_000 }
    }

    fn publish(&self, partition: u32, records: &[Json]) {
        self.world.publish(partition, records);
        self.world.settle(self.job.as_ref(), &self.shape, TOPIC);
    }

    /// Every hour up to a hundred is over.
    fn advance(&mut self) {
        self.minute += 1;
        self.publish(0, &[access(self.minute, "z", "/")]);
        self.publish(1, &[access(self.minute, "z", "/")]);
    }

    /// Their windows are sealed, by the watermark and by the time that they have been there.
    fn seal(&mut self) {
        self.advance();
        self.world.pass(100 * HOUR);
        self.advance();
    }

    fn restart(&mut self) {
        self.running.take().unwrap().stop();
        self.running = Some(self.world.start(&self.job, &self.shape));
    }

    fn ask(&self, request: Request) -> Report {
        self.world.recompute(&self.job, request)
    }

    fn compare(&self) -> Report {
        self.ask(only(DAY))
    }

    fn write(&self, include_late: bool) -> Report {
        self.ask(Request { write: true, include_late, ..only(DAY) })
    }

    fn ledgers(&self) -> Vec<Ledger> {
        self.world.runtime.block_on(self.world.views.ledger(&self.shape.view, DAY, DAY + 1)).unwrap()
    }

    /// Epoch, records in rows, late in rows, held, sealed out: of the first hour.
    fn account(&self) -> (i32, i64, i64, i64, i64) {
        let ledgers = self.ledgers();
        let sum = |count: fn(&Ledger) -> i64| ledgers.iter().map(count).sum();
        let epoch = ledgers.iter().map(|ledger| ledger.epoch).max().unwrap();
        (epoch, sum(|l| l.records), sum(|l| l.late), sum(|l| l.held), sum(|l| l.sealed_out))
    }

    /// Rows of the first hour that readers get.
    fn rows(&self) -> Vec<Row> {
        let rows = self.world.rows(&self.shape, 4).into_iter();
        rows.filter(|row| row.partition.window_start == DAY && records(row) != 0).collect()
    }

    /// Every record that was read is in rows or told as left out, in all windows.
    fn accounts_for_all(&self) {
        let views = self.world.views.as_ref();
        let (ledgers, progress) = self.world.runtime.block_on(async {
            (
                views.ledger(&self.shape.view, 0, i64::MAX).await.unwrap(),
                views.progress(&self.shape.view).await.unwrap(),
            )
        });
        let read: i64 =
            progress[0].sources.iter().map(|s| s.records - s.dead_lettered - s.filtered - s.duplicates).sum();
        let told: i64 = ledgers.iter().map(|l| l.records + l.held + l.sealed_out).sum();
        assert_eq!(told, read, "{ledgers:#?}");
        let rows: i64 = self.world.rows(&self.shape, 4).iter().map(records).sum();
        assert_eq!(rows, ledgers.iter().map(|l| l.records).sum::<i64>());
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn records(row: &Row) -> i64 {
    let Value::Long(records) = row.values[0] else { panic!("{row:?}") };
    records
}

fn written(report: &Report) -> Option<(u64, u64, i32)> {
    report.windows[0].written.map(|written| (written.rows, written.removed, written.epoch))
}

/// The first hour is sealed with a record of `a` and one of `b`; then come one of `b` and one of `c`.
fn with_late(late: &str) -> Late {
    let mut of = Late::new(job("{tumbling: 1h}", late));
    of.publish(0, &[access(10, "a", "/"), access(30, "b", "/")]);
    of.publish(1, &[access(11, "a", "/")]);
    of.seal();
    of.publish(1, &[access(50, "b", "/turned-away"), access(51, "c", "/turned-away")]);
    of
}

/// Under both policies, and once more when more has come.
#[test]
fn late_records_are_folded_in_when_asked_for_and_accounted_for() {
    for policy in ["amend for 1h", "hold"] {
        let mut of = with_late(policy);
        let left_out = |n| if policy == "hold" { (n, 0) } else { (0, n) };
        assert_eq!(of.account(), (1, 3, 0, left_out(2).0, left_out(2).1), "{policy}");
        of.accounts_for_all();
        let unasked = of.write(false);
        assert_eq!((unasked.exit(), written(&unasked)), (0, None), "{policy}: it is what its records come to");
        let report = of.write(true);
        assert_eq!((report.exit(), report.verdict()), (0, Verdict::Equal), "{policy}: {report:#?}");
        assert_eq!(written(&report), Some((2, 0, 2)), "{policy}: the rows of b and c");
        assert_eq!(report.windows[0].written.map(|w| (w.records, w.left_out)), Some((5, 0)), "{policy}");
        assert_eq!((report.windows[0].records, report.windows[0].left_out), (3, 2), "{policy}: as it was streamed");
        assert_eq!(of.account(), (2, 5, 2, 0, 0), "{policy}");
        of.accounts_for_all();
        assert_eq!(of.rows().iter().map(records).sum::<i64>(), 5);
        assert_eq!(of.rows().len(), 3);
        let renewed = |row: &&Row| row.revision.epoch == 2;
        assert_eq!(of.rows().iter().filter(renewed).count(), 2, "{policy}: the others stay as they were");
        let again = of.write(true);
        assert_eq!((again.exit(), written(&again), of.account().0), (0, None, 2), "{policy}: nothing to write");
        // It is what it says, also without being asked for late records: these are its own now.
        assert_eq!(of.compare().verdict(), Verdict::Equal, "{policy}: {:#?}", of.compare());

        of.restart();
        of.publish(0, &[access(12, "a", "/turned-away")]);
        assert_eq!(of.account(), (2, 5, 2, left_out(1).0, left_out(1).1), "{policy}");
        of.accounts_for_all();
        assert_eq!(of.compare().verdict(), Verdict::Equal, "{policy}: {:#?}", of.compare());
        assert_eq!((of.write(false).exit(), of.account().0), (0, 2), "{policy}");
        let third = of.write(true);
        assert_eq!((third.exit(), of.account()), (0, (third_epoch(&of), 6, 3, 0, 0)), "{policy}: {third:#?}");
        of.accounts_for_all();
    }
}

/// Each merge partition has its own epochs: the row of `a` may be where one was written before.
fn third_epoch(of: &Late) -> i32 {
    let place = |client: &str| {
        let is_it = |row: &&Row| row.clustering[0] == Value::Text(client.into());
        of.rows().iter().find(is_it).unwrap().partition.merge_partition
    };
    if [place("b"), place("c")].contains(&place("a")) { 3 } else { 2 }
}

/// Rows that are wrong, gone, or nobody's, in a view whose key columns stand in another order than the job's key.
#[test]
fn what_the_view_has_wrong_is_put_right() {
    let text = format!(
        "job: t\nversion: 1\nsource: {{topics: {TOPIC}, time: at, grace: 10m, idle_after: 1d}}\nkey: [client, status, path]\n\
         window: {{tumbling: 1h}}\nlate: amend for 1h\naggregate: {{bytes: sum(bytes)}}\nview: {{clustering: [path, client, status]}}\n"
    );
    let job = tidemark_spec::compile("job.yaml", &text, &Access).unwrap_or_else(|problems| panic!("{problems}"));
    let mut of = Late::new(Arc::new(job));
    of.publish(0, &[access(10, "a", "/x"), access(20, "b", "/y"), access(21, "c", "/z")]);
    of.seal();
    let right = of.rows();
    let renewed = |row: &Row| {
        let mut row = row.clone();
        row.revision.offset += 1;
        row
    };
    let (mut wrong, mut lost, mut more) = (renewed(&right[0]), renewed(&right[1]), right[2].clone());
    wrong.values[1] = Value::Integer(99);
    lost.values[0] = Value::Long(0);
    more.clustering[0] = Value::Text("/nowhere".into());
    let rows = [wrong, lost, more];
    of.world.runtime.block_on(of.world.views.put_rows(&of.shape.view, &rows)).unwrap();
    assert_eq!(of.compare().verdict(), Verdict::Differs);
    let report = of.write(false);
    assert_eq!((report.exit(), written(&report)), (0, Some((2, 1, 2))), "{report:#?}");
    let plain = |rows: Vec<Row>| -> Vec<_> {
        rows.into_iter().map(|row| Row { revision: Revision::default(), ..row }).collect()
    };
    assert_eq!(plain(of.rows()), plain(right), "as it was, by the same keys");
    of.accounts_for_all();
    assert_eq!((of.write(false).exit(), written(&of.write(false))), (0, None));
}

/// A window that is not sealed takes records by itself.
#[test]
fn an_open_window_is_not_written_and_says_when_it_is_sealed() {
    let mut of = Late::new(job("{tumbling: 1h}", "hold"));
    of.publish(0, &[access(10, "a", "/"), access(600, "z", "/"), access(20, "a", "/held")]);
    of.advance();
    let before = of.ledgers();
    let report = of.write(true);
    assert_eq!((report.exit(), report.verdict(), written(&report)), (2, Verdict::Differs, None), "{report:#?}");
    let note = &report.windows[0].notes[0];
    assert!(note.contains("not sealed yet") && note.contains("has passed 2026-01-01T02:10:00Z"), "{note}");
    assert!(note.contains("not before 2026-01-01T13:00:"), "{note}");
    assert_eq!(of.ledgers(), before);
}

#[test]
fn what_is_no_longer_kept_is_not_written() {
    let mut of = Late::kept(job("{tumbling: 1h}", "amend for 1h"), Some(HOUR));
    of.publish(0, &[access(10, "a", "/")]);
    of.seal();
    of.publish(1, &[access(12, "a", "/late")]);
    of.world.log.maintain().unwrap();
    let before = (of.ledgers(), of.rows());
    let report = of.write(true);
    assert_eq!((report.exit(), report.verdict()), (2, Verdict::NotProvable), "{report:#?}");
    assert!(report.windows[0].notes[0].contains("ends the proof"), "{report:#?}");
    assert_eq!((of.ledgers(), of.rows()), before);
}

/// A ledger that tells of one late record more than the topics have.
#[test]
fn late_records_are_written_all_or_none() {
    let of = with_late("amend for 1h");
    let dir = tempfile::TempDir::new().unwrap();
    let copy = LocalViews::open(dir.path(), Arc::clone(&of.world.clock)).unwrap();
    let mut ledgers = of.ledgers();
    ledgers.iter_mut().filter(|ledger| ledger.sealed_out > 0).for_each(|ledger| ledger.sealed_out += 1);
    let rows = of.rows();
    of.world.runtime.block_on(async {
        copy.create(&of.shape.view).await.unwrap();
        copy.put_rows(&of.shape.view, &rows).await.unwrap();
        copy.put_ledger(&of.shape.view, &ledgers).await.unwrap();
        for progress in of.world.views.progress(&of.shape.view).await.unwrap() {
            copy.put_progress(&of.shape.view, &progress).await.unwrap();
        }
    });
    let columns = tidemark_jobs::recompute::columns(&of.job);
    let request = Request { write: true, include_late: true, ..only(DAY) };
    let report = of.world.try_recompute(of.job.as_ref(), &of.shape, columns, copy.as_ref(), request).unwrap();
    assert_eq!((report.exit(), report.verdict()), (2, Verdict::NotProvable), "{report:#?}");
    assert!(report.windows[0].notes[0].contains("were found: the rest is no longer kept"), "{report:#?}");
    assert_eq!(of.account().0, 1);
}

#[test]
fn sessions_are_refused() {
    let of = Late::new(job("{session: 30m}", "amend for 1h"));
    let (views, columns) = (of.world.views.as_ref(), tidemark_jobs::recompute::columns(&of.job));
    let request = Request { write: true, ..Request::default() };
    let refused = of.world.try_recompute(of.job.as_ref(), &of.shape, columns, views, request);
    assert!(matches!(refused, Err(Error::Sessions(_))), "{refused:?}");
}

/// A repair of one row, as a recomputation publishes it.
fn repair(of: &Late, replaces: i32, records: i64) -> WindowRepair {
    let row = of.rows().into_iter().find(|row| row.clustering[0] == Value::Text("a".into())).unwrap();
    let merge_partition = row.partition.merge_partition as u32;
    let key = tidemark_jobs::recompute::columns(&of.job).key(&row).unwrap();
    let mut accumulator = Vec::new();
    tidemark_core::Accumulator::put(&<SpecJob as Job>::Accumulator::default(), &mut accumulator);
    let ledger = RepairedLedger { rows: 1, records, held: 0, sealed_out: 0, sources: vec![] };
    let rows = vec![RepairRow { key, records, accumulator }];
    WindowRepair { window_start: DAY, merge_partition, replaces, rows, ledger }
}

/// Two that have computed from the same: the second finds another epoch, and a third that was pushed aside writes nothing.
#[test]
fn of_two_repairs_one_is_taken_in() {
    let mut of = with_late("amend for 1h");
    let (log, registry, spec) = (Arc::clone(&of.world.log), Arc::clone(&of.world.registry), of.job.spec().clone());
    let repairs = Repairs::new(&spec, log.as_ref(), registry.as_ref()).unwrap();
    let (first, second) = (repair(&of, 1, 70), repair(&of, 1, 700));
    let partition = first.merge_partition;
    // A zombie has begun its transaction when the first takes its id.
    let mut zombie = of.world.log.producer(&repairs.id(partition)).unwrap();
    repairs.publish(&first).unwrap();
    let topic = tidemark_runtime::Plan::new(of.job.spec().clone()).unwrap().partials;
    let late = zombie
        .commit(&mut |sink| sink.send(Outgoing { topic: &topic, partition, value: Some(b"x"), ..Outgoing::default() }));
    assert!(matches!(late, Err(tidemark_log::Error::Fenced(_))), "{late:?}");
    repairs.publish(&second).unwrap();
    of.advance();
    let seen = |of: &Late| {
        let of_it = |ledger: &&Ledger| ledger.merge_partition == partition as i32;
        of.ledgers().iter().find(of_it).map(|ledger| (ledger.epoch, ledger.records))
    };
    assert_eq!(seen(&of), Some((2, 70)));
    of.restart();
    of.advance();
    assert_eq!(seen(&of), Some((2, 70)), "the state holds it");
    // What they wrote was wrong: recomputing puts it right.
    let report = of.write(true);
    assert_eq!((report.exit(), of.account().1), (0, 5), "{report:#?}");
    of.accounts_for_all();
}

/// Many records, of which the last brings the ledger: all or nothing, whoever dies between them.
#[test]
fn a_repair_that_breaks_off_has_not_been() {
    let mut of = with_late("amend for 1h");
    let (log, registry, spec) = (Arc::clone(&of.world.log), Arc::clone(&of.world.registry), of.job.spec().clone());
    let repairs = Repairs::new(&spec, log.as_ref(), registry.as_ref()).unwrap();
    let whole = repair(&of, 1, 70);
    let topic = tidemark_runtime::Plan::new(of.job.spec().clone()).unwrap().partials;
    let mut producer = of.world.log.producer(&repairs.id(whole.merge_partition)).unwrap();
    let broken = producer.commit(&mut |sink| {
        sink.send(Outgoing {
            topic: &topic,
            partition: whole.merge_partition,
            value: Some(b"x"),
            ..Outgoing::default()
        })?;
        Err(tidemark_log::Error::Retriable("it dies".into()))
    });
    assert!(broken.is_err());
    of.advance();
    assert_eq!(of.account().0, 1, "the stages go on, and have seen nothing");
    let first = whole.rows[0].clone();
    let other = |n| RepairRow { key: vec![14, b'd', b'e', b'f', b'a', b'u', b'l', b't', 2, n], ..first.clone() };
    let rows: Vec<RepairRow> = std::iter::once(first.clone()).chain((1..51).map(other)).collect();
    let ledger = RepairedLedger { rows: 51, records: 51 * 70, ..whole.ledger.clone() };
    repairs.with_record_bytes(1).publish(&WindowRepair { rows, ledger, ..whole }).unwrap();
    of.advance();
    of.restart();
    of.advance();
    assert_eq!(of.account().0, 2);
    assert_eq!(of.rows().iter().filter(|row| records(row) == 70).count(), 51, "one in each record");
    let report = of.write(true);
    assert_eq!((report.exit(), of.account().1), (0, 5), "{report:#?}");
    of.accounts_for_all();
}

/// A record that the merge partition is yet to take in would be folded twice: here, and by that.
#[test]
fn late_records_go_as_far_as_the_merge_partition_has_come() {
    let of = with_late("amend for 1h");
    let job = of.job.as_ref();
    let place = |row: &&Row| row.clustering[0] == Value::Text("a".into());
    let merge_partition = of.rows().iter().find(place).unwrap().partition.merge_partition;
    let is_it = |ledger: &&Ledger| ledger.merge_partition == merge_partition;
    let mut ledger = of.ledgers().iter().find(is_it).cloned().unwrap();
    let source = SourceRange { topic: TOPIC.into(), partition: 0, first_offset: 0, last_offset: 5 };
    ledger.sources = vec![source];
    let mut progress = of.world.runtime.block_on(of.world.views.progress(&of.shape.view)).unwrap();
    for source in progress.iter_mut().flat_map(|progress| &mut progress.sources) {
        source.next_offset = 8;
    }
    let ledgers = [ledger];
    let scope = Scope::new(job.spec(), &ledgers, &progress, [DAY].into());
    let from = (TOPIC.to_owned(), 0);
    for (include_late, folded) in [(false, 6), (true, 8)] {
        let (mut fold, mut partition) =
            (Fold::new(job.spec(), &scope, include_late, false), Partition::new(scope.limits(&from)));
        let maker = tidemark_spec::datum::Maker::new(ACCESS, &[]).unwrap();
        for offset in 0..10 {
            let (datum, mut scratch) = (maker.datum(&access(10, "a", "/")).unwrap(), Vec::new());
            let at = At { offset, appended_at: DAY + HOUR };
            fold.record(&mut partition, at, job.read(tidemark_core::Input::of(&datum), &mut scratch));
        }
        fold.end(&from, partition);
        let shared = fold.shared(DAY, merge_partition as u32);
        assert_eq!((fold.counts.folded, shared.late_folded), (folded, folded - 6));
        assert_eq!(shared.sources[0].last_offset, folded - 1);
    }
}

/// The ledger is not the one that was computed from any more: it is computed anew, and the newcomer is in it.
#[test]
fn who_comes_late_meanwhile_is_taken_along() {
    let of = with_late("amend for 1h");
    let (job, log, views) = (of.job.as_ref(), of.world.log.as_ref(), of.world.views.as_ref());
    let registry = Arc::clone(&of.world.registry) as Arc<dyn Registry>;
    let (columns, handle) = (tidemark_jobs::recompute::columns(&of.job), of.world.runtime.handle().clone());
    let now = (of.world.clock)();
    let recompute = Recompute { job, shape: &of.shape, columns, log, registry, views, handle, now };
    let mut came = false;
    let request = Request { write: true, include_late: true, ..only(DAY) };
    let report = recompute.run(request, &mut |_| {
        if !std::mem::replace(&mut came, true) {
            of.publish(0, &[access(12, "b", "/turned-away")]);
        }
        true
    });
    assert_eq!((report.unwrap().exit(), of.account()), (0, (2, 6, 3, 0, 0)));
    of.accounts_for_all();
}
