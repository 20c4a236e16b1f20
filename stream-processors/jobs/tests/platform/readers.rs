//! Jobs that read the views of others: what they come to, and what may be done to those that are read.

use crate::world::{Disk, JOB, Process, file};
use std::collections::BTreeMap;
use tidemark_jobs::decide;
use tidemark_jobs::recompute::report::Verdict;
use tidemark_log::system_clock;
use tidemark_spec::replay::Dice;
use tidemark_views::Value;

const HOUR: i64 = 3_600_000;
const DAILY: &str = "clicks.daily";

fn daily(version: i32, views: &str) -> String {
    format!(
        "job: {DAILY}\nversion: {version}\nsource: {{views: {views}}}\nkey: [path]\nwindow: {{tumbling: 1d}}\n\
         late: amend for 1d\naggregate:\n  hours: count()\n  clicks: sum(clicks)\n  most: max(clicks)\n"
    )
}

/// By day and path: in how many hours there were clicks, how many, and most in an hour.
type Days = BTreeMap<(i64, String), (i64, i128, i64)>;

/// The naive way: from the clicks themselves.
fn naive(clicks: &[(i64, i64)]) -> Days {
    let mut hours: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (at, path) in clicks {
        *hours.entry((at - at % HOUR, *path)).or_default() += 1;
    }
    let mut days = Days::new();
    for ((hour, path), clicks) in hours {
        let day = days.entry((hour - hour % (24 * HOUR), format!("/{path}"))).or_insert((0, 0, 0));
        *day = (day.0 + 1, day.1 + i128::from(clicks), day.2.max(clicks));
    }
    days
}

fn view(process: &Process<'_>, version: i32) -> Days {
    let spec = process.view_of(DAILY, version);
    let at = |name: &str| spec.values.iter().position(|column| column.name == name).unwrap_or(usize::MAX);
    let mut days = Days::new();
    for row in process.rows(&spec).unwrap_or_default() {
        let value = |name: &str| row.values.get(at(name)).cloned().unwrap();
        let long = |name: &str| if let Value::Long(n) = value(name) { n } else { panic!("{row:?}") };
        if long("records") == 0 {
            continue;
        }
        let (Value::Text(path), Value::Integer(clicks)) = (row.clustering[0].clone(), value("clicks")) else {
            panic!("{row:?}")
        };
        assert_eq!(long("records"), long("hours"), "as many rows of the view as count");
        days.insert((row.partition.window_start, path), (long("hours"), clicks, long("most")));
    }
    days
}

fn until_equal(process: &Process<'_>, version: i32, clicks: &[(i64, i64)]) {
    let wanted = naive(clicks);
    process.until(&format!("version {version} is {wanted:?}"), || view(process, version) == wanted);
}

/// Clicks of three days in any order: most are late, so that hours and days are amended again and again, and the process ends in
/// the middle of it all.
#[test]
fn a_day_is_the_sum_of_its_hours_as_they_were_said_last() {
    let disk = Disk::new();
    let mut dice = Dice(16);
    let now = (system_clock())();
    let mut all: Vec<(i64, i64)> = Vec::new();
    let mut some = |all: &mut Vec<(i64, i64)>, clicks: usize| {
        let some: Vec<(i64, i64)> =
            (0..clicks).map(|_| (now - dice.below(72 * HOUR as u64) as i64, dice.below(5) as i64)).collect();
        all.extend(&some);
        some
    };
    let process = Process::start(&disk);
    process.apply(1);
    process.apply_file(&daily(1, JOB));
    process.publish_at(&some(&mut all, 400));
    until_equal(&process, 1, &all);
    for round in 0..4 {
        process.publish_at(&some(&mut all, 50));
        if round % 2 == 0 {
            until_equal(&process, 1, &all);
        }
    }
    // What is on its way goes on in the next life.
    process.stop();
    let process = Process::start(&disk);
    process.publish_at(&some(&mut all, 200));
    process
        .until("the jobs are back", || process.jobs.list().iter().all(|(_, here)| here.iter().all(|h| h.1.is_some())));
    until_equal(&process, 1, &all);
    // A new version reads what there is from its start: of many rows some revisions more than once.
    process.apply_file(&daily(2, JOB));
    until_equal(&process, 2, &all);
    let report = process.recompute(DAILY);
    assert!(report.windows.len() >= 3, "{report:?}");
    assert!(report.windows.iter().all(|window| window.verdict == Verdict::Equal), "{report:?}");
    process.stop();
}

/// Hours that become too many for `where` are given up, and with the last of them the row of the day; the ledger still knows of it,
/// and the proof of the figures too.
#[test]
fn rows_that_came_to_nothing_are_proved_too() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.apply(1);
    process.apply_file(&daily(1, JOB).replace("key: [path]", "where: clicks < 3\nkey: [path]"));
    let now = (system_clock())();
    let clicks = [(now, 1), (now, 1), (now, 2), (now - HOUR, 2)];
    process.publish_at(&clicks);
    until_equal(&process, 1, &clicks);
    // A third click on the first path in its one hour, two more on the second in one of its two.
    process.publish_at(&[(now, 1), (now, 2), (now, 2)]);
    process.until("few hours count", || view(&process, 1).values().map(|day| day.0).sum::<i64>() == 1);
    let left = view(&process, 1);
    assert_eq!(left.values().collect::<Vec<_>>(), [&(1, 1, 1)], "{left:?}");
    let report = process.recompute(DAILY);
    assert!(report.windows.iter().all(|window| window.verdict == Verdict::Equal), "{report:?}");
    process.stop();
}

#[test]
fn what_is_read_stays() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    let refused = |text: &str| process.jobs.apply("job.yaml", text).unwrap_err().to_string();
    let wrong = refused(&daily(1, "clicks.hourly"));
    assert!(wrong.contains("there is no view `clicks.hourly`"), "{wrong}");
    process.apply(1);
    let wrong = refused(&daily(1, "clicks.hurly"));
    assert!(wrong.contains("did you mean `clicks.hourly`?"), "{wrong}");
    let wrong = refused(&daily(1, "clicks.hourly@7"));
    assert!(wrong.contains("clicks.hourly has no version 7; it has 1"), "{wrong}");
    process.apply_file(&daily(1, JOB));

    process.apply(2);
    let read = process.jobs.retire(JOB, Some(1)).unwrap_err().to_string();
    assert!(read.contains("version 1 of clicks.hourly is read by clicks.daily version 1"), "{read}");
    process.jobs.change(JOB, |known, now| decide::promote(known, Some(2), now)).unwrap();
    let readers = process.jobs.readers(JOB).unwrap();
    assert_eq!(readers.iter().map(|reader| (reader.job.as_str(), reader.reads)).collect::<Vec<_>>(), [(DAILY, 1)]);
    // The same file again means what it meant; a new version reads the current one.
    let (_, applied, _) = process.jobs.apply("job.yaml", &daily(1, JOB)).unwrap();
    assert_eq!(applied, decide::Applied::Unchanged);
    process.apply_file(&daily(2, JOB));
    let jobs = process.jobs.list();
    let (entry, _) = jobs.iter().find(|(entry, _)| entry.job == DAILY).unwrap();
    let topics: Vec<&str> =
        entry.versions.iter().flat_map(|v| &v.sources).map(|source| source.topic.as_str()).collect();
    assert_eq!(topics, ["view.clicks.hourly.v1", "view.clicks.hourly.v2"]);

    // Round in a circle: the hours of the days of the hours.
    let circle = file(3).replace("topics: site.clicks\n  time: at\n  grace: 10m", "views: clicks.daily@2");
    let circle = circle.replace("clicks: count()", "clicks: sum(clicks)");
    let wrong = refused(&circle);
    assert!(wrong.contains("clicks.hourly would read what comes of itself"), "{wrong}");
    assert!(wrong.contains("clicks.hourly reads clicks.daily, which reads clicks.hourly"), "{wrong}");

    for (job, version) in [(JOB, None), (JOB, Some(1))] {
        let read = process.jobs.retire(job, version).unwrap_err().to_string();
        assert!(read.contains("clicks.daily version 1"), "{read}");
    }
    process.jobs.change(DAILY, |known, now| decide::promote(known, Some(2), now)).unwrap();
    process.jobs.retire(DAILY, Some(1)).unwrap();
    process.jobs.retire(JOB, Some(1)).unwrap();
    process.jobs.retire(DAILY, None).unwrap();
    process.jobs.retire(JOB, None).unwrap();
    process.until("nothing runs", || process.jobs.list().is_empty());
    process.stop();
}

/// A view of the platform's own is read like any other.
#[test]
fn the_built_in_view_can_be_read() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    let text = daily(1, "flows.hourly").replace("sum(clicks)", "sum(bytes_tx)").replace("max(clicks)", "max(bytes_rx)");
    let text = text.replace("key: [path]", "key: [src_app]");
    let (entry, ..) = process.jobs.apply("job.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(entry.versions[0].sources[0].topic, "view.flows.hourly.v1");
    let refused =
        process.jobs.apply("job.yaml", &text.replace("flows.hourly", "flows.hourly@9")).unwrap_err().to_string();
    assert!(refused.contains("flows.hourly has version 1 and no other"), "{refused}");
    process.stop();
}

/// Of two source partitions one is a day and more ahead: the hours of today are in the view long before those of yesterday are
/// complete. Its readers call nothing late that the view does not, else `hold` would leave it out for ever.
#[test]
fn what_is_on_time_for_a_view_is_on_time_for_its_readers() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.apply(1);
    process.apply_file(&daily(1, JOB).replace("late: amend for 1d", "late: hold"));
    let now = (system_clock())();
    let mut all = Vec::new();
    for hour in 0..4 {
        // Dealt out to the partitions in turn; so many paths that every partition of the view has some of both days.
        let clicks: Vec<_> = (0..16).flat_map(|path| [(now, path), (now - (30 - hour) * HOUR, path)]).collect();
        process.publish_at(&clicks);
        all.extend(clicks);
        until_equal(&process, 1, &all);
    }
    process.stop();
}
