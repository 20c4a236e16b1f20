//! The paths.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get};

use crate::{
    Api, dashboard, flows, health, hours, layers, live, metrics, openapi, progress, status, top, view, views, why,
    windows,
};

/// The paths of the API, all of them GET; the pages of the dashboard come on top.
pub const ENDPOINTS: [&str; 14] = [
    "/metrics",
    "/v1/flows",
    "/v1/health",
    "/v1/hours",
    "/v1/live",
    "/v1/openapi.json",
    "/v1/progress",
    "/v1/status",
    "/v1/top",
    "/v1/views",
    "/v1/views/{view}",
    "/v1/views/{view}/progress",
    "/v1/views/{view}/why",
    "/v1/views/{view}/windows",
];

fn endpoint(path: &str) -> MethodRouter<Arc<Api>> {
    match path {
        "/metrics" => get(metrics::metrics),
        "/v1/flows" => get(flows::flows),
        "/v1/health" => get(health::health),
        "/v1/hours" => get(hours::hours),
        "/v1/live" => get(live::live),
        "/v1/openapi.json" => get(openapi::document),
        "/v1/progress" => get(progress::progress),
        "/v1/status" => get(status::status),
        "/v1/top" => get(top::top),
        "/v1/views" => get(views::views),
        "/v1/views/{view}" => get(view::view),
        "/v1/views/{view}/progress" => get(windows::progress),
        "/v1/views/{view}/why" => get(why::why),
        "/v1/views/{view}/windows" => get(windows::windows),
        _ => MethodRouter::new(),
    }
}

/// The bare routes, to be merged with those of other parts before [`finish`].
pub fn routes(api: &Arc<Api>) -> Router {
    let router = ENDPOINTS.iter().fold(Router::new(), |router, path| router.route(path, endpoint(path)));
    dashboard::routes(router).with_state(api.clone())
}

/// Gives every answer of `router` a request id, `nosniff`, a line in the access log and a place in the metrics, and the router's
/// own 404 and 405 a problem document.
pub fn finish(router: Router, api: &Arc<Api>) -> Router {
    router.layer(middleware::from_fn_with_state(api.clone(), layers::wrap))
}

/// The read API and the dashboard as one service.
pub fn router(api: Arc<Api>) -> Router {
    finish(routes(&api), &api)
}
