//! Every kind of window, a built-in job, and each window by itself.

use crate::world::{DAY, HOUR, MINUTE, PARTITIONS, TOPIC, World, access, dice, job, only};
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::flows::{self, Settings};
use tidemark_jobs::platform;
use tidemark_jobs::recompute::report::Verdict;
use tidemark_jobs::recompute::{self, Request};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_views::ViewStore;

/// Six hours of accesses, each partition by itself a little out of order, with some hours late.
fn publish_some(world: &World, seed: u64) {
    let mut roll = dice(seed);
    for partition in 0..PARTITIONS {
        let records: Vec<_> = (0..300)
            .map(|at| {
                let late = if roll(9) == 0 { roll(150) } else { roll(12) };
                let minute = (60 + at * 6 * 60 / 300 - late).max(0);
                access(minute, &format!("c{}", roll(5)), &format!("/{}", roll(20)))
            })
            .collect();
        // Halfway something from the future and something that is no record: they are in no figure.
        for (at, chunk) in records.chunks(70).enumerate() {
            world.publish(partition, chunk);
            if at == 2 {
                world.publish(partition, &[access(13 * 60, "c0", "/"), access(26 * 60, "c1", "/")]);
                world.append(TOPIC, partition, &[b"nonsense".to_vec()]);
            }
        }
    }
}

#[test]
fn every_kind_of_window_is_equal_all_at_once_and_one_by_one() {
    for (window, late) in [
        ("{tumbling: 1h}", "amend for 7d"),
        ("{hopping: 1h, every: 20m}", "amend for 7d"),
        ("{session: 15m}", "amend for 7d"),
        ("{session: 100m}", "amend for 7d"),
        ("{tumbling: 1h}", "hold"),
        ("{hopping: 1h, every: 20m}", "hold"),
        ("{session: 15m}", "hold"),
    ] {
        let (world, job) = (World::new(None), job(window, late));
        publish_some(&world, 3);
        world.run(&job);
        let all = world.recompute(&job, Request::default());
        assert_eq!(all.verdict(), Verdict::Equal, "{window} {late}: {:#?}", all.json(&job.columns().view));
        let rows: u64 = all.windows.iter().map(|window| window.compared.equal).sum();
        let ledger_rows = world.rows(&platform::shape(&job), 4).iter().filter(|row| !is_retracted(&job, row)).count();
        assert_eq!(rows, ledger_rows as u64, "{window} {late}: every row of the view is compared");
        assert_eq!(all.counts.dead_lettered, 6, "{window} {late}");
        let streamed: i64 = all.windows.iter().map(|window| window.records).sum();
        assert_eq!(streamed, all.counts.folded, "{window} {late}: records");
        for one in &all.windows {
            let alone = world.recompute(&job, only(one.start));
            assert_eq!(alone.windows.len(), 1);
            assert_eq!(alone.verdict(), Verdict::Equal, "{window} {late}: {:#?}", alone.json(&job.columns().view));
            assert_eq!(alone.windows[0].compared.equal, one.compared.equal, "{window} {late}: rows of one window");
        }
    }
}

fn is_retracted(job: &tidemark_spec::SpecJob, row: &tidemark_views::Row) -> bool {
    recompute::columns(job).is_retracted(row)
}

/// A visit that goes on for hours belongs to the bucket that it began in, whichever bucket is asked for.
#[test]
fn a_long_session_reaches_over_buckets() {
    let (world, job) = (World::new(None), job("{session: 30m}", "amend for 7d"));
    let visit: Vec<_> = (0..12).map(|n| access(50 + n * 25, "long", "/")).collect();
    world.publish(0, &visit);
    world.publish(1, &[access(60, "other", "/"), access(200, "long", "/x"), access(500, "end", "/")]);
    world.publish(0, &[access(500, "end", "/")]);
    world.run(&job);
    for (start, rows) in [(DAY, 1), (DAY + HOUR, 1)] {
        let report = world.recompute(&job, only(start));
        assert_eq!((report.verdict(), report.windows[0].compared.equal), (Verdict::Equal, rows), "{report:#?}");
    }
    let first = world.recompute(&job, only(DAY));
    assert_eq!(first.windows[0].end, DAY + (50 + 11 * 25 + 30) * MINUTE, "the end of its last session");
    assert_eq!(first.windows[0].records, 13);
    assert!(first.margin.contains("30m before each bucket"), "{}", first.margin);
}

/// A visit goes on over hours in which others' were sealed at offsets before its own.
#[test]
fn a_session_holds_what_is_past_the_last_offset_of_the_hours_that_it_crosses() {
    let (world, job) = (World::new(None), job("{session: 30m}", "amend for 1h"));
    let others = |minute: i64| (0..12).map(move |n| access(minute, &format!("o{n}"), "/"));
    let visit = (0..5).map(|n| access(50 + n * 25, "long", "/"));
    let mut records: Vec<_> = others(60).chain(others(120)).chain(visit).collect();
    records.sort_by_key(|record| std::cmp::Reverse(record["client"].to_string().contains("o")));
    let shape = platform::shape(&job);
    let running = world.start(&job, &shape);
    world.publish(0, &records);
    world.publish(1, &[access(600, "end", "/")]);
    world.publish(0, &[access(600, "end", "/")]);
    world.settle(job.as_ref(), &shape, TOPIC);
    world.pass(2 * HOUR);
    world.publish(0, &[access(601, "end", "/")]);
    world.settle(job.as_ref(), &shape, TOPIC);
    running.stop();
    let ledgers = world.runtime.block_on(world.views.ledger(&shape.view, DAY, DAY + 3 * HOUR)).unwrap();
    assert!(ledgers.iter().all(|ledger| ledger.sealed), "{ledgers:?}");
    let report = world.recompute(&job, only(DAY));
    assert_eq!((report.verdict(), report.windows[0].records), (Verdict::Equal, 5), "{report:#?}");
    assert_eq!(world.recompute(&job, Request::default()).verdict(), Verdict::Equal);
}

#[test]
fn the_built_in_job_is_recomputed_and_its_repeats_are_counted_once() {
    let world = World::new(None);
    let settings = Settings { merge_partitions: 2, dedupe_ms: HOUR, ..Settings::default() };
    let job = Arc::new(flows::hourly(&settings).unwrap());
    let shape = platform::shape(job.head());
    let topic = tidemark_log::TopicSpec {
        name: flows::TOPIC.into(),
        partitions: 2,
        cleanup: tidemark_log::Cleanup::Delete,
        retention_ms: None,
    };
    tidemark_log::Log::create_topics(world.log.as_ref(), &[topic]).unwrap();
    let schema = world.registry.register("", &tidemark_schemas::catalog::FLOW_OBSERVED.avsc).unwrap();
    let flow = |id: i64, observed_at: i64| {
        let (mut value, id) = (Vec::new(), id.to_string());
        wire::put_header(schema, &mut value);
        let (src_app, dest_app, vpc_id) = ("web", "db", "v");
        let (tenant, bytes_tx, bytes_rx, event_id) = ("acme", 1, 2, id.as_str());
        FlowObserved { tenant, src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id }.put(&mut value);
        value
    };
    let running = world.start(&job, &shape);
    // The same ids again half an hour later are repeats, and an hour after that they are not.
    for (pass, hour) in [(0, 9), (HOUR / 2, 9), (HOUR, 10)] {
        world.pass(pass);
        let values: Vec<_> = (0..20).map(|id| flow(id, DAY + hour * HOUR + id)).collect();
        world.append(flows::TOPIC, 0, &values);
        world.settle(job.as_ref(), &shape, flows::TOPIC);
    }
    world.append(flows::TOPIC, 1, &[flow(7, DAY + 9 * HOUR), b"nonsense".to_vec()]);
    world.settle(job.as_ref(), &shape, flows::TOPIC);
    running.stop();
    let views: &dyn ViewStore = world.views.as_ref();
    let plain = || recompute::columns(job.head());
    let report = world.try_recompute(job.as_ref(), &shape, plain(), views, Request::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Equal, "{report:#?}");
    assert_eq!(report.windows.iter().map(|window| window.records).collect::<Vec<_>>(), [21, 20]);
    assert_eq!((report.counts.duplicates, report.counts.dead_lettered), (20, 0), "nonsense is past the last offset");
    let late = world.try_recompute(job.as_ref(), &shape, plain(), views, only(DAY + 10 * HOUR)).unwrap();
    assert_eq!((late.verdict(), late.windows[0].records), (Verdict::Equal, 20), "{late:#?}");
    assert_eq!(late.counts.duplicates, 20, "the ids before it are read too");
    let none = world.try_recompute(job.as_ref(), &shape, plain(), views, only(DAY)).unwrap_err().to_string();
    assert!(none.contains("flows.hourly has no window in [2026-01-01T00:00:00Z"), "{none}");
}

#[test]
fn an_empty_topic_has_no_window() {
    let (world, job) = (World::new(None), job("{tumbling: 1h}", "hold"));
    world.run(&job);
    let views: &dyn ViewStore = world.views.as_ref();
    let shape = platform::shape(&job);
    let none = world.try_recompute(job.as_ref(), &shape, recompute::columns(&job), views, Request::default());
    assert!(none.unwrap_err().to_string().contains("t has no window yet"));
    assert_eq!(TOPIC, job.spec().sources[0]);
}
