//! The paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};

use crate::queues::report;
use crate::{Documents, list, live, page, people, queues, read, upload};

/// The paths of the API with their methods; the page comes on top, under `/documents`.
pub const ENDPOINTS: [(&str, &[&str]); 14] = [
    ("/v1/documents", &["GET", "POST"]),
    ("/v1/documents/live", &["GET"]),
    ("/v1/documents/{file_id}", &["GET"]),
    ("/v1/documents/{file_id}/cancel", &["POST"]),
    ("/v1/documents/{file_id}/contents", &["GET"]),
    ("/v1/documents/{file_id}/log", &["GET"]),
    ("/v1/documents/{file_id}/results", &["GET"]),
    ("/v1/documents/{file_id}/retry", &["POST"]),
    ("/v1/queues/{queue}", &["GET"]),
    ("/v1/queues/{queue}/heartbeat", &["POST"]),
    ("/v1/queues/{queue}/lease", &["POST"]),
    ("/v1/queues/{queue}/tasks/{task_id}/complete", &["POST"]),
    ("/v1/queues/{queue}/tasks/{task_id}/fail", &["POST"]),
    ("/v1/queues/{queue}/tasks/{task_id}/refuse", &["POST"]),
];

fn endpoint(path: &str) -> MethodRouter<Arc<Documents>> {
    match path {
        "/v1/documents" => get(list::list).post(upload::upload),
        "/v1/documents/live" => get(live::live),
        "/v1/documents/{file_id}" => get(read::document),
        "/v1/documents/{file_id}/cancel" => post(people::cancel),
        "/v1/documents/{file_id}/contents" => get(read::contents),
        "/v1/documents/{file_id}/log" => get(read::log),
        "/v1/documents/{file_id}/results" => get(read::results),
        "/v1/documents/{file_id}/retry" => post(people::retry),
        "/v1/queues/{queue}" => get(queues::queue),
        "/v1/queues/{queue}/heartbeat" => post(queues::heartbeat),
        "/v1/queues/{queue}/lease" => post(queues::lease),
        "/v1/queues/{queue}/tasks/{task_id}/complete" => post(report::complete),
        "/v1/queues/{queue}/tasks/{task_id}/fail" => post(report::fail),
        "/v1/queues/{queue}/tasks/{task_id}/refuse" => post(report::refuse),
        _ => MethodRouter::new(),
    }
}

/// The routes of the documents API and its page.
pub fn router(documents: &Arc<Documents>) -> Router {
    let router = ENDPOINTS.iter().fold(Router::new(), |router, (path, _)| router.route(path, endpoint(path)));
    // Bodies have limits of their own.
    page::routes(router).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(documents))
}
