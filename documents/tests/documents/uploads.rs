//! Files in: raw and multipart, whole and broken, large, odd and equal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidemark_documents::UploadConfig;

use super::world::{Answer, Api, World, eventually, files, sha256};

const BOUNDARY: &str = "----b0undary";

fn part(head: &str, contents: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
    [head.as_bytes(), contents, b"\r\n"].concat()
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// Sends a body in pieces of `size`.
async fn multipart(api: &Api, parts: Vec<Vec<u8>>, size: usize, key: Option<&str>) -> Answer {
    let whole = parts.concat();
    let pieces: Vec<_> = whole.chunks(size).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
    let request =
        Request::post("/v1/documents").header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    api.send(request.body(Body::from_stream(futures::stream::iter(pieces))).unwrap()).await
}

async fn with(types: &[&str], bytes_max: u64) -> (World, Api) {
    let world = World::new().await;
    let mut config = world.config();
    config.upload = UploadConfig { bytes_max, ..UploadConfig::default() };
    if !types.is_empty() {
        config.upload.types = types.iter().map(|t| (*t).to_owned()).collect();
    }
    let api = world.start(config).await;
    (world, api)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_are_stored_under_their_hash_and_spoken_of_once() {
    let (world, api) = with(&[], 1 << 20).await;
    let answer = api.raw("ö.txt", "hello").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let taken = &answer.json()["documents"][0];
    assert_eq!(taken["file_id"], sha256(b"hello").as_str());
    assert_eq!((taken["outcome"].as_str(), taken["state"].as_str()), (Some("created"), Some("UPLOADED")));
    assert_eq!(
        (taken["type"].as_str(), taken["bytes"].as_u64(), taken["name"].as_str()),
        (Some("text/plain"), Some(5), Some("ö.txt"))
    );
    let uploads = world.said.uploads.lock().unwrap().clone();
    assert_eq!(uploads.len(), 1);
    assert_eq!((uploads[0].owner.as_str(), uploads[0].upload_id == uploads[0].request_id), ("ann", true));
    assert_eq!(taken["task_id"], uploads[0].request_id.as_str());
    let path = world.objects().join("contents").join(&sha256(b"hello")[..2]).join(sha256(b"hello"));
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
    assert_eq!(files(&world.objects().join("staging")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_in_one_body_however_it_is_cut() {
    let (_world, api) = with(&[], 4 << 20).await;
    // Larger than a part of the store, with what looks like a boundary in it.
    let big = format!("\r\n--{BOUNDAR}x\r\n", BOUNDAR = &BOUNDARY[..9]).repeat(120_000).into_bytes();
    for (round, size) in [1_usize << 20, 64 << 10, 7_001].into_iter().enumerate() {
        let unique = format!("round {round}");
        let big = [unique.as_bytes(), &big].concat();
        let parts = vec![
            part("name=\"owner\"", "bøb".as_bytes()),
            part("name=\"mail\"", b"bob@example.org"),
            part("name=\"file\"; filename=\"a.txt\"", unique.as_bytes()),
            part("name=\"file\"; filename=\"big.txt\"", &big),
            part("name=\"file\"; filename=\"copy.txt\"", unique.as_bytes()),
            end(),
        ];
        let answer = multipart(&api, parts, size, None).await;
        let json = answer.json();
        assert_eq!(answer.status, StatusCode::CREATED, "{json:#}");
        let taken = json["documents"].as_array().unwrap();
        assert_eq!(taken.len(), 3, "{json:#}");
        assert_eq!(taken[0]["file_id"], sha256(unique.as_bytes()).as_str());
        assert_eq!(taken[1]["file_id"], sha256(&big).as_str());
        let outcomes: Vec<_> = taken.iter().map(|t| t["outcome"].as_str().unwrap()).collect();
        assert!(outcomes[1] == "created" && [outcomes[0], outcomes[2]].contains(&"duplicate"), "{outcomes:?}");
    }
    let list = api.listed("?owner=b%C3%B8b", |list| list["documents"].as_array().unwrap().len() == 6).await;
    assert_eq!(list["counts"]["UPLOADED"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_single_byte_boundary_gives_the_same_files() {
    let (_world, api) = with(&[], 1 << 20).await;
    let parts =
        vec![part("name=\"file\"; filename=\"a\"", b"one\r\n--two"), part("name=\"file\"; filename=\"b\"", b""), end()];
    let answer = multipart(&api, parts, 1, None).await;
    let json = answer.json();
    assert_eq!(answer.status, StatusCode::CREATED, "{json:#}");
    assert_eq!(json["documents"][0]["file_id"], sha256(b"one\r\n--two").as_str());
    assert_eq!(json["documents"][1]["file_id"], sha256(b"").as_str());
    assert_eq!(json["documents"][1]["type"], "application/x-empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let (world, api) = with(&[], 1_000).await;
    let exactly = api.raw("a", "x".repeat(1_000)).await;
    assert_eq!(exactly.status, StatusCode::CREATED);
    // By Content-Length: of the body nothing is asked for.
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/v1/documents?name=a").header("content-length", "1001").body(never).unwrap();
    assert_eq!(api.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // On the way: what comes after the limit is not asked for.
    let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1_001]))]);
    let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
    let answer = api.send(Request::post("/v1/documents?name=a").body(body).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.headers["content-type"].to_str().unwrap().contains("problem+json"));
    // In multipart what came before is told of.
    let parts = vec![
        part("name=\"file\"; filename=\"a\"", b"small"),
        part("name=\"file\"; filename=\"b\"", &[b'y'; 2_000]),
        part("name=\"file\"; filename=\"c\"", b"never reached"),
        end(),
    ];
    let answer = multipart(&api, parts, 100, None).await;
    let json = answer.json();
    assert_eq!((answer.status, json["documents"].as_array().unwrap().len()), (StatusCode::CREATED, 3), "{json:#}");
    assert_eq!(json["documents"][1]["error"]["status"], 413);
    assert_eq!(json["documents"][2]["error"]["detail"], "the rest of the body was not read");
    let parts = vec![part("name=\"file\"; filename=\"b\"", &[b'y'; 2_000]), end()];
    assert_eq!(multipart(&api, parts, 100, None).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(files(&world.objects().join("contents")).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_are_those_of_the_bytes_and_the_others_are_drained() {
    let (_world, api) = with(&["text/*", "application/x-empty"], 1 << 20).await;
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 20_000]].concat();
    let answer = api.raw("a.txt", png.clone()).await;
    assert_eq!(
        (answer.status, answer.json()["type"].as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("urn:tidemark:problem:type_not_allowed"))
    );
    let parts = vec![
        part("name=\"file\"; filename=\"a.txt\"", &png),
        part("name=\"file\"; filename=\"b.png\"", b"<html><body>text</body></html>"),
        end(),
    ];
    let answer = multipart(&api, parts, 999, None).await;
    let json = answer.json();
    assert_eq!(answer.status, StatusCode::CREATED, "{json:#}");
    assert_eq!(
        (&json["documents"][0]["error"]["status"], &json["documents"][1]["type"]),
        (&415.into(), &"text/html".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_data() {
    let (world, api) = with(&[], 1 << 20).await;
    for (i, name) in
        ["../../../etc/passwd", "/abs", "a\\b", &"n".repeat(255), "<script>", "ümläut"].into_iter().enumerate()
    {
        let answer = api.raw(name, format!("contents {i}")).await;
        assert_eq!((answer.status, answer.json()["documents"][0]["name"].as_str()), (StatusCode::CREATED, Some(name)));
    }
    for name in ["", "a\0b", "a\nb", &"n".repeat(256), &"n".repeat(300)] {
        let answer = api.raw(name, "refused").await;
        assert_eq!(
            (answer.status, answer.json()["field"].as_str()),
            (StatusCode::BAD_REQUEST, Some("name")),
            "{name:?}"
        );
    }
    let parts = vec![
        part("name=\"file\"; filename=\"\"", b"no name"),
        part("name=\"file\"; filename=\"../x\"", b"has a name"),
        end(),
    ];
    let json = multipart(&api, parts, 50, None).await.json();
    assert_eq!(
        (&json["documents"][0]["error"]["field"], &json["documents"][1]["name"]),
        (&"name".into(), &"../x".into()),
        "{json:#}"
    );
    let stored = files(&world.objects());
    assert!(stored.len() == 7 && stored.iter().all(|name| name.len() == 64), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_verified() {
    let (world, api) = with(&[], 1 << 20).await;
    let digest = |contents: &[u8]| {
        format!("sha-256=:{}:", STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, contents)))
    };
    let send = async |digest: String| {
        let request = Request::post("/v1/documents?name=a").header("content-digest", digest);
        api.send(request.body(Body::from("contents")).unwrap()).await
    };
    let wrong = send(digest(b"other")).await;
    assert_eq!(
        (wrong.status, wrong.json()["type"].as_str()),
        (StatusCode::BAD_REQUEST, Some("urn:tidemark:problem:digest_mismatch"))
    );
    assert_eq!(send("sha-256=:abc:".into()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!((files(&world.objects()).len(), world.said.uploads.lock().unwrap().len()), (0, 0));
    assert_eq!(send(digest(b"contents")).await.status, StatusCode::CREATED);
    let head = |name: &str, of: &[u8]| format!("name=\"file\"; filename=\"{name}\"\r\nContent-Digest: {}", digest(of));
    let parts = vec![part(&head("a", b"x"), b"in a part"), part(&head("b", b"another part"), b"another part"), end()];
    let json = multipart(&api, parts, 50, None).await.json();
    assert_eq!(
        (&json["documents"][0]["error"]["status"], &json["documents"][1]["outcome"]),
        (&400.into(), &"created".into()),
        "{json:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none_are_refused() {
    let (_world, api) = with(&[], 1 << 20).await;
    let cut = part("name=\"file\"; filename=\"a\"", b"the end is missing");
    assert_eq!(multipart(&api, vec![cut], 10, None).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(multipart(&api, vec![end()], 10, None).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(multipart(&api, vec![b"no boundary at all".to_vec()], 10, None).await.status, StatusCode::BAD_REQUEST);
    // The header of a part that never ends, and what stands before the first boundary, are bounded.
    for endless in [format!("--{BOUNDARY}\r\nX: "), String::new()] {
        let pieces = std::iter::once(Bytes::from(endless)).chain(std::iter::repeat(Bytes::from(vec![b'x'; 64 << 10])));
        let body = Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)));
        let request =
            Request::post("/v1/documents").header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        assert_eq!(api.send(request.body(body).unwrap()).await.status, StatusCode::BAD_REQUEST);
    }
    let parts = vec![part("name=\"who\"", b"x"), end()];
    assert_eq!(multipart(&api, parts, 10, None).await.json()["field"], "who");
    let parts = vec![part("name=\"mail\"", b"not an address"), part("name=\"file\"; filename=\"a\"", b"x"), end()];
    assert_eq!(multipart(&api, parts, 10, None).await.json()["field"], "mail");
    let form = Request::post("/v1/documents?name=a").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(api.send(form.body(Body::from("x")).unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        api.send(Request::post("/v1/documents?nmae=a").body(Body::from("x")).unwrap()).await.json()["fix"],
        "did you mean `name`?"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let (world, api) = with(&[], 64 << 20).await;
    let pieces = (0..100).map(|_| Ok(Bytes::from(vec![b'x'; 64 << 10]))).chain([Err(std::io::Error::other("gone"))]);
    let body = Body::from_stream(futures::stream::iter(pieces));
    let answer = api.send(Request::post("/v1/documents?name=a").body(body).unwrap()).await;
    assert_eq!((answer.status, answer.json()["field"].as_str()), (StatusCode::BAD_REQUEST, Some("body")));
    // A caller that hangs up drops the handler.
    let begun = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'y'; 64 << 10]))));
    let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
    let app = api.app.clone();
    let request = Request::post("/v1/documents?name=a").body(body).unwrap();
    let caller = tokio::spawn(async move { tower::ServiceExt::oneshot(app, request).await });
    let staging = world.objects().join("staging");
    eventually("a staged file", async || !files(&staging).is_empty()).await;
    caller.abort();
    eventually("nothing staged", async || files(&staging).is_empty()).await;
    assert_eq!((files(&world.objects()).len(), world.said.uploads.lock().unwrap().len()), (0, 0));
    let mut metrics = String::new();
    api.documents.render(&mut metrics);
    assert!(metrics.contains("tidemark_documents_uploads_open 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_uploads_of_the_same_contents_one_is_created() {
    let (world, api) = with(&[], 8 << 20).await;
    let (api, contents) = (Arc::new(api), "same ".repeat(600_000));
    let racers: Vec<_> = (0..8)
        .map(|i| {
            let (api, contents) = (api.clone(), contents.clone());
            tokio::spawn(async move {
                let answer = api.raw(&format!("{i}.txt"), contents).await;
                (answer.status.as_u16(), answer.json()["documents"][0].clone())
            })
        })
        .collect();
    let mut all = Vec::new();
    for racer in racers {
        all.push(racer.await.unwrap());
    }
    let statuses = |status| all.iter().filter(|(found, _)| *found == status).count();
    assert_eq!((statuses(201), statuses(200)), (1, 7), "{all:?}");
    assert!(all.iter().all(|(_, taken)| taken["task_id"] == all[0].1["task_id"]));
    assert_eq!(files(&world.objects()), [sha256(contents.as_bytes())]);
    let read = api.get(&format!("/v1/documents/{}/contents", sha256(contents.as_bytes()))).await;
    assert_eq!(read.body, contents.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_upload_again_is_the_same_one() {
    let (world, api) = with(&[], 1 << 20).await;
    let send = async || {
        let request = Request::post("/v1/documents?name=a").header("idempotency-key", "k1");
        api.send(request.body(Body::from("contents")).unwrap()).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.json()["documents"][0]["task_id"], again.json()["documents"][0]["task_id"]);
    let parts =
        || vec![part("name=\"file\"; filename=\"a\"", b"1"), part("name=\"file\"; filename=\"b\"", b"2"), end()];
    multipart(&api, parts(), 50, Some("k2")).await;
    let mut ids: Vec<_> = world.said.uploads.lock().unwrap().iter().map(|u| u.upload_id.clone()).collect();
    ids.sort();
    assert_eq!(ids, ["k1", "k1", "k2#0", "k2#1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_at_a_time_are_bounded_and_silence_ends_them() {
    let world = World::new().await;
    let mut config = world.config();
    config.upload.at_a_time = 1;
    config.upload.silence_max = std::time::Duration::from_millis(500);
    let api = Arc::new(world.start(config).await);
    let silent = api.clone();
    let first = tokio::spawn(async move {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        silent.raw("silent", never).await.status
    });
    let open = || {
        let mut metrics = String::new();
        api.documents.render(&mut metrics);
        metrics.contains("tidemark_documents_uploads_open 1\n")
    };
    eventually("an upload is open", async || open()).await;
    let refused = api.raw("a", "x").await;
    assert_eq!(
        (refused.status, refused.headers["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
    assert_eq!(first.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(api.raw("a", "x").await.status, StatusCode::CREATED);
    world.said.silent.store(true, Ordering::SeqCst);
}

/// One key is one upload: other contents under it are not taken for a copy of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_contents_under_the_same_key_are_refused() {
    let (_world, api) = with(&[], 1 << 20).await;
    let send = async |contents: &'static str| {
        let request = Request::post("/v1/documents?name=a").header("idempotency-key", "k1");
        api.send(request.body(Body::from(contents)).unwrap()).await
    };
    assert_eq!(send("first").await.status, StatusCode::CREATED);
    assert_eq!(send("first").await.json()["documents"][0]["file_id"], sha256(b"first").as_str());
    let refused = send("second").await;
    let json = refused.json();
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{json:#}");
    assert_eq!(json["detail"], "this upload was made before with other contents");
    assert!(json["fix"].is_string());
}
