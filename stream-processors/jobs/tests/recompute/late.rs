//! Late records: held, sealed out, taken in when asked for.

use crate::world::{DAY, HOUR, World, access, job, only};
use tidemark_jobs::platform;
use tidemark_jobs::recompute::Request;
use tidemark_jobs::recompute::compare::What;
use tidemark_jobs::recompute::report::Verdict;

/// Whether a record was held can depend on a record of another window: that is read too.
#[test]
fn what_was_held_is_known_by_what_came_before_the_windows_own_offsets() {
    let (world, job) = (World::new(None), job("{tumbling: 1h}", "hold"));
    world.publish(0, &[access(310, "a", "/"), access(10, "a", "/held")]);
    world.publish(1, &[access(20, "a", "/"), access(310, "a", "/")]);
    world.run(&job);
    let report = world.recompute(&job, only(DAY));
    assert_eq!(report.verdict(), Verdict::Equal, "{report:#?}");
    let window = &report.windows[0];
    assert_eq!((window.records, window.left_out, window.state), (1, 1, "final"));
    assert!(report.margin.contains("1 offsets before the windows' own"), "{}", report.margin);
    assert!(report.included.contains("on time by its own partition's watermark"), "{}", report.included);
    let with_late = world.recompute(&job, Request { include_late: true, ..only(DAY) });
    assert_eq!(with_late.verdict(), Verdict::Differs);
    assert_eq!((with_late.counts.folded, with_late.counts.late_folded), (2, 1));
    let What::Changed(changes) = &with_late.windows[0].compared.differences[0].what else { panic!("{with_late:#?}") };
    let names: Vec<&str> = changes.iter().map(|change| change.column.as_str()).collect();
    assert!(names.starts_with(&["records", "n", "bytes"]), "{names:?}");
}

/// Under `amend` late records are in the figure; what came after sealing is not, and is told of.
#[test]
fn what_came_after_sealing_is_left_out_unless_it_is_asked_for() {
    for window in ["{tumbling: 1h}", "{session: 5m}"] {
        let (world, job) = (World::new(None), job(window, "amend for 1h"));
        let shape = platform::shape(&job);
        let running = world.start(&job, &shape);
        let publish = |partition, records: &[serde_json::Value]| {
            world.publish(partition, records);
            world.settle(job.as_ref(), &shape, crate::world::TOPIC);
        };
        publish(0, &[access(10, "a", "/"), access(30, "b", "/"), access(600, "z", "/")]);
        publish(1, &[access(20, "a", "/"), access(600, "z", "/")]);
        publish(1, &[access(40, "a", "/late")]);
        // An hour later the first hour is sealed by the next marker.
        world.pass(2 * HOUR);
        publish(0, &[access(601, "z", "/")]);
        publish(1, &[access(50, "b", "/turned-away"), access(51, "c", "/turned-away")]);
        running.stop();
        let report = world.recompute(&job, only(DAY));
        let seen = &report.windows[0];
        // Sealed in those merge partitions that have records of it; that is all of them only with more keys.
        assert_eq!((seen.state, seen.left_out), ("amended", 2), "{window}: {report:#?}");
        assert_eq!(report.verdict(), Verdict::Equal, "{window}: {report:#?}");
        assert_eq!(seen.records, 4, "{window}");
        let with_late = world.recompute(&job, Request { include_late: true, ..only(DAY) });
        assert_eq!(with_late.counts.late_folded, 2, "{window}: {with_late:#?}");
        assert!(with_late.windows[0].compared.only_recomputed >= 1, "{window}: the row of c");
        assert_eq!(with_late.verdict(), Verdict::Differs, "{window}");
        let all = world.recompute(&job, Request::default());
        assert_eq!(all.verdict(), Verdict::Equal, "{window}: {all:#?}");
    }
}

/// What was held after sealing is in no range of the ledger: it is found all the same, and counted.
#[test]
fn what_was_held_after_sealing_is_found() {
    let (world, job) = (World::new(None), job("{tumbling: 1h}", "hold"));
    let shape = platform::shape(&job);
    let running = world.start(&job, &shape);
    let publish = |partition, records: &[serde_json::Value]| {
        world.publish(partition, records);
        world.settle(job.as_ref(), &shape, crate::world::TOPIC);
    };
    publish(0, &[access(10, "a", "/"), access(600, "z", "/"), access(11, "a", "/held")]);
    publish(1, &[access(12, "a", "/"), access(600, "z", "/")]);
    world.pass(4 * 24 * HOUR);
    publish(0, &[access(601, "z", "/")]);
    publish(1, &[access(13, "a", "/held-after-sealing")]);
    running.stop();
    let ledgers =
        world.runtime.block_on(tidemark_views::ViewStore::ledger(world.views.as_ref(), &shape.view, DAY, DAY + 1));
    let ledgers = ledgers.unwrap();
    assert!(ledgers.iter().all(|ledger| ledger.sealed) && ledgers.iter().map(|ledger| ledger.held).sum::<i64>() == 2);
    let report = world.recompute(&job, only(DAY));
    assert_eq!((report.verdict(), report.windows[0].left_out), (Verdict::Equal, 2), "{report:#?}");
    assert_eq!(report.counts.left_out, 2, "both are found");
    let with_late = world.recompute(&job, Request { include_late: true, ..only(DAY) });
    assert_eq!((with_late.counts.folded, with_late.counts.late_folded), (4, 2));
}

/// The engine joins nothing with a sealed session; how far that is so depends on commits, and no difference is claimed.
#[test]
fn sessions_beside_a_sealed_bucket_are_not_called_different() {
    let (world, job) = (World::new(None), job("{session: 30m}", "amend for 1h"));
    let shape = platform::shape(&job);
    let running = world.start(&job, &shape);
    let publish = |partition, records: &[serde_json::Value]| {
        world.publish(partition, records);
        world.settle(job.as_ref(), &shape, crate::world::TOPIC);
    };
    publish(0, &[access(50, "a", "/"), access(58, "a", "/"), access(160, "z", "/")]);
    publish(1, &[access(160, "z", "/")]);
    world.pass(2 * HOUR);
    publish(1, &[access(161, "z", "/")]);
    publish(0, &[access(161, "z", "/"), access(65, "a", "/by-itself")]);
    running.stop();
    let report = world.recompute(&job, only(DAY));
    assert_eq!(report.windows[0].records, 2, "the sealed session stays as it is: {report:#?}");
    assert_eq!(report.verdict(), Verdict::NotProvable, "{report:#?}");
    assert!(report.windows[0].notes[0].contains("came after sealing beside its sessions"), "{report:#?}");
}
