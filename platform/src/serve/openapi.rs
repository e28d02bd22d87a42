//! The HTTP interface as OpenAPI 3.1 has it, written from the handlers and their types.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::http;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "foretap",
        description = "Events of phones in, the apps that are opened next out. Ids are keyed hashes, made on the phone."
    ),
    paths(
        http::events,
        http::predict,
        http::feedback,
        http::flush,
        http::status,
        http::metrics,
        http::export,
        http::forget,
        http::health,
        http::ready
    ),
    modifiers(&Bearer)
)]
struct Document;

/// API keys and tokens are sent alike.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::guard::ROUTES;

    #[test]
    fn the_document_has_the_routes_of_the_table_and_what_is_for_anybody() {
        let document = serde_json::to_value(super::document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut guarded: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                match operation.get("security") {
                    Some(_) => guarded.push((method.to_uppercase(), path.clone())),
                    None => assert!(["/healthz", "/readyz"].contains(&path.as_str()), "{path}"),
                }
            }
        }
        let mut table = ROUTES.map(|route| (route.method.to_owned(), route.path.to_owned())).to_vec();
        guarded.sort();
        table.sort();
        assert_eq!(guarded, table);
    }
}
