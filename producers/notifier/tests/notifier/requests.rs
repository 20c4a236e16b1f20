//! What is asked for: requests that cannot be read or break a rule, and mails whose data are hostile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidemark_notifier::transport::Outcome;
use tidemark_notifier::{Delivery, Settings};
use tidemark_schemas::notifications::MailRequested;
use tidemark_schemas::registry::{Error, Latest, Registry};

use crate::world::{Scripted, World, data, mail, settings};

#[test]
fn what_cannot_be_read_or_breaks_a_rule_is_dead_lettered_with_the_reason() {
    let world = World::new(1);
    let with = |change: fn(&mut MailRequested)| {
        let mut mail = mail("id", "ann@example.com");
        change(&mut mail);
        world.request(&[mail]);
    };
    with(|mail| mail.to = "nobody".to_owned());
    with(|mail| mail.mail_id = "a b".to_owned());
    with(|mail| mail.data = "[1]".to_owned());
    with(|mail| mail.template = "unknown".to_owned());
    with(|mail| mail.data = "{}".to_owned());
    with(|mail| mail.tenant = "../x".to_owned());
    with(|mail| mail.at = -5);
    for value in [&b""[..], b"\x01junk!", b"\0\0\0\0\x63rest", b"\0\0"] {
        world.append(0, Some(value));
    }
    world.append(0, None);
    // A datum that is cut short, under the right id.
    let mut cut = vec![0, 0, 0, 0, 1];
    cut.extend([14, b'd', b'e']);
    world.append(0, Some(&cut));
    world.request(&[mail("good", "ann@example.com")]);
    let server = Scripted::new(|_, _| Outcome::Sent);
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    notifier.finish(13);
    let letters = world.dead_letters();
    let rules: Vec<&str> = letters.iter().map(|(rule, ..)| rule.as_str()).collect();
    let expected = [
        "to",
        "mail_id",
        "data",
        "template",
        "template",
        "tenant",
        "at",
        "short",
        "bad_magic",
        "unknown_schema",
        "short",
        "malformed",
    ];
    assert_eq!(rules, expected, "{letters:?}");
    assert!(letters.iter().all(|(_, detail, partition, _)| !detail.is_empty() && *partition == 0), "{letters:?}");
    assert!(letters.windows(2).all(|two| two[0].3 < two[1].3), "in the order of their offsets: {letters:?}");
    let sent: Vec<_> = server.accepted().into_iter().map(|letter| letter.name).collect();
    assert_eq!(sent, ["good"]);
    assert_eq!((world.handled().len(), notifier.seen().mails.dead_lettered()), (1, 12));
    assert_eq!(world.committed()[0].1, "");
    // A successor has nothing to do.
    let mut successor = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    successor.run(|_, steps| steps > 50).unwrap();
    assert_eq!((world.dead_letters().len(), server.accepted().len()), (12, 1));
}

#[test]
fn hostile_names_stay_data() {
    let names = [
        "a\r\nBcc: all@example.com\r\n\r\nClick here",
        "=?utf-8?q?=0D=0ABcc:=20all=40example.com?=",
        "\u{202e}fdp.exe\u{2028}Bcc: x",
        "{{ base_url }}{% raw %}",
        "\0\u{7}\u{1b}[31m",
        "日本語のとても長い名前".repeat(100).leak(),
        "\r\n.\r\nMAIL FROM:<x@y.z>\r\n",
        "x".repeat(20_000).leak(),
    ];
    for template in ["duplicate", "error", "progress"] {
        let world = World::new(2);
        let mails: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| MailRequested {
                template: template.to_owned(),
                data: data(name),
                ..mail(&format!("h{at}"), "ann@example.com")
            })
            .collect();
        world.request(&mails);
        let server = Scripted::new(|_, _| Outcome::Sent);
        world
            .notifier_over(settings(Delivery::Maildir(".".into())).check().unwrap(), Box::new(server.clone()))
            .finish(8);
        for letter in server.accepted() {
            let text = String::from_utf8(letter.bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .filter_map(|line| line.split(':').next())
                .collect();
            assert_eq!(names.len(), 9, "{head}");
            assert!(!names.contains(&"Bcc"), "{head}");
            assert!(
                text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])),
                "{text}"
            );
            assert!(
                !body.contains("\r\nBcc:") && !body.contains("\r\n.\r\n") && !body.contains("\r\nMAIL FROM"),
                "{body}"
            );
        }
    }
}

#[test]
fn another_tenants_id_makes_another_message_id() {
    let world = World::new(3);
    let other = MailRequested { tenant: "acme".to_owned(), ..mail("same", "ann@example.com") };
    world.request(&[mail("same", "ann@example.com"), other]);
    let server = Scripted::new(|_, _| Outcome::Sent);
    world.notifier_over(settings(Delivery::Maildir(".".into())).check().unwrap(), Box::new(server.clone())).finish(2);
    let mut names: Vec<_> = server.accepted().into_iter().map(|letter| letter.name).collect();
    names.sort();
    assert_eq!(names, ["acme.same", "same"]);
}

#[test]
fn a_long_queue_is_read_with_bounded_memory() {
    let world = World::new(4);
    let mails: Vec<_> = (0..3_000).map(|n| mail(&format!("m{n}"), "ann@example.com")).collect();
    mails.chunks(500).for_each(|chunk| world.request(chunk));
    world.log.set(4, tidemark_log::simulated::Faults { poll_records: 50, ..Default::default() });
    let server = Scripted::new(|_, _| Outcome::Sent);
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    let mut most = 0;
    notifier
        .run(|seen, _| {
            most = most.max(seen.mails.waiting());
            seen.handled() == 3_000
        })
        .unwrap();
    // What a poll brings may come on top of the bound.
    assert!((900..=1_200).contains(&most), "{most}");
    assert_eq!(server.accepted().len(), 3_000);
}

/// A registry that knows no answer for a while.
struct Silent {
    registry: Arc<dyn Registry>,
    asked: AtomicUsize,
}

impl Registry for Silent {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        self.registry.register(subject, schema)
    }
    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        if self.asked.fetch_add(1, Ordering::Relaxed) < 3 {
            return Err(Error::Unavailable("no answer".to_owned()));
        }
        self.registry.schema(id)
    }
    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, Error> {
        self.registry.latest_of(subject)
    }
    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
        self.registry.id_of(subject, schema)
    }
    fn subject_names(&self) -> Result<Vec<String>, Error> {
        self.registry.subject_names()
    }
}

#[test]
fn a_registry_that_does_not_answer_costs_no_mail() {
    let mut world = World::new(5);
    world.request(&[mail("one", "ann@example.com"), mail("two", "ann@example.com")]);
    let silent = Arc::new(Silent { registry: Arc::clone(&world.registry), asked: AtomicUsize::new(0) });
    world.registry = Arc::clone(&silent) as Arc<dyn Registry>;
    let server = Scripted::new(|_, _| Outcome::Sent);
    world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone())).finish(2);
    assert!(silent.asked.load(Ordering::Relaxed) > 3);
    assert_eq!((server.accepted().len(), world.dead_letters().len()), (2, 0));
}
