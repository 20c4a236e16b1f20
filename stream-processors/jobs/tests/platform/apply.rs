//! Files that are applied again, with other schemas beside them, and versions of which one cannot be served.

use crate::world::{Disk, JOB, Process, SCHEMA, SOURCE, file};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::decide::{self, Applied};
use tidemark_jobs::directory::Directory;
use tidemark_jobs::flows::{Settings, hourly};
use tidemark_jobs::platform::{ApplyError, Sent, State};
use tidemark_jobs::sources::{self, Step};
use tidemark_log::Log;
use tidemark_runtime::Plan;
use tidemark_schemas::jobs::{JobEntry, JobRetiring};
use tidemark_schemas::registry::Registry;

/// The source's schema with one more field.
fn grown(field: &str) -> String {
    SCHEMA
        .replace(r#"{"name": "path", "type": "string"}"#, &format!(r#"{{"name": "path", "type": "string"}}, {field}"#))
}

const AGENT: &str = r#"{"name": "agent", "type": ["null", "string"], "default": null}"#;

fn states(process: &Process<'_>) -> Vec<State> {
    process.jobs.list().into_iter().flat_map(|(_, states)| states).map(|(state, ..)| state).collect()
}

#[test]
fn a_version_is_what_it_was_checked_against_when_its_source_grows() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.apply(1);
    disk.registry.register(&format!("{SOURCE}-value"), &grown(AGENT)).unwrap();
    let (_, applied, _) = process.jobs.apply("job.yaml", &file(1)).unwrap();
    assert_eq!(applied, Applied::Unchanged);
    let described = file(1).replace("source:", "description: in other words\nsource:");
    let (entry, applied, _) = process.jobs.apply("job.yaml", &described).unwrap();
    assert_eq!(applied, Applied::Settings);
    assert_eq!(entry.versions[0].sources[0].schema, SCHEMA);
    // The next version may use what has come.
    let next = file(2).replace("key: [path]", "key: [path, {agent: \"coalesce(agent, '')\"}]");
    assert_eq!(process.jobs.apply("job.yaml", &next).unwrap().1, Applied::Version);
    let same = file(1).replace("key: [path]", "key: [path, {agent: \"coalesce(agent, '')\"}]");
    let refused = process.jobs.apply("job.yaml", &same).unwrap_err().to_string();
    assert!(refused.contains("would change its meaning"), "{refused}");
    // A field that may be null since is another key to whoever reads the file now.
    let nullable = grown(AGENT).replace(r#""path", "type": "string""#, r#""path", "type": ["null", "string"]"#);
    disk.registry.register(&format!("{SOURCE}-value"), &nullable).unwrap();
    assert_eq!(process.jobs.apply("job.yaml", &described).unwrap().1, Applied::Unchanged);
    assert_eq!(process.jobs.apply("job.yaml", &file(1)).unwrap().1, Applied::Settings);
    process.stop();
}

#[test]
fn a_schema_beside_a_file_is_compared_with_the_one_in_force() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    let proposed = |schema: &str| {
        let schemas = BTreeMap::from([(SOURCE.to_owned(), schema.to_owned())]);
        let proposals = sources::proposals(&process.jobs.registered(), &file(1), &schemas)?;
        // What it is checked with is what comes of it.
        process.jobs.check(Sent { name: "job.yaml", text: &file(1), schemas: &schemas }, &[])?;
        Ok(proposals[0].step)
    };
    let step = |schema: &str| proposed(schema).map_err(|error: ApplyError| error.to_string());
    assert_eq!(step(SCHEMA), Ok(Step::Same));
    assert_eq!(step(&SCHEMA.replace("\n", " ")), Ok(Step::Same), "white space does not matter");
    assert_eq!(step(&grown(AGENT)), Ok(Step::Next));
    let why = step(&grown(r#"{"name": "agent", "type": "string"}"#)).unwrap_err();
    assert!(why.contains(&format!("{SOURCE}.avsc")) && why.contains("agent") && why.contains("version 1"), "{why}");
    let why = step("{}").unwrap_err();
    assert!(why.contains(&format!("{SOURCE}.avsc")), "{why}");
    disk.registry.register(&format!("{SOURCE}-value"), &grown(AGENT)).unwrap();
    assert_eq!(step(SCHEMA), Ok(Step::Earlier), "the file was left behind");
    // A field that has come since is there, whatever the file beside says.
    let uses = file(1).replace("key: [path]", "key: [path, {agent: \"coalesce(agent, '')\"}]");
    let schemas = BTreeMap::from([(SOURCE.to_owned(), SCHEMA.to_owned())]);
    process.jobs.check(Sent { name: "job.yaml", text: &uses, schemas: &schemas }, &[]).unwrap();
    process.stop();
}

/// One version that cannot be served holds up no other, and it is told; once it can, it is.
#[test]
fn a_version_without_a_table_is_told_and_holds_up_no_other() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(50);
    process.apply(1);
    *process.views.untabled.lock().unwrap() = Some("clicks_hourly_v2".to_owned());
    process.apply(2);
    process.apply(3);
    process.until("two are listed", || process.listed() == (vec![1, 3], Some(1)));
    let told = states(&process);
    assert!(matches!(&told[1], State::Failed(why) if why.contains("refused by the test")), "{told:?}");
    assert_eq!((&told[0], &told[2]), (&State::Running, &State::Running));
    assert_eq!(process.jobs.troubles().len(), 1);
    let mut metrics = String::new();
    process.jobs.render(&mut metrics);
    assert!(metrics.contains("tidemark_job_up{job=\"clicks.hourly\",version=\"2\"} 0"), "{metrics}");
    assert!(metrics.contains("tidemark_job_up{job=\"clicks.hourly\",version=\"3\"} 1"), "{metrics}");
    process.jobs.change(JOB, |known, now| decide::promote(known, Some(3), now)).unwrap();
    process.until("it is switched", || process.listed() == (vec![1, 3], Some(3)));
    *process.views.untabled.lock().unwrap() = None;
    process.until("all are listed", || process.listed() == (vec![1, 2, 3], Some(3)));
    process.until("it has begun anew", || process.jobs.troubles().is_empty());
    process.check_counts(2);
    process.stop();
}

/// What a promotion goes by.
#[test]
fn the_lag_of_a_version_is_what_it_has_still_to_read() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(300);
    let (_, _, version) =
        process.jobs.check(Sent { name: "job.yaml", text: &file(1), schemas: &BTreeMap::new() }, &[]).unwrap();
    let job = tidemark_spec::compile("job.yaml", &file(1), &process.jobs.registered()).unwrap();
    let plan = Plan::new(job.spec().clone()).unwrap();
    assert_eq!(version, 1);
    // Nothing of it is there yet, no topics of its own either.
    assert_eq!(plan.lag(process.log.as_ref()).unwrap(), 300);
    process.apply(1);
    process.check_counts(1);
    process.until("it has read everything", || plan.lag(process.log.as_ref()).unwrap() == 0);
    process.stop();
}

/// A job may have been applied when its name was taken for free: it is not run, and its removal leaves the other's table.
#[test]
fn the_table_of_a_built_in_job_outlives_a_job_with_its_name() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    let view = hourly(&Settings::default()).unwrap().head().columns().view.clone();
    process.make_table(&view);
    let log = Arc::clone(&process.log) as Arc<dyn Log>;
    let directory = Directory::open(log, Arc::clone(&disk.registry) as Arc<dyn Registry>).unwrap();
    let (job, version) = ("flows_hourly".to_owned(), 1);
    let (topics, groups, table) = (vec![], vec![], view.name.clone());
    let retiring = vec![JobRetiring { version, retired_at: 0, topics, groups, table, replica: None, until: 0 }];
    let entry = JobEntry { job, changed_at: 1, current: None, previous: None, versions: vec![], retiring };
    directory.change::<(), String>(|_| Ok((entry.clone(), ()))).unwrap();
    let left =
        || directory.entries().unwrap().remove("flows_hourly").is_none_or(|(_, entry)| !entry.retiring.is_empty());
    process.until("it is removed", || !left());
    assert!(process.has_table(&view));
    for name in ["flows_hourly", "Flows.hourly"] {
        let refused = process.jobs.apply("job.yaml", &file(1).replace(JOB, name)).unwrap_err().to_string();
        assert!(refused.contains("the table of flows.hourly"), "{refused}");
    }
    process.stop();
}
