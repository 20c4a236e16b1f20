//! Kills around the server's 250 and around the commit that follows it.
//!
//! Fault matrix, row "mail": lost 0; repeats ≤ kills, same Message-ID.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::Log;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::simulated::Dice;
use tidemark_log::span::NoSpans;
use tidemark_log::system_clock;
use tidemark_notifier::{Delivery, Metrics, Plan, Settings};
use tidemark_runtime::Running;
use tidemark_runtime::keyed::Parts;
use tidemark_schemas::registry::Registry;

use crate::registry::MemoryRegistry;
use crate::server::{Server, Taken};
use crate::smtp::plain;
use crate::world::{World, handled, mail, request, settings};

fn mails(count: usize) -> Vec<tidemark_schemas::notifications::MailRequested> {
    (0..count).map(|n| mail(&format!("m{n}"), "ann@example.com")).collect()
}

/// Every mail was taken, the repeats are as many as the kills or fewer, and copies are the same in every byte. The repeats.
fn holds_the_law(taken: &[Taken], mails: usize, kills: usize) -> usize {
    let mut copies: BTreeMap<String, Vec<&Taken>> = BTreeMap::new();
    for mail in taken {
        copies.entry(mail.header("Message-ID")).or_default().push(mail);
    }
    let expected: std::collections::BTreeSet<String> = (0..mails).map(|n| format!("<m{n}@example.org>")).collect();
    assert!(
        copies.keys().eq(&expected),
        "lost: {:?}",
        expected.difference(&copies.keys().cloned().collect()).collect::<Vec<_>>()
    );
    assert!(copies.values().all(|copies| copies.iter().all(|copy| copy.content == copies[0].content)), "copies differ");
    let repeats = taken.len() - mails;
    assert!(repeats <= kills, "{repeats} repeats of {kills} kills");
    repeats
}

#[test]
fn the_server_dies_before_its_250() {
    let mut server = Server::start(&["--die-before-250", "3"]);
    let world = World::new(1);
    world.request(&mails(8));
    let mut notifier = world.notifier(&settings(Delivery::Smtp(plain(&server))));
    for _ in 0..3 {
        notifier.run(|_, _| server.is_dead()).unwrap();
        server.restart(&["--die-before-250", "2"]);
    }
    server.restart(&[]);
    let before = notifier.seen().handled();
    let left = 8 - world.handled().len() as u64;
    notifier.finish(before + left);
    // It had taken the mail and could not say so: nobody can know better, the mail comes again.
    assert_eq!(holds_the_law(&server.taken(), 8, 3), 3);
    assert_eq!(world.handled().len(), 8);
}

#[test]
fn the_server_dies_right_after_its_250() {
    let mut server = Server::start(&["--die-after-250", "3"]);
    let world = World::new(2);
    world.request(&mails(8));
    let mut notifier = world.notifier(&settings(Delivery::Smtp(plain(&server))));
    notifier.run(|_, _| server.is_dead()).unwrap();
    server.restart(&["--die-after-250", "2"]);
    notifier.run(|_, _| server.is_dead()).unwrap();
    server.restart(&[]);
    let before = notifier.seen().handled();
    let left = 8 - world.handled().len() as u64;
    notifier.finish(before + left);
    assert_eq!(holds_the_law(&server.taken(), 8, 0), 0, "its answer was heard");
    assert_eq!(world.handled().len(), 8);
}

#[test]
fn both_are_killed_at_random() {
    let (mut server, mut dice) = (Server::start(&[]), Dice::new(7));
    let world = World::new(3);
    world.request(&mails(40));
    let new = |server: &Server| world.notifier(&settings(Delivery::Smtp(plain(server))));
    let (mut notifier, mut kills) = (new(&server), 0);
    while kills < 30 {
        let steps = 1 + dice.below(12);
        notifier.run(|_, taken| taken >= steps || world_is_done(&world)).unwrap();
        if dice.strikes(300) {
            let options = [["--die-before-250", "2"], ["--die-after-250", "1"], ["--port", "0"]];
            match options.get(dice.below(3) as usize) {
                Some(option) if option[0] != "--port" => server.restart(option),
                _ => server.restart(&[]),
            }
            // The one that was killed, and the one that is to die.
            kills += 2;
        }
        if dice.strikes(500) || server.is_dead() {
            if server.is_dead() {
                server.restart(&[]);
            }
            notifier = new(&server);
            kills += 1;
        }
    }
    server.restart(&[]);
    let left = 40 - world.handled().len() as u64;
    new(&server).finish(left);
    holds_the_law(&server.taken(), 40, kills + 1);
    assert_eq!(world.handled().len(), 40);
}

fn world_is_done(world: &World) -> bool {
    world.committed().iter().all(|(offset, _)| *offset >= 10)
}

/// What a child process is told.
const FOLDER: &str = "TIDEMARK_TEST_NOTIFIER_FOLDER";
const PORT: &str = "TIDEMARK_TEST_NOTIFIER_PORT";
const COUNT: usize = 12;

/// The child: a notifier over the embedded log of a folder, until all mails are handled or a failpoint aborts it. As a test of
/// its own it has nothing to do.
#[test]
fn as_a_process() {
    let (Ok(folder), Ok(port)) = (std::env::var(FOLDER), std::env::var(PORT)) else { return };
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let log = EmbeddedLog::open(Path::new(&folder), system_clock()).unwrap();
    Plan::create(log.as_ref(), registry.as_ref()).unwrap();
    let metrics = Arc::new(Metrics::default());
    let parts = Parts {
        log: Arc::clone(&log) as Arc<dyn Log>,
        registry: Arc::clone(&registry),
        clock: system_clock(),
        metrics: Arc::default(),
        spans: Arc::new(NoSpans),
    };
    let stages = tidemark_runtime::Settings {
        replica: "test".to_owned(),
        threads: 1,
        commit_interval_ms: 200,
        session_timeout: Duration::from_secs(10),
        state: None,
    };
    let smtp = tidemark_notifier::settings::Smtp {
        port: Some(port.parse().unwrap()),
        tls: tidemark_notifier::settings::Tls::None,
        ..tidemark_notifier::settings::Smtp::new("127.0.0.1")
    };
    let mut running = Running::new();
    let settings = Settings { backoff_longest_ms: 2_000, ..settings(Delivery::Smtp(smtp)) };
    tidemark_notifier::start(&mut running, &settings, &parts, &stages, &metrics).unwrap();
    let began = Instant::now();
    while handled(log.as_ref(), &registry).len() < COUNT {
        assert!(began.elapsed() < Duration::from_secs(60), "{metrics:?} {:?}", parts.metrics.threads());
        std::thread::sleep(Duration::from_millis(20));
    }
    running.stop();
}

fn child(folder: &Path, server: &Server, failpoint: Option<&str>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kills::as_a_process", "--nocapture"])
        .env(FOLDER, folder)
        .env(PORT, server.port().to_string());
    if let Some(failpoint) = failpoint {
        command.env("TIDEMARK_FAILPOINT", failpoint);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || output.status.code().is_none(), "it fails other than by a kill: {said}");
    output.status.success()
}

#[test]
fn the_process_aborts_at_every_step_around_its_commit() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    {
        let registry = MemoryRegistry::default();
        let log = EmbeddedLog::open(folder.path(), system_clock()).unwrap();
        Plan::create(log.as_ref(), &registry).unwrap();
        request(log.as_ref(), &registry, &mails(COUNT));
    }
    // The mail is on its way; it is taken and not committed; its commit is written, and synced, and not known of.
    let points =
        ["mail-under-way:2", "prepared@notifier:1", "prepared@notifier:3", "embedded-written:2", "embedded-synced:2"];
    for point in points {
        assert!(!child(folder.path(), &server, Some(point)), "{point} killed nobody");
    }
    assert!(child(folder.path(), &server, None));
    let repeats = holds_the_law(&server.taken(), COUNT, points.len());
    assert!(repeats >= 2, "a mail that was taken and not committed comes again: {repeats}");
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let log = EmbeddedLog::open(folder.path(), system_clock()).unwrap();
    Plan::create(log.as_ref(), registry.as_ref()).unwrap();
    assert_eq!(handled(log.as_ref(), &registry).len(), COUNT, "each is handled once");
}
