//! What holds for all paths over TCP, in the description of the interface: the token, and what is refused without one.

use super::super::view::Problem;
use super::examples::operations;
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref};

/// What it is called there.
const NAME: &str = "token";

/// What may come of any request over TCP, whatever it asks for.
const REFUSED: [(&str, &str); 4] = [
    ("401", "Over TCP: there is no token, or nobody has this one"),
    ("403", "Over TCP: the token may only see; anywhere: it comes out of a web page of somebody else (`Origin`)"),
    ("421", "Over TCP: `Host` is neither an address nor a name of this server"),
    ("429", "Over TCP: there were too many wrong tokens from this address"),
];

/// Adds that.
pub(super) fn secured(mut document: OpenApi) -> OpenApi {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "Over TCP: a token of the file that `tokens` of `[control]` names. On the unix socket none is needed.",
    ));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(NAME, SecurityScheme::Http(scheme.build()));
    let nothing: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::default(), SecurityRequirement::new(NAME, nothing)]);
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        for (status, description) in REFUSED {
            operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(description).into());
        }
    }
    document
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn the_token_and_what_is_refused_without_it_are_described() {
        let document: Value = serde_json::from_str(&super::super::document()).unwrap();
        let scheme = &document["components"]["securitySchemes"]["token"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
        assert_eq!(document["security"], json!([{}, {"token": []}]), "none is needed on the unix socket");
        assert!(document["components"]["schemas"]["Problem"].is_object());
        for (path, of) in document["paths"].as_object().unwrap() {
            for (method, operation) in of.as_object().unwrap() {
                for status in ["401", "403", "421", "429"] {
                    let problem = &operation["responses"][status]["content"]["application/problem+json"]["schema"];
                    assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{method} {path} {status}");
                }
            }
        }
    }
}
