//! What is held back and what goes on: a server that is away, one mail that is put off, one that is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidemark_notifier::Settings;
use tidemark_notifier::transport::Outcome;
use tidemark_runtime::metrics::Thread;

use crate::world::{NOW, Scripted, World, mail};

fn mails(count: usize) -> Vec<tidemark_schemas::notifications::MailRequested> {
    (0..count).map(|n| mail(&format!("m{n}"), "ann@example.com")).collect()
}

#[test]
fn a_server_that_is_away_holds_the_queue_and_the_member_stays() {
    let world = World::new(1);
    world.request(&mails(8));
    let up = Arc::new(AtomicBool::new(false));
    let tries = Arc::new(AtomicUsize::new(0));
    let (is_up, counted) = (Arc::clone(&up), Arc::clone(&tries));
    let server = Scripted::new(move |_, _| {
        if is_up.load(Ordering::Relaxed) {
            return Outcome::Sent;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Outcome::Away("connection refused".to_owned())
    });
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    let (time, hour) = (Arc::clone(&world.time), NOW + 3_600_000);
    let mut said = false;
    // One run: an error would end it, so the member is in its group for the whole hour and after.
    notifier
        .run(|seen, _| {
            if let Thread::Stalled(why) = seen.status() {
                said |= why.contains("connection refused") && why.contains("the next try");
                assert!(seen.mails.warning().unwrap().contains("connection refused"));
            }
            if time.wall_ms() > hour {
                up.store(true, Ordering::Relaxed);
            }
            seen.handled() == 8 && seen.status() == Thread::Running
        })
        .unwrap();
    assert!(said, "the status says why mails wait");
    let tries = tries.load(Ordering::Relaxed);
    // 1 + 2 + 4 + … + 256 s, then every 150 to 300 s for the rest of an hour.
    assert!((15..40).contains(&tries), "{tries} tries in an hour");
    assert_eq!(server.accepted().len(), 8);
    assert_eq!(notifier.seen().mails.warning(), None);
    let mut text = String::new();
    notifier.seen().mails.render(&mut text);
    assert!(text.contains("tidemark_mails_sent_total 8\n") && text.contains("tidemark_mails_waiting 0\n"), "{text}");
    assert!(text.contains(&format!("tidemark_mails_retries_total {tries}\n")), "{text}");
}

#[test]
fn a_greylisted_mail_does_not_hold_the_others_and_is_sent_later() {
    let world = World::new(2);
    world.request(&mails(40));
    let server = Scripted::new(|letter, before| match letter.name.as_str() {
        "m0" if before < 3 => Outcome::Deferred("451 greylisted".to_owned()),
        _ => Outcome::Sent,
    });
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    notifier.run(|seen, _| seen.handled() == 39).unwrap();
    assert!(world.time.wall_ms() - NOW < 10_000, "the others did not wait for it");
    // Killed now: a successor knows what is handled after the one that waits.
    let (offset, metadata) = world.committed().remove(0);
    assert_eq!((offset, metadata.as_str()), (0, "10:"));
    let mut successor = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    successor.finish(1);
    let mut names: Vec<_> = server.accepted().into_iter().map(|letter| letter.name).collect();
    assert_eq!(names.last().unwrap(), "m0");
    names.sort();
    names.dedup();
    assert_eq!((names.len(), server.accepted().len()), (40, 40), "none was repeated");
    let handled = world.handled();
    let late = handled.iter().find(|handled| handled.mail_id == "m0").unwrap();
    assert_eq!((late.outcome.as_str(), late.message.as_deref()), ("SENT", None));
}

#[test]
fn a_mail_that_is_put_off_for_days_is_given_up() {
    let world = World::new(3);
    world.request(&mails(4));
    let server = Scripted::new(|letter, _| match letter.name.as_str() {
        "m1" => Outcome::Deferred("451 try again".to_owned()),
        _ => Outcome::Sent,
    });
    let settings = Settings { give_up_after_ms: 7_200_000, ..Settings::default() };
    let mut notifier = world.notifier_over(settings.check().unwrap(), Box::new(server.clone()));
    notifier.finish(4);
    let given_up = world.handled().into_iter().find(|handled| handled.mail_id == "m1").unwrap();
    assert_eq!(given_up.outcome, "REFUSED");
    let message = given_up.message.unwrap();
    assert!(message.starts_with("given up after ") && message.ends_with(" tries: 451 try again"), "{message}");
    assert_eq!(given_up.tries as usize, server.tries("m1"));
    assert!(
        (NOW + 7_200_000..NOW + 7_200_000 + 600_000).contains(&world.time.wall_ms()),
        "{}",
        world.time.wall_ms() - NOW
    );
}

#[test]
fn a_refused_mail_is_recorded_and_holds_nobody() {
    let world = World::new(4);
    world.request(&mails(4));
    let server = Scripted::new(|letter, _| match letter.name.as_str() {
        "m0" => Outcome::Refused("550 no such user".to_owned()),
        _ => Outcome::Sent,
    });
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    notifier.finish(4);
    let refused = world.handled().into_iter().find(|handled| handled.mail_id == "m0").unwrap();
    assert_eq!(
        (refused.outcome.as_str(), refused.message.as_deref(), refused.tries),
        ("REFUSED", Some("550 no such user"), 1)
    );
    assert_eq!((notifier.seen().mails.sent(), notifier.seen().mails.refused(), server.tries("m0")), (3, 1, 1));
}

#[test]
fn a_mail_that_breaks_every_connection_does_not_hold_the_others() {
    let world = World::new(5);
    world.request(&mails(12));
    let server = Scripted::new(|letter, _| match letter.name.as_str() {
        "m0" => Outcome::Broken("connection reset".to_owned()),
        _ => Outcome::Sent,
    });
    let settings = Settings { give_up_after_ms: 3_600_000, ..Settings::default() };
    let mut notifier = world.notifier_over(settings.check().unwrap(), Box::new(server.clone()));
    notifier.run(|seen, _| seen.handled() == 11).unwrap();
    assert!(world.time.wall_ms() - NOW < 60_000, "{} ms", world.time.wall_ms() - NOW);
    notifier.finish(12);
    assert_eq!(world.handled().len(), 12);
}

#[test]
fn a_transport_that_panics_is_tried_again() {
    let world = World::new(6);
    world.request(&mails(1));
    let server = Scripted::new(|_, before| match before {
        0 => Outcome::Away("closed".to_owned()),
        _ => Outcome::Sent,
    });
    struct Panics(Scripted, bool);
    impl tidemark_notifier::transport::Transport for Panics {
        fn send(&mut self, letter: &tidemark_notifier::transport::Letter) -> Outcome {
            assert!(std::mem::replace(&mut self.1, true), "on purpose");
            self.0.send(letter)
        }
    }
    let mut notifier =
        world.notifier_over(Settings::default().check().unwrap(), Box::new(Panics(server.clone(), false)));
    notifier.finish(1);
    assert_eq!(server.accepted().len(), 1);
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_and_said_to_be_slow() {
    let world = World::new(7);
    world.request(&mails(2));
    let (answer, answers) = std::sync::mpsc::channel();
    let server = Scripted::new(move |_, _| answers.recv().unwrap());
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    let time = Arc::clone(&world.time);
    let mut said = 0;
    notifier
        .run(|seen, steps| {
            // The clock of the log stands still while a step waits for the transport.
            time.pass(if steps < 40 { 1_000 } else { 0 });
            if seen.mails.warning().is_some_and(|why| why.contains("has not answered for 30 s")) && said == 0 {
                said = steps;
                answer.send(Outcome::Sent).unwrap();
                answer.send(Outcome::Sent).unwrap();
            }
            seen.handled() == 2 && seen.status() == Thread::Running
        })
        .unwrap();
    assert!(said > 25, "{said}");
    assert_eq!(notifier.seen().mails.warning(), None);
    assert_eq!((server.accepted().len(), server.tries("m0")), (2, 1));
}
