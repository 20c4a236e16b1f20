//! A view that does not hold what its records come to.

use crate::world::{World, access, job};
use std::sync::Arc;
use tempfile::TempDir;
use tidemark_jobs::platform;
use tidemark_jobs::recompute::compare::What;
use tidemark_jobs::recompute::report::{Report, Verdict};
use tidemark_jobs::recompute::{self, Request};
use tidemark_spec::SpecJob;
use tidemark_views::local::LocalViews;
use tidemark_views::{Row, Value, ViewStore};

/// The view again, its rows changed on the way.
fn against(world: &World, job: &Arc<SpecJob>, tamper: impl Fn(&mut Vec<Row>)) -> Report {
    let (dir, shape) = (TempDir::new().unwrap(), platform::shape(job));
    let copy = LocalViews::open(dir.path(), Arc::clone(&world.clock)).unwrap();
    let mut rows = world.rows(&shape, 4);
    tamper(&mut rows);
    world.runtime.block_on(async {
        copy.create(&shape.view).await.unwrap();
        copy.put_rows(&shape.view, &rows).await.unwrap();
        copy.put_ledger(&shape.view, &world.views.ledger(&shape.view, 0, i64::MAX).await.unwrap()).await.unwrap();
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

        let newer = against(&world, &job, |rows| {
            rows[0].values[bytes] = Value::Integer(99);
            rows[0].revision.offset += 1_000;
        });
        assert_eq!(newer.verdict(), Verdict::NotProvable, "{window}: it changes while it is compared");
        assert!(newer.windows[0].notes[0].contains("changed while it was compared"), "{newer:#?}");
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
