//! Mails as files.

use std::collections::BTreeSet;
use std::path::Path;

use tidemark_notifier::Delivery;

use crate::world::{NOW, World, mail, settings};

fn names(dir: &Path, part: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir.join(part)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_mail_is_one_whole_file_however_often_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(Delivery::Maildir(dir.path().join("mails")));
    let mails = [mail("one", "ann@example.com"), mail("two", "bob@example.com")];
    let mut texts = Vec::new();
    // Another log asks for the same mails: as after every offset was lost.
    for seed in 0..3 {
        let world = World::new(seed);
        world.request(&mails);
        world.notifier(&settings).finish(2);
        let dir = dir.path().join("mails");
        let expected = ["one", "two"].map(|name| format!("{}.{name}", NOW / 1_000));
        assert_eq!(names(&dir, "new"), BTreeSet::from(expected.clone()));
        assert!(names(&dir, "tmp").is_empty() && names(&dir, "cur").is_empty());
        texts.push(std::fs::read_to_string(dir.join("new").join(&expected[0])).unwrap());
    }
    assert!(texts.iter().all(|text| text == &texts[0]));
    assert!(texts[0].contains("\nMessage-ID: <one@example.org>\n") && !texts[0].contains('\r'), "{}", texts[0]);
    assert!(
        texts[0].contains("To: ann@example.com\n") && texts[0].contains("\nSubject: 1000 documents are done\n"),
        "{}",
        texts[0]
    );
    assert!(texts[0].contains("https://tidemark.example.org/documents\n"), "{}", texts[0]);
}

#[test]
fn a_folder_that_takes_nothing_holds_the_mails_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let mails = dir.path().join("mails");
    let world = World::new(1);
    world.request(&[mail("one", "ann@example.com")]);
    let mut notifier = world.notifier(&settings(Delivery::Maildir(mails.clone())));
    std::fs::rename(&mails, dir.path().join("away")).unwrap();
    notifier.run(|seen, _| seen.mails.warning().is_some_and(|why| why.contains("takes no mail"))).unwrap();
    assert!(world.handled().is_empty());
    std::fs::rename(dir.path().join("away"), &mails).unwrap();
    notifier.finish(1);
    assert_eq!(names(&mails, "new").len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_said_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let setup = settings(Delivery::Maildir(file.path().join("mails"))).check().unwrap();
    let error = setup.delivery().transport().err().unwrap().to_string();
    assert!(error.contains("mails/tmp: "), "{error}");
}
