//! A process that is rebuilt from its entries at any point goes on as if nothing had been, whatever it is told.

use crate::world::{Command, Seen, World, file};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tidemark_core::dispatch;
use tidemark_core::process::Process;
use tidemark_jobs::documents::Settings;
use tidemark_schemas::dispatch::{Answered, RunTime, RunTimesLearned};
use tidemark_schemas::notifications::MailRequested;

/// Small enough that everything happens within a few commands.
fn settings() -> Settings {
    let dispatch =
        dispatch::Settings { finished_kept_ms: 20_000, undelivered_max: 2, refused_max: 2, ..Default::default() };
    Settings { dispatch, progress_every: 2, progress_to: vec![], upload_kept_ms: 30_000 }
}

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Upload { file: u64, again: bool },
    Lease { worker: u8, wait_ms: i64 },
    Heartbeat { worker: u8, step: u8 },
    Report { lease: prop::sample::Index, outcome: u8 },
    Act { file: u64, action: u8 },
    Learn { ms: i64 },
    Wait { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u64, any::<bool>()).prop_map(|(file, again)| Step::Upload { file, again }),
        4 => (0..3u8, prop_oneof![Just(0), Just(20_000)]).prop_map(|(worker, wait_ms)| Step::Lease { worker, wait_ms }),
        4 => (0..3u8, 0..3u8).prop_map(|(worker, step)| Step::Heartbeat { worker, step }),
        4 => (any::<prop::sample::Index>(), 0..3u8).prop_map(|(lease, outcome)| Step::Report { lease, outcome }),
        2 => (0..5u64, 0..2u8).prop_map(|(file, action)| Step::Act { file, action }),
        1 => (1..200_000i64).prop_map(|ms| Step::Learn { ms }),
        3 => prop_oneof![0..3_000i64, 9_000..40_000i64].prop_map(|ms| Step::Wait { ms }),
    ]
}

/// Does the step. Leases that were given, with their workers, are kept in `leases`.
fn take(world: &mut World, step: &Step, leases: &mut Vec<(String, Answered)>) -> Seen {
    let worker = |n: u8| format!("w{n}");
    let before = world.seen.clone();
    match step {
        Step::Upload { file, again } => {
            let mut upload = world.upload(*file, if *again { "ann" } else { "bob" });
            if *again {
                upload.upload_id = format!("of-{file}");
            }
            world.give(Command::Upload(upload));
        }
        Step::Lease { worker: n, wait_ms } => drop(world.lease_waiting(&worker(*n), *wait_ms)),
        Step::Heartbeat { worker: n, step } => {
            let name = worker(*n);
            let held: Vec<_> =
                leases.iter().filter(|(worker, _)| *worker == name).map(|(_, lease)| lease.clone()).collect();
            let step = ["", "D1", "D2"][usize::from(*step)];
            let held: Vec<_> = held.iter().rev().take(3).map(|lease| (lease, step)).collect();
            world.heartbeat(&name, &held);
        }
        Step::Report { lease, outcome } => {
            if let Some((worker, lease)) = (!leases.is_empty()).then(|| lease.get(leases).clone()) {
                world.reported(&worker, &lease, ["COMPLETED", "FAILED", "REFUSED"][usize::from(*outcome)]);
            }
        }
        Step::Act { file: n, action } => drop(world.act(&file(*n), ["CANCEL", "RETRY"][usize::from(*action)])),
        Step::Learn { ms } => {
            let time = RunTime { kind: "text/plain".into(), step: "D1".into(), expected_ms: *ms };
            let learned = RunTimesLearned { tenant: "default".into(), queue: "documents".into(), times: vec![time] };
            world.give(Command::Learn(learned));
        }
        Step::Wait { ms } => drop(world.wait(*ms)),
    }
    let seen = since(&world.seen, &before);
    for lease in seen.answers.iter().filter(|answer| answer.outcome == "ASSIGNED") {
        let row = world.seen.rows.iter().rfind(|row| row.token == lease.token.unwrap()).unwrap();
        leases.push((row.worker.clone().unwrap(), lease.clone()));
    }
    seen
}

fn since(now: &Seen, before: &Seen) -> Seen {
    Seen {
        answers: now.answers[before.answers.len()..].to_vec(),
        lines: now.lines[before.lines.len()..].to_vec(),
        runs: now.runs[before.runs.len()..].to_vec(),
        rows: now.rows[before.rows.len()..].to_vec(),
        workers: now.workers[before.workers.len()..].to_vec(),
        mails: now.mails[before.mails.len()..].to_vec(),
    }
}

/// A worker that lives does all that is left; nothing is in limbo then, and the log says what the rows say.
fn settle(world: &mut World) {
    for _ in 0..200 {
        let lease = world.lease("last");
        if lease.outcome == "NO_TASK" {
            let rows = |state: &str| {
                world.seen.rows.iter().any(|row| row.state == state && world.row(&row.file_id).revision == row.revision)
            };
            if !rows("UPLOADED") && !rows("PROCESSING") {
                return;
            }
            world.heartbeat("last", &[]);
            world.wait(5_000);
        } else {
            world.reported("last", &lease, "COMPLETED");
        }
    }
    panic!("a document is in limbo");
}

fn holds(world: &World) {
    for (place, mail) in world.seen.mails.iter().enumerate() {
        let same = world.seen.mails[..place].iter().filter(|other| other.mail_id == mail.mail_id);
        let kept_ms = settings().upload_kept_ms;
        // An upload that comes again when it has been forgotten is one more, of the same name.
        let is_again = |other: &MailRequested| other.template == "duplicate" && mail.at - other.at >= kept_ms;
        assert!(same.clone().all(is_again), "a mail was decided twice: {mail:?}");
    }
    let done = world.seen.lines.iter().filter(|line| line.event == "DONE").count();
    let told = world.seen.mails.iter().filter(|mail| mail.template == "progress").count();
    assert_eq!(told, done / 2, "every second one that is done is told");
    let ids: BTreeSet<_> = world.seen.lines.iter().map(|line| &line.event_id).collect();
    assert_eq!(ids.len(), world.seen.lines.len(), "two lines have one id");
    for row in &world.seen.rows {
        let lines = world.seen.lines.iter().filter(|line| line.file_id == row.file_id && line.seq == row.seq);
        assert!(lines.clone().count() == 1, "a row has the lines that it counts");
    }
    for n in 0..4 {
        let created = world.seen.log(&file(n)).iter().filter(|(event, _)| *event == "UPLOADED").count();
        assert!(created <= 1, "one task for the same contents");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_changes_nothing(steps in prop::collection::vec(step(), 1..60)) {
        let (mut through, mut again) = (World::new(settings()), World::new(settings()));
        let (mut leases, mut leases_again) = (vec![], vec![]);
        for step in &steps {
            let seen = take(&mut through, step, &mut leases);
            again.restart(settings());
            let seen_again = take(&mut again, step, &mut leases_again);
            prop_assert_eq!(seen, seen_again, "after {:?}", step);
            prop_assert_eq!(&through.entries, &again.entries);
            prop_assert_eq!(through.process.due(), again.process.due());
        }
        settle(&mut through);
        holds(&through);
    }
}
