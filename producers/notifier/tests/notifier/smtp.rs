//! What a real mail server gets, over every kind of connection, and what its answers do.

use std::path::PathBuf;
use std::time::Duration;

use tidemark_notifier::settings::{Smtp, Tls};
use tidemark_notifier::{Delivery, Settings};
use tidemark_runtime::metrics::Thread;

use crate::server::Server;
use crate::world::{Notifier, World, data, mail, settings};

/// The way to a server in the clear.
pub(crate) fn plain(server: &Server) -> Smtp {
    Smtp { port: Some(server.port()), tls: Tls::None, timeout: Duration::from_secs(10), ..Smtp::new("127.0.0.1") }
}

fn over(smtp: Smtp) -> Settings {
    settings(Delivery::Smtp(smtp))
}

/// Steps until the status says that mails wait, and why.
fn stalled(notifier: &mut Notifier) -> String {
    let mut why = String::new();
    let says = |seen: &crate::world::Seen, _| match seen.status() {
        Thread::Stalled(text) => {
            why = text;
            true
        }
        _ => false,
    };
    notifier.run(says).unwrap();
    why
}

#[test]
fn the_server_gets_the_mail_as_it_was_decided_over_one_connection() {
    let server = Server::start(&[]);
    let world = World::new(1);
    let mut mails: Vec<_> = (0..6).map(|n| mail(&format!("m{n}"), "ann@example.com")).collect();
    mails[0].data = data("Übersicht \r\nBcc: all@example.com");
    mails[0].template = "error".to_owned();
    world.request(&mails);
    let mut notifier = world.notifier(&over(plain(&server)));
    notifier.finish(6);
    let taken = server.taken();
    assert_eq!(taken.len(), 6);
    assert!(taken.iter().all(|mail| mail.connection == 1), "one connection is kept");
    let first = taken.iter().find(|mail| mail.header("Message-ID") == "<m0@example.org>").unwrap();
    assert_eq!(
        (first.from.as_str(), first.to.as_slice()),
        ("tidemark@example.org", &["ann@example.com".to_owned()][..])
    );
    assert_eq!(first.header("Date"), "Mon, 21 Sep 2026 14:13:20 +0000");
    assert_eq!(first.header("Auto-Submitted"), "auto-generated");
    assert!(first.header("Subject").starts_with("Not processed:"), "{}", first.header("Subject"));
    assert!(!first.content.contains("\r\nBcc:"), "{}", first.content);
    let said: Vec<_> = world.handled().into_iter().map(|handled| (handled.outcome, handled.tries)).collect();
    assert_eq!(said, vec![("SENT".to_owned(), 1); 6]);
}

#[test]
fn what_the_server_says_of_one_mail_is_about_that_mail() {
    let server = Server::start(&[]);
    let world = World::new(2);
    let to =
        ["refuse@x.org", "late-refuse@x.org", "grey@x.org", "later@x.org", "jürgen@x.org", "ann@x.org", "bob@x.org"];
    let mails: Vec<_> = to.iter().map(|to| mail(&to.replace(['@', 'ü'], "-"), to)).collect();
    world.request(&mails);
    let mut notifier = world.notifier(&over(plain(&server)));
    notifier.finish(7);
    let handled = world.handled();
    let of = |to: &str| {
        let handled = handled.iter().find(|handled| handled.to == to).unwrap();
        (handled.outcome.as_str(), handled.tries, handled.message.clone().unwrap_or_default())
    };
    let (outcome, tries, message) = of("refuse@x.org");
    assert!(
        outcome == "REFUSED" && tries == 1 && message.contains("550") && message.contains("no such user here"),
        "{message}"
    );
    let (outcome, tries, message) = of("late-refuse@x.org");
    assert!(outcome == "REFUSED" && tries == 1 && message.contains("not wanted here"), "{message}");
    let (outcome, _, message) = of("jürgen@x.org");
    assert!(outcome == "REFUSED" && message.contains("SMTPUTF8"), "{message}");
    assert_eq!(of("grey@x.org"), ("SENT", 3, String::new()));
    assert_eq!(of("later@x.org"), ("SENT", 2, String::new()));
    assert_eq!((of("ann@x.org").0, of("bob@x.org").0), ("SENT", "SENT"));
    assert_eq!(server.taken().len(), 4);
    assert!(server.taken().iter().all(|mail| mail.connection == 1), "a refusal costs no connection");
}

#[test]
fn a_recipient_who_is_always_busy_and_one_who_hangs_up_hold_nobody() {
    let server = Server::start(&[]);
    let world = World::new(3);
    let to = ["busy@x.org", "hang-up@x.org", "ann@x.org", "bob@x.org", "carl@x.org"];
    world.request(&to.map(|to| mail(&to.replace('@', "-"), to)));
    let mut notifier = world.notifier(&Settings { give_up_after_ms: 600_000, ..over(plain(&server)) });
    notifier.run(|seen, _| seen.handled() == 3).unwrap();
    assert_eq!(server.taken().len(), 3);
    notifier.finish(5);
    let refused: Vec<_> = world.handled().into_iter().filter(|handled| handled.outcome == "REFUSED").collect();
    assert!(
        refused.len() == 2 && refused.iter().all(|mail| mail.message.as_ref().unwrap().starts_with("given up after")),
        "{refused:?}"
    );
}

#[test]
fn what_the_server_says_of_every_mail_costs_none() {
    let mut server = Server::start(&["--refuse-sender"]);
    let world = World::new(4);
    world.request(&[mail("one", "ann@example.com"), mail("two", "ann@example.com")]);
    let mut notifier = world.notifier(&over(plain(&server)));
    let why = stalled(&mut notifier);
    assert!(
        why.contains("does not take the sender (setting `from`)") && why.contains("not allowed to send as this sender"),
        "{why}"
    );
    server.restart(&["--refuse-all"]);
    notifier.run(|seen, _| seen.mails.warning().is_some_and(|why| why.contains("closing down"))).unwrap();
    server.restart(&["--login", "ann:secret"]);
    notifier
        .run(|seen, _| seen.mails.warning().is_some_and(|why| why.contains("530") || why.contains("uthentication")))
        .unwrap();
    server.kill();
    notifier.run(|seen, _| seen.mails.warning().is_some_and(|why| why.contains("refused"))).unwrap();
    assert!(world.handled().is_empty());
    server.restart(&[]);
    notifier.finish(2);
    assert_eq!(server.taken().len(), 2);
}

#[test]
fn tls_takes_no_certificate_that_it_cannot_trust() {
    for (kind, tls) in [("starttls", Tls::StartTls), ("implicit", Tls::Implicit)] {
        let server = Server::start(&["--tls", kind, "--login", "ann:secret"]);
        let world = World::new(5);
        world.request(&[mail("one", "ann@example.com")]);
        let login = Some(("ann".to_owned(), "secret".to_owned()));
        let trusting = |host: &str, ca_file: Option<PathBuf>| {
            over(Smtp { tls, host: host.to_owned(), ca_file, credentials: login.clone(), ..plain(&server) })
        };
        let why = stalled(&mut world.notifier(&trusting("localhost", None)));
        assert!(why.to_lowercase().contains("certificate") || why.contains("UnknownIssuer"), "{kind}: {why}");
        // A certificate of that authority, for another host.
        let why = stalled(&mut world.notifier(&trusting("127.0.0.1", Some(server.ca()))));
        assert!(why.to_lowercase().contains("certificate"), "{kind}: {why}");
        assert!(server.taken().is_empty() && world.handled().is_empty());
        world.notifier(&trusting("localhost", Some(server.ca()))).finish(1);
        let taken = server.taken();
        assert!(taken.len() == 1 && taken[0].tls && taken[0].login, "{kind}: {taken:?}");
    }
}

#[test]
fn without_tls_nothing_is_sent_where_tls_was_asked_for() {
    let server = Server::start(&[]);
    let world = World::new(6);
    world.request(&[mail("one", "ann@example.com")]);
    let why = stalled(&mut world.notifier(&over(Smtp { tls: Tls::StartTls, ..plain(&server) })));
    assert!(why.contains("STARTTLS is not supported"), "{why}");
    assert!(server.taken().is_empty());
}

#[test]
fn a_wrong_password_costs_no_mail_and_is_not_shown() {
    let mut server = Server::start(&["--login", "ann:secret"]);
    let world = World::new(7);
    world.request(&[mail("one", "ann@example.com")]);
    let credentials = Some(("ann".to_owned(), "hunter2".to_owned()));
    let mut notifier = world.notifier(&over(Smtp { credentials, ..plain(&server) }));
    let why = stalled(&mut notifier);
    assert!(why.contains("535") && !why.contains("hunter2"), "{why}");
    assert!(world.handled().is_empty());
    server.restart(&["--login", "ann:hunter2"]);
    notifier.finish(1);
    assert!(server.taken()[0].login);
}
