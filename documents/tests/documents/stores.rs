//! What a crash may leave in the object store, and what does not harm.

use std::time::{Duration, SystemTime};

use axum::http::StatusCode;

use super::world::{World, eventually, files, sha256};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_go_when_they_are_a_day_old() {
    let world = World::new().await;
    let staging = world.objects().join("staging");
    std::fs::create_dir_all(&staging).unwrap();
    for (name, hours) in [("old", 25), ("old#1", 25), ("young#1", 23)] {
        let file = std::fs::File::create(staging.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
    let _api = world.api().await;
    eventually("the old ones are gone", async || files(&staging) == ["young#1"]).await;
}

/// Stored and never spoken of: the next upload of it is the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_that_nobody_spoke_of_block_nothing() {
    let world = World::new().await;
    let hash = sha256(b"orphan");
    let folder = world.objects().join("contents").join(&hash[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), b"orphan").unwrap();
    let api = world.api().await;
    assert_eq!(api.raw("a", "orphan").await.status, StatusCode::CREATED);
}

/// A worker asks for them as soon as it has the task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_are_given_before_the_view_knows_of_them() {
    let world = World::new().await;
    let hash = sha256(b"<html>unseen");
    let folder = world.objects().join("contents").join(&hash[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), b"<html>unseen").unwrap();
    let answer = world.api().await.get(&format!("/v1/documents/{hash}/contents")).await;
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, b"<html>unseen".as_slice()));
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

/// What is under a hash and has not its size is put right by the next upload, be it short or long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_contents_are_replaced() {
    let world = World::new().await;
    let long = "long ".repeat(1 << 19);
    for contents in ["short", long.as_str()] {
        let hash = sha256(contents.as_bytes());
        let folder = world.objects().join("contents").join(&hash[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&hash), b"tor").unwrap();
    }
    let api = world.api().await;
    for contents in ["short", long.as_str()] {
        let file_id = api.put("a", contents).await;
        assert_eq!(api.get(&format!("/v1/documents/{file_id}/contents")).await.body, contents.as_bytes());
    }
    assert_eq!(files(&world.objects().join("staging")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_nothing_is_told_of() {
    let world = World::new().await;
    let api = world.api().await;
    // A file where the folder should be: nobody can write there, root neither.
    let hash = sha256(b"nowhere");
    let contents = world.objects().join("contents");
    std::fs::create_dir_all(&contents).unwrap();
    std::fs::write(contents.join(&hash[..2]), b"in the way").unwrap();
    let answer = api.raw("a", "nowhere").await;
    assert_eq!(
        (answer.status, answer.json()["type"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("urn:tidemark:problem:store_unavailable"))
    );
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(world.said.uploads.lock().unwrap().len(), 0, "nothing is spoken of that is not stored");
    std::fs::remove_file(contents.join(&hash[..2])).unwrap();
    assert_eq!(api.raw("a", "nowhere").await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_are_read_whole_in_part_or_not_again() {
    use axum::body::Body;
    use axum::http::Request;
    let world = World::new().await;
    let api = world.api().await;
    let file_id = api.put("../ö\"x.html", "<html>0123456789").await;
    let path = format!("/v1/documents/{file_id}/contents");
    eventually("it is in the view", async || api.get(&path).await.status == StatusCode::OK).await;
    let whole = api.get(&path).await;
    assert_eq!(whole.body, b"<html>0123456789");
    let header = |name: &str| whole.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-disposition"), "attachment; filename=\"__x.html\"; filename*=UTF-8''%C3%B6%22x.html");
    assert_eq!((header("x-content-type-options"), header("etag")), ("nosniff".into(), format!("\"{file_id}\"")));
    assert!(header("content-security-policy").contains("sandbox"));
    let send = async |name: &str, value: &str| {
        api.send(Request::get(&path).header(name, value).body(Body::empty()).unwrap()).await
    };
    let part = send("range", "bytes=6-9").await;
    assert_eq!(
        (part.status, part.body.as_slice(), part.headers["content-range"].to_str().unwrap()),
        (StatusCode::PARTIAL_CONTENT, b"0123".as_slice(), "bytes 6-9/16")
    );
    assert_eq!(send("range", "bytes=-3").await.body, b"789");
    let none = send("range", "bytes=16-").await;
    assert_eq!(
        (none.status, none.headers["content-range"].to_str().unwrap()),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */16")
    );
    assert_eq!(send("if-none-match", &format!("W/\"{file_id}\"")).await.status, StatusCode::NOT_MODIFIED);
    std::fs::remove_dir_all(world.objects().join("contents")).unwrap();
    assert_eq!(api.get(&path).await.status, StatusCode::NOT_FOUND);
}
