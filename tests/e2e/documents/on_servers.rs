//! On real Kafka, a real CQL store and a real registry, each part in processes of its own.

use super::world::*;
use crate::process::{Tidemark, eventually, get};
use crate::servers::Servers;

const WORK: &[(&str, &str)] = &[("D1", "cat >/dev/null; sleep 0.05; echo '{\"text\":\"done\"}'")];

/// Every process is killed with −9 at some time while documents flow; each document is done once, each mail is there once, and
/// the store, the log and the list agree.
#[test]
fn processes_are_killed_while_documents_flow() {
    let servers = Servers::start();
    let world = World::new(0, "progress_every = 50\nprogress_to = [\"ops@example.com\"]\n");
    let config = world.config();
    let run = |part: &str| servers.run(&world.path("data"), &["serve", part, "--config", &config]);
    let mut jobs = Some(run("jobs"));
    let mut second = Some(run("jobs"));
    let mut api = run("documents");
    let mut notifier = Some(run("notifier"));
    let query = run("query-api");
    let mut workers: Vec<Option<Tidemark>> = vec![];
    for n in 0..2 {
        workers.push(Some(world.worker(&api.url, &format!("w{n}"), 2, WORK)));
    }
    let contents = |n: usize| format!("document number {n}").into_bytes();
    let send = |url: &str, n: usize| {
        // As the page does: the same upload again until it is taken.
        let key = format!("upload-{n}");
        eventually("the upload is taken", || {
            match try_upload(url, &format!("{n}.txt"), &contents(n), &[("idempotency-key", &key)]) {
                Ok(answer) if answer.status == 201 => Ok(()),
                Ok(answer) => Err(format!("{}: {}", answer.status, answer.body)),
                Err(error) => Err(error.to_string()),
            }
        });
    };
    for n in 0..100 {
        send(&api.url, n);
        match n {
            15 => jobs.take().unwrap().kill(),
            30 => workers[0].take().unwrap().kill(),
            40 => jobs = Some(run("jobs")),
            50 => notifier.take().unwrap().kill(),
            60 => workers[0] = Some(world.worker(&api.url, "w2", 2, WORK)),
            70 => notifier = Some(run("notifier")),
            80 => second.take().unwrap().kill(),
            90 => {
                let address = api.url.trim_start_matches("http://").to_owned();
                api.kill();
                api = servers.run_at(&world.path("data"), &["serve", "documents", "--config", &config], &address);
            }
            _ => {}
        }
    }
    for n in 0..5 {
        let twice = upload(&api.url, &format!("copy {n}.txt"), &contents(n));
        assert_eq!(twice["outcome"], "duplicate", "{twice}");
    }
    eventually("all are done", || {
        let counts = counts(&api.url);
        if counts["DONE"] == 100 && counts["UPLOADED"].as_i64().unwrap_or(0) == 0 {
            Ok(())
        } else {
            Err(counts.to_string())
        }
    });
    for n in 0..100 {
        let id = file_id(&contents(n));
        let done = wait_for_state(&api.url, &id, "DONE");
        eventually("its log says once that it is done", || {
            let events = events(&api.url, &id);
            let count = |what: &str| events.iter().filter(|event| *event == what).count();
            if count("UPLOADED") == 1 && count("DONE") == 1 { Ok(()) } else { Err(format!("{events:?} {done}")) }
        });
        let results = get(&format!("{}/v1/documents/{id}/results", api.url)).unwrap().json();
        assert_eq!(results["steps"]["D1"]["text"], "done", "{results}");
    }
    world.wait_for_mails(&[("Already", 5), ("50 documents", 1), ("100 documents", 1)]);
    eventually("the figures of the hour", || {
        let answer =
            get(&format!("{}/v1/views/documents.hourly?limit=1000", query.url)).map_err(|error| error.to_string())?;
        let rows = answer.json()["rows"].as_array().cloned().unwrap_or_default();
        let sum = |column: &str| -> i64 { rows.iter().filter_map(|row| row[column].as_i64()).sum() };
        if sum("arrived") == 100 && sum("done") == 100 { Ok(()) } else { Err(answer.body) }
    });
    workers.into_iter().flatten().for_each(Tidemark::stop);
    api.stop();
    notifier.unwrap().stop();
    jobs.unwrap().stop();
    query.stop();
}

/// B on Kafka: while the broker is away an upload is answered 503 and when to come again; the same upload is taken once it is back.
#[test]
fn uploads_wait_for_the_broker() {
    let mut servers = Servers::start();
    let world = World::new(0, "");
    let config = world.config();
    let jobs = servers.run(&world.path("data"), &["serve", "jobs", "--config", &config]);
    let api = servers.run(&world.path("data"), &["serve", "documents", "--config", &config]);
    assert_eq!(upload(&api.url, "a.txt", b"before")["outcome"], "created");
    servers.kill_broker();
    let headers = [("idempotency-key", "upload-1")];
    let away = try_upload(&api.url, "b.txt", b"meanwhile", &headers).unwrap();
    assert_eq!(away.status, 503, "{}", away.body);
    servers.start_broker();
    eventually("the upload is taken", || {
        let answer = try_upload(&api.url, "b.txt", b"meanwhile", &headers).map_err(|error| error.to_string())?;
        let outcome = answer.json()["documents"][0]["outcome"].clone();
        if outcome == "created" { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.body)) }
    });
    wait_for_events(&api.url, &file_id(b"meanwhile"), &["UPLOADED"]);
    api.stop();
    jobs.stop();
}
