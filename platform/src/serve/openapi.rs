//! The HTTP interface as OpenAPI 3.1 has it, written from the handlers and their types: foretap's own. What the protocols
//! of other model servers take and give is in their own documents.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};
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
        http::predict_batch,
        http::feedback,
        http::flush,
        http::status,
        http::metrics,
        http::export,
        http::forget,
        http::health,
        http::ready
    ),
    modifiers(&Bearer, &Refusals)
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

/// What every path may answer instead of what it is for.
struct Refusals;

/// Where somebody must say who they are.
const OF_GUARDED: [(&str, &str); 4] = [
    ("401", "Nobody, or no longer somebody"),
    ("403", "Not by this role, or about somebody else"),
    ("429", "Too many requests: see Retry-After"),
    ("503", "Not at the moment: send it again, see Retry-After"),
];
/// Where something is sent.
const OF_SENT: [(&str, &str); 3] =
    [("400", "A field is wrong: it is named"), ("408", "It came too slowly"), ("413", "It is too large")];

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            let guarded = [&mut path.get, &mut path.post].into_iter().flatten();
            for operation in guarded.filter(|operation| operation.security.is_some()) {
                let is_sent = operation.request_body.is_some() || operation.parameters.is_some();
                let of_sent = if is_sent { OF_SENT.as_slice() } else { &[] };
                for (status, description) in OF_GUARDED.iter().chain(of_sent) {
                    let responses = &mut operation.responses.responses;
                    responses.entry((*status).to_owned()).or_insert_with(|| refusal(description).into());
                }
            }
        }
    }
}

fn refusal(description: &str) -> Response {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", problem).build()
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
        // gRPC's are in predict.proto.
        let table = ROUTES.iter().filter(|route| !route.path.starts_with("/foretap."));
        let mut table: Vec<_> = table.map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        guarded.sort();
        table.sort();
        assert_eq!(guarded, table);
    }
}
