//! A view that does not hold what its records come to.

use crate::world::{World, access, job};
use std::sync::Arc;
use tempfile::TempDir;
use tidemark_jobs::platform;
use tidemark_jobs::recompute::compare::What;
use tidemark_jobs::recompute::report::{Report, Verdict};
use tidemark_jobs::recompute::{self, Request};
use tidemark_schemas::engine::Ledger;
use tidemark_spec::SpecJob;
use tidemark_views::local::LocalViews;
use tidemark_views::{Row, Value, ViewStore};

/// The view again, its rows changed on the way.
fn against(world: &World, job: &Arc<SpecJob>, tamper: impl Fn(&mut Vec<Row>)) -> Report {
    against_both(world, job, |rows, _| tamper(rows))
}

/// The view again, its rows and its ledger changed on the way.
fn against_both(world: &World, job: &Arc<SpecJob>, tamper: impl Fn(&mut Vec<Row>, &mut Vec<Ledger>)) -> Report {
    let (dir, shape) = (TempDir::new().unwrap(), platform::shape(job));
    let copy = LocalViews::open(dir.path(), Arc::clone(&world.clock)).unwrap();
    let mut rows = world.rows(&shape, 4);
    let mut ledgers = world.runtime.block_on(world.views.ledger(&shape.view, 0, i64::MAX)).unwrap();
    tamper(&mut rows, &mut ledgers);
    world.runtime.block_on(async {
        copy.create(&shape.view).await.unwrap();
        copy.put_rows(&shape.view, &rows).await.unwrap();
        copy.put_ledger(&shape.view, &ledgers).await.unwrap();
        for progress in world.views.progress(&shape.view).await.unwrap() {
            copy.put_progress(&shape.view, &progress).await.unwrap();
        }
    });
    world.try_recompute(job.as_ref(), &shape, recompute::columns(job), copy.as_ref(), Request::default()).unwrap()
}

fn counts(report: &Report) -> (u64, u64, u64, u64) {
    let compared = &report.windows[0].compared;
    (compared.equal, compared.changed, compared.only_in_view, compared.only_recomputed)
}

#[test]
fn every_kind_of_difference_is_told() {
    for window in ["{tumbling: 1h}", "{session: 30m}"] {
        let (world, job) = (World::new(None), job(window, "amend for 7d"));
        world.publish(0, &[access(10, "a", "/x"), access(20, "b", "/y"), access(21, "c", "/z")]);
        world.publish(1, &[access(11, "a", "/x")]);
        world.run(&job);
        let bytes = job.columns().view.values.iter().position(|column| column.name == "bytes").unwrap();

        let same = against(&world, &job, |_| {});
        assert_eq!((same.verdict(), counts(&same)), (Verdict::Equal, (3, 0, 0, 0)), "{window}");

        let changed = against(&world, &job, |rows| rows[0].values[bytes] = Value::Integer(99));
        assert_eq!((changed.verdict(), counts(&changed)), (Verdict::Differs, (2, 1, 0, 0)), "{window}");
        assert_eq!(changed.verdict().exit(), 1);
        let What::Changed(changes) = &changed.windows[0].compared.differences[0].what else { panic!("{changed:#?}") };
        assert_eq!((changes.len(), changes[0].column.as_str(), &changes[0].view), (1, "bytes", &Value::Integer(99)));

        let lost = against(&world, &job, |rows| drop(rows.pop()));
        assert_eq!((lost.verdict(), counts(&lost)), (Verdict::Differs, (2, 0, 0, 1)), "{window}");

        let more = against(&world, &job, |rows| {
            let mut more = rows[0].clone();
            more.clustering[0] = Value::Text("nobody".into());
            rows.push(more);
        });
        assert_eq!((more.verdict(), counts(&more)), (Verdict::Differs, (3, 0, 1, 0)), "{window}");

        // Of a tenant that no record is of, nobody would ask; the ledger counts it.
        let elsewhere = against(&world, &job, |rows| rows[0].partition.tenant = "elsewhere".into());
        assert_eq!((elsewhere.verdict(), counts(&elsewhere)), (Verdict::Differs, (2, 0, 0, 1)), "{window}");

        let counted = against_both(&world, &job, |rows, ledgers| {
            let mut more = rows[0].clone();
            more.partition.tenant = "elsewhere".into();
            let of_more = |ledger: &&mut Ledger| ledger.merge_partition == more.partition.merge_partition;
            ledgers.iter_mut().find(of_more).unwrap().rows += 1;
            rows.push(more);
        });
        assert_eq!((counted.verdict(), counts(&counted)), (Verdict::Differs, (3, 0, 1, 0)), "{window}");
        assert!(counted.windows[0].notes[0].contains("the ledger counts 4 rows, and 3 were found"), "{counted:#?}");

        let newer = against(&world, &job, |rows| {
            rows[0].values[bytes] = Value::Integer(99);
            rows[0].revision.offset += 1_000;
        });
        assert_eq!(newer.verdict(), Verdict::NotProvable, "{window}: it changes while it is compared");
        assert!(newer.windows[0].notes[0].contains("changed while it was compared"), "{newer:#?}");
    }
}

/// A merge partition that has lost a window altogether, row and ledger: what was read of it is missed all the same.
#[test]
fn what_neither_rows_nor_ledger_speak_of_is_missed() {
    for window in ["{tumbling: 1h}", "{session: 30m}"] {
        let (world, job) = (World::new(None), job(window, "amend for 7d"));
        let round = |minute| (0..8).map(move |n| access(minute, &format!("c{n}"), "/"));
        world.publish(0, &round(10).chain(round(11)).chain(round(12)).collect::<Vec<_>>());
        world.publish(1, &[access(13, "c0", "/")]);
        world.run(&job);
        let report = against_both(&world, &job, |rows, ledgers| {
            let lost = rows[0].partition.merge_partition;
            rows.retain(|row| row.partition.merge_partition != lost);
            ledgers.retain(|ledger| ledger.merge_partition != lost);
        });
        assert_eq!(report.verdict(), Verdict::Differs, "{window}: {report:#?}");
        assert!(report.windows[0].compared.only_recomputed >= 1, "{window}");
    }
}

/// More different paths than are listed: the lists of two orders differ, and agree within the stated error.
#[test]
fn lists_of_most_frequent_values_are_held_to_their_stated_error() {
    let (world, job) = (World::new(None), job("{tumbling: 1h}", "amend for 7d"));
    for partition in 0..2 {
        for chunk in 0..6 {
            let path = |n: i64| if n % 5 == 0 { "/popular".to_owned() } else { format!("/{partition}-{chunk}-{n}") };
            let records: Vec<_> = (0..300).map(|n| access(n % 50, "a", &path(n))).collect();
            world.publish(partition, &records);
        }
    }
    world.run(&job);
    let report = world.recompute(&job, Request::default());
    assert_eq!(report.verdict(), Verdict::Equal, "{report:#?}");
    assert_eq!(report.windows[0].compared.within_error, 1, "the lists are not the same");
    let top = job.columns().view.values.iter().position(|column| column.name == "top").unwrap();
    let wrong = against(&world, &job, |rows| {
        rows[0].values[top] = Value::Json(r#"[{"value":"/nowhere","count":9000,"error":5}]"#.into());
    });
    assert_eq!(wrong.verdict(), Verdict::Differs);
}
