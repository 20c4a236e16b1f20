//! The stage on a log that fails and loses power, killed at every step there is.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_log::simulated::{Dice, Faults};
use tidemark_notifier::Settings;
use tidemark_notifier::transport::{Letter, Outcome};

use crate::world::{Scripted, World, mail};

/// Each mail at least once, no more repeats than `kills`, and every copy the same.
pub(crate) fn holds_the_law(accepted: &[Letter], mails: usize, kills: usize) -> usize {
    let mut copies: BTreeMap<&str, Vec<&Letter>> = BTreeMap::new();
    for letter in accepted {
        copies.entry(&letter.name).or_default().push(letter);
    }
    assert_eq!(copies.len(), mails, "lost: {:?}", copies.keys());
    assert!(copies.values().all(|copies| copies.iter().all(|copy| copy == &copies[0])), "copies differ");
    let repeats = accepted.len() - mails;
    assert!(repeats <= kills, "{repeats} repeats of {kills} kills");
    repeats
}

fn mails(count: usize) -> Vec<tidemark_schemas::notifications::MailRequested> {
    (0..count).map(|n| mail(&format!("m{n}"), "ann@example.com")).collect()
}

#[test]
fn a_notifier_that_is_killed_after_any_step_loses_no_mail() {
    let mut repeats = 0;
    // Three mails take fewer steps than that: each of them is once the last.
    for last_step in 1..30 {
        let world = World::new(last_step);
        world.request(&mails(3));
        // Longer than a step waits: so there are steps at which the mail is under way.
        let server = Scripted::new(|_, _| {
            std::thread::sleep(Duration::from_millis(30));
            Outcome::Sent
        });
        let new = || world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
        new().run(|seen, steps| steps == last_step || seen.handled() == 3).unwrap();
        new().run(|_, steps| steps == last_step / 2 + 1).unwrap();
        // What they had handed over comes to its end: the server takes it whoever is dead.
        server.wait();
        let handled = world.handled().len() as u64;
        new().finish(3 - handled);
        repeats += holds_the_law(&server.accepted(), 3, 2);
        let ids: Vec<_> = world.handled().into_iter().map(|handled| (handled.mail_id, handled.outcome)).collect();
        assert_eq!(ids.len(), 3, "each is handled once, whatever was repeated: {ids:?}");
        assert!(ids.iter().all(|(_, outcome)| outcome == "SENT"));
    }
    assert!(repeats > 0, "no kill fell between a mail and its commit: the test proves nothing");
}

#[test]
fn a_process_that_dies_with_a_lost_commit_repeats_that_one_mail() {
    let world = World::new(1);
    world.request(&mails(40));
    let server = Scripted::new(|_, _| Outcome::Sent);
    let new = || world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    for kill in 1..=10 {
        let mut notifier = new();
        let handled = world.handled().len() as u64;
        notifier.run(|seen, _| seen.handled() == 2).unwrap();
        // From here on no commit goes through; the one that is tried next holds one mail.
        world.log.set(kill, Faults { commit_lost: 1_000, ..Faults::default() });
        notifier.run(|_, _| false).unwrap_err();
        world.log.set(kill, Faults::default());
        world.log.settle().unwrap();
        assert_eq!(world.handled().len() as u64, handled + 2);
        assert_eq!(server.accepted().len() as u64, 3 * kill);
    }
    new().finish(20);
    assert_eq!(holds_the_law(&server.accepted(), 40, 10), 10);
}

#[test]
fn a_commit_that_fails_repeats_no_mail_while_the_process_lives() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.request(&mails(20));
        let server = Scripted::new(|_, _| Outcome::Sent);
        let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
        let faults = Faults {
            retriable: 30,
            fenced: 60,
            answer_lost: 60,
            commit_lost: 60,
            open: 30,
            delayed: 30,
            ..Faults::default()
        };
        world.log.set(seed, faults);
        for life in 0.. {
            assert!(life < 1_000, "no progress");
            // As the supervisor does: the same operator joins again.
            match notifier.run(|_, steps| steps >= 2_000 || world.log.injected().sum() > 40) {
                Ok(_) => break,
                Err(error) => assert!(error.is_retriable(), "{error}"),
            }
        }
        world.log.set(seed, Faults::default());
        world.log.settle().unwrap();
        let left = 20 - world.handled().len();
        let before = notifier.seen().handled();
        if left > 0 {
            notifier.finish(before + left as u64);
        }
        assert_eq!(holds_the_law(&server.accepted(), 20, 0), 0);
        assert_eq!(world.handled().len(), 20);
    }
}

#[test]
fn whatever_fails_and_whoever_dies_no_mail_is_lost() {
    for seed in 100..120 {
        let world = World::new(seed);
        world.request(&mails(30));
        let mut dice = Dice::new(seed);
        let server = Scripted::new(move |letter, before| match dice.below(12) {
            0 => Outcome::Away("closed".to_owned()),
            1 => Outcome::Deferred("later".to_owned()),
            _ if letter.name == "m7" => Outcome::Refused("no such user".to_owned()),
            _ if letter.name == "m9" && before < 4 => Outcome::Deferred("greylisted".to_owned()),
            _ => Outcome::Sent,
        });
        let faults = Faults {
            retriable: 20,
            fenced: 20,
            answer_lost: 20,
            commit_lost: 20,
            open: 20,
            delayed: 20,
            ..Faults::default()
        };
        world.log.set(seed, faults);
        let (mut dice, mut kills) = (Dice::new(seed + 1), 0);
        let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
        while kills < 25 {
            let steps = 1 + dice.below(60);
            let outcome = notifier.run(|_, taken| taken >= steps);
            if dice.strikes(300) {
                world.log.crash().unwrap();
            }
            if outcome.is_ok() || dice.strikes(500) {
                kills += 1;
                notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
            }
        }
        world.log.set(seed, Faults::default());
        world.log.settle().unwrap();
        let left = 30 - world.handled().len();
        notifier.finish(left as u64);
        holds_the_law(&server.accepted(), 29, kills);
        let handled = world.handled();
        assert_eq!(handled.len(), 30, "seed {seed}");
        let refused: Vec<_> =
            handled.iter().filter(|handled| handled.outcome == "REFUSED").map(|handled| &handled.mail_id).collect();
        assert_eq!(refused, ["m7"]);
        assert!(world.committed().iter().all(|(_, metadata)| metadata.is_empty()), "{:?}", world.committed());
    }
}

#[test]
fn a_stop_commits_the_mail_under_way() {
    let world = World::new(1);
    world.request(&mails(8));
    let server = Scripted::new(|_, _| {
        std::thread::sleep(Duration::from_millis(50));
        Outcome::Sent
    });
    let mut notifier = world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone()));
    notifier.finish(3);
    let handled = world.handled().len();
    assert_eq!(handled, server.accepted().len(), "nothing is sent that is not committed");
    assert!(handled < 8, "a stop begins no mail");
    world.notifier_over(Settings::default().check().unwrap(), Box::new(server.clone())).finish(8 - handled as u64);
    holds_the_law(&server.accepted(), 8, 0);
}
