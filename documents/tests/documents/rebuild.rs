//! The index outlives what it is given: it goes on from where it was, and one made anew is the same.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidemark_documents::Config;

use super::responder::{created, datum, publish};
use super::world::{Api, World, report};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Everything that the index is asked.
async fn all(api: &Api) -> Vec<Value> {
    let mut answers = Vec::new();
    for query in
        ["", "?sort=changed", "?q=fox", "?q=dog%20OR%20cat", "?state=DONE", "?name=doc", "?type=text/plain&limit=3"]
    {
        let mut list = api.get(&format!("/v1/documents{query}")).await.json();
        list.as_object_mut().unwrap().remove("next");
        answers.push(list);
    }
    answers
}

async fn fill(api: &Api) {
    for i in 0..6 {
        api.done(&format!("doc{i}.txt"), &format!("fox number{i}")).await;
    }
    api.put("doc waits", "dog").await;
    let task = api.lease("w").await;
    api.post(&report(&task, "fail"), json!({"worker": "w", "token": task["token"], "error": "broken"})).await;
    api.put("doc last", "cat").await;
    api.listed("?q=fox", |list| list["counts"] == json!({"UPLOADED": 0, "PROCESSING": 0, "DONE": 6, "ERROR": 0})).await;
    let counts = json!({"UPLOADED": 1, "PROCESSING": 0, "DONE": 6, "ERROR": 1});
    api.listed("", |list| list["counts"] == counts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_made_anew_is_the_same_whatever_was_wrong_with_it() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    let expected = all(&api).await;
    api.stop().await;
    let index = world.config().index;
    let damages: [(&str, &dyn Fn()); 5] = [
        ("nothing", &|| {}),
        ("missing", &|| std::fs::remove_dir_all(&index).unwrap()),
        ("no list of files", &|| std::fs::write(index.join("meta.json"), b"{").unwrap()),
        ("of another version", &|| {
            let meta = std::fs::read_to_string(index.join("meta.json")).unwrap();
            let other = meta.replace(r#"{\"version\":1"#, r#"{\"version\":0"#);
            assert_ne!(meta, other);
            std::fs::write(index.join("meta.json"), other).unwrap();
        }),
        ("a flipped bit", &|| {
            let files = std::fs::read_dir(&index).unwrap().flatten().map(|file| file.path());
            let store = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "store")).unwrap();
            let mut bytes = std::fs::read(&store).unwrap();
            bytes[3] ^= 1;
            std::fs::remove_file(&store).unwrap();
            std::fs::write(&store, bytes).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage();
        let api = world.api().await;
        assert_eq!(all(&api).await, expected, "{what}");
        api.stop().await;
    }
}

/// The folder as it is between two commits, as kill -9 leaves it: what came after is read again, and no more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_killed_goes_on_from_its_last_commit() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    let killed = world.dir.path().join("killed");
    copy(&world.config().index, &killed);
    // Changed, added and removed after that.
    let retried = api.raw("doc again", "dog").await.json();
    assert_eq!(retried["documents"][0]["outcome"], "retried");
    api.put("doc new", "a cat more").await;
    let mut gone = world.log.producer("tombstones").unwrap();
    let waiting = api.listed("?name=doc%20last", |list| !list["documents"].as_array().unwrap().is_empty()).await;
    let key = waiting["documents"][0]["file_id"].as_str().unwrap().to_owned();
    publish(&*world.registry, &mut *gone, &[("view.documents.v1", key, None)]);
    api.listed("?name=doc%20last", |list| list["documents"].as_array().unwrap().is_empty()).await;
    api.listed("?name=doc%20new", |list| !list["documents"].as_array().unwrap().is_empty()).await;
    let expected = all(&api).await;
    api.stop().await;
    let config = Config { index: killed, ..world.config() };
    let api = world.start(config).await;
    assert_eq!(all(&api).await, expected);
    let mut metrics = String::new();
    api.documents.render(&mut metrics);
    assert!(metrics.contains("tidemark_documents_indexed 8\n"), "{metrics}");
}

/// The position is the index's own: rows before it are not read again, so that a topic that was cleaned up is no loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_not_read_again() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    api.stop().await;
    std::fs::remove_dir_all(world.objects().join("results")).unwrap();
    let api = world.api().await;
    let found = api.get("/v1/documents?q=fox").await.json();
    assert_eq!(found["counts"]["DONE"], 6, "the text is in the index; the results were not read anew");
}

/// A topic that is not the one that the index was made of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_another_log_is_made_anew() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    api.stop().await;
    let other = World::new().await;
    let api = other.start(Config { index: world.config().index, ..other.config() }).await;
    assert_eq!(api.get("/v1/documents").await.json()["documents"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_in_use_is_left_alone() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    let second = || {
        let (log, registry, views) = (world.log.clone(), world.registry.clone(), world.views.clone());
        tidemark_documents::Documents::start(log, registry, views, world.config(), tidemark_log::system_clock())
    };
    assert!(second().err().unwrap().to_string().contains("no other process"));
    std::fs::write(world.config().index.join("meta.json"), b"{").unwrap();
    assert!(second().err().unwrap().to_string().contains("no other process"), "nor is it cleared");
}

/// Records that are none are passed over; the rest is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_is_passed_over() {
    let world = World::new().await;
    let api = Arc::new(world.api().await);
    let file_id = api.put("a", "one").await;
    api.listed("", |list| list["counts"]["UPLOADED"] == 1).await;
    let row = created(&world.said.uploads.lock().unwrap()[0].clone());
    let cut = datum(&row)[..10].to_vec();
    let mut producer = world.log.producer("broken").unwrap();
    publish(&*world.registry, &mut *producer, &[("view.documents.v1", file_id.clone(), Some(cut))]);
    api.put("b", "two").await;
    let list = api.listed("", |list| list["counts"]["UPLOADED"] == 2).await;
    assert!(list["documents"].as_array().unwrap().iter().any(|row| row["file_id"] == file_id.as_str()));
}

/// A store that is away holds up nothing but the text; that is read when it is back, by this process or the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_goes_on_while_the_store_is_away() {
    let world = World::new().await;
    let api = world.api().await;
    fill(&api).await;
    api.stop().await;
    let (results, aside) = (world.objects().join("results"), world.objects().join("aside"));
    let away = || {
        std::fs::rename(&results, &aside).unwrap();
        // A file where a folder is looked for is another failure than that there is none.
        std::fs::write(&results, b"").unwrap();
    };
    let back = || {
        std::fs::remove_file(&results).unwrap();
        std::fs::rename(&aside, &results).unwrap();
    };
    let found = async |api: &Api| {
        api.listed("?q=fox", |list| list["counts"]["DONE"] == 6).await;
    };
    std::fs::remove_dir_all(world.config().index).unwrap();
    away();
    let api = world.api().await;
    let list = api.get("/v1/documents").await.json();
    assert_eq!(list["counts"], json!({"UPLOADED": 1, "PROCESSING": 0, "DONE": 6, "ERROR": 1}));
    assert_eq!(api.get("/v1/documents?q=fox").await.json()["counts"]["DONE"], 0);
    back();
    found(&api).await;
    api.stop().await;
    // What is still to be read is not forgotten with the process.
    std::fs::remove_dir_all(world.config().index).unwrap();
    away();
    world.api().await.stop().await;
    back();
    found(&world.api().await).await;
}
