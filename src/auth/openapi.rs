//! What tokens add to the description of the API.

use super::session;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(info(title = "Tidemark tokens"), paths(session::sign_in), modifiers(&Bearer))]
struct Doc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, doc: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        doc.components.get_or_insert_default().add_security_scheme("token", scheme);
        // Nothing, or a token: on loopback there may be none.
        doc.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", [""; 0])]);
    }
}

/// The path to sign in, and the security scheme of all others.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Doc::openapi()
}
