//! The dashboard: pages compiled in, nothing from other hosts.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Api;

/// Scripts, styles and data from here and nowhere else; no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, media type, contents.
const PAGES: [(&str, &str, &str); 16] = [
    ("/", "text/html; charset=utf-8", include_str!("../dashboard/index.html")),
    ("/views", "text/html; charset=utf-8", include_str!("../dashboard/views.html")),
    ("/dashboard/views.css", "text/css; charset=utf-8", include_str!("../dashboard/views.css")),
    ("/dashboard/views.js", "text/javascript; charset=utf-8", include_str!("../dashboard/views.js")),
    ("/dashboard/view.js", "text/javascript; charset=utf-8", include_str!("../dashboard/view.js")),
    ("/dashboard/rows.js", "text/javascript; charset=utf-8", include_str!("../dashboard/rows.js")),
    ("/dashboard/series.js", "text/javascript; charset=utf-8", include_str!("../dashboard/series.js")),
    ("/dashboard/stages.js", "text/javascript; charset=utf-8", include_str!("../dashboard/stages.js")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("../dashboard/style.css")),
    ("/dashboard/main.js", "text/javascript; charset=utf-8", include_str!("../dashboard/main.js")),
    ("/dashboard/chart.js", "text/javascript; charset=utf-8", include_str!("../dashboard/chart.js")),
    ("/dashboard/status.js", "text/javascript; charset=utf-8", include_str!("../dashboard/status.js")),
    ("/dashboard/table.js", "text/javascript; charset=utf-8", include_str!("../dashboard/table.js")),
    ("/dashboard/theme.js", "text/javascript; charset=utf-8", include_str!("../dashboard/theme.js")),
    ("/dashboard/units.js", "text/javascript; charset=utf-8", include_str!("../dashboard/units.js")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("../dashboard/icon.svg")),
];

/// Adds the pages.
pub(crate) fn routes(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    PAGES.iter().fold(router, |router, (path, media_type, contents)| {
        router.route(path, get(move || async move { page(media_type, contents) }))
    })
}

/// Always asked for again: the pages are small and change with the binary.
fn page(media_type: &'static str, contents: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, contents).into_response()
}
