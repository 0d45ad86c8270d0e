//! The interface: HTTP/1.1 with JSON. What each path does is said at its function; [`document`] is made of that (OpenAPI 3.1).

mod asked;
mod change;
pub(super) mod counted;
mod events;
mod examples;
mod log;
mod named;
mod resources;
mod secured;
mod shown;
mod traced;

use super::problem::Refused;
use super::view::{Core, Lost, Portal, Problem, Said, Session, Sessions, Status, Target, Version};
use super::{Reach, metrics};
use crate::limits::CONTROL_BODY_BYTES;
use crate::wire::Tsih;
use asked::{Named, Reached, name_of};
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The version of the interface.
pub const VERSION: &str = "v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringsan",
        description = "What an administrator sees of a running ringsan, and changes in it.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    components(schemas(Lost, Said)),
)]
struct Document;

fn paths() -> OpenApiRouter<Arc<Reach>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(version))
        .routes(routes!(status))
        .routes(routes!(cores_list))
        .routes(routes!(targets_list))
        .routes(routes!(target))
        .routes(routes!(sessions_list))
        .routes(routes!(session, session_drop))
        .routes(routes!(traced::trace))
        .routes(routes!(health))
        .routes(routes!(portals_list))
        .routes(routes!(metrics_text))
        .routes(routes!(events::events))
        .routes(routes!(log::log_filter, log::log_filter_set))
        .merge(resources::paths())
}

/// The description of the interface, as JSON.
pub fn document() -> String {
    described(paths().into_openapi()).to_pretty_json().unwrap_or_default()
}

/// What the functions do not say of themselves is added.
fn described(document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    examples::with_examples(secured::secured(document))
}

/// Serves the interface.
pub(super) fn router(reach: Arc<Reach>) -> Router {
    let (router, document) = paths().split_for_parts();
    let document = Arc::new(described(document));
    router
        .route("/openapi.json", axum::routing::get(move || async move { Json(document.as_ref().clone()) }))
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "there is nothing here: /openapi.json says what is") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here: /openapi.json says what can")
        })
        .layer(DefaultBodyLimit::max(CONTROL_BODY_BYTES))
        .layer(from_fn(whole))
        .with_state(reach)
}

/// Takes the whole of a request before it is looked at: many clients do not read an answer that comes while they send.
async fn whole(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match to_bytes(body, CONTROL_BODY_BYTES).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(_) => {
            let detail = format!("a request has at most {CONTROL_BODY_BYTES} bytes");
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
        }
    }
}

/// Which program this is
#[utoipa::path(get, path = "/v1/version", tag = "server", responses((status = OK, body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: VERSION.to_owned() })
}

/// How the server is, and what it serves
#[utoipa::path(get, path = "/v1/status", tag = "server", responses((status = OK, body = Status)))]
async fn status(State(reach): Reached) -> Json<Status> {
    let cores = reach.cores().await;
    Json(shown::status(&reach, &cores))
}

/// Whether all is well: every core answers, and nothing is wrong that is known of
#[utoipa::path(get, path = "/v1/health", tag = "server", responses(
    (status = OK, body = String, content_type = "text/plain", description = "All is well"),
    (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json", description = "Something is wrong")
))]
async fn health(State(reach): Reached) -> Result<&'static str, Refused> {
    let problems = shown::status(&reach, &reach.cores().await).problems;
    if problems.is_empty() {
        return Ok("ok\n");
    }
    Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, problems.join("; ")).with_faults(problems))
}

/// The cores
#[utoipa::path(get, path = "/v1/cores", tag = "server", responses((status = OK, body = [Core])))]
async fn cores_list(State(reach): Reached) -> Json<Vec<Core>> {
    let cores = reach.cores().await;
    Json(shown::cores(&reach, &cores))
}

/// The targets
#[utoipa::path(get, path = "/v1/targets", tag = "targets", responses((status = OK, body = [Target])))]
async fn targets_list(State(reach): Reached) -> Response {
    // Before what it tells: who changes what is shown here by this tag, changes nothing newer.
    let tag = change::quoted(&reach.tag.lock());
    let cores = reach.cores().await;
    ([(header::ETAG, tag)], Json(shown::targets(&reach.world.lock().clone(), &cores))).into_response()
}

/// The portals
#[utoipa::path(get, path = "/v1/portals", tag = "portals", responses((status = OK, body = [Portal])))]
async fn portals_list(State(reach): Reached) -> Response {
    let tag = change::quoted(&reach.tag.lock());
    ([(header::ETAG, tag)], Json(shown::portals(&reach.world.lock().clone()))).into_response()
}

/// A target
#[utoipa::path(get, path = "/v1/targets/{name}", tag = "targets",
    params(("name" = String, Path, description = "Its iSCSI name, what no other name has behind its last colon, or `-` for the only one")),
    responses(
        (status = OK, body = Target),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is no name"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "There is none of that name")
    ))]
async fn target(State(reach): Reached, name: Named<String>) -> Result<Response, Refused> {
    let name = name_of(name)?;
    let tag = change::quoted(&reach.tag.lock());
    let cores = reach.cores().await;
    let world = reach.world.lock().clone();
    let found = named::target(shown::targets(&world, &cores), &name)?;
    Ok(([(header::ETAG, tag)], Json(found)).into_response())
}

/// The sessions
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", responses((status = OK, body = Sessions)))]
async fn sessions_list(State(reach): Reached) -> Json<Sessions> {
    let found = reach.sessions().await;
    let (all, silent_cores) = &*found;
    let world = reach.world.lock().clone();
    let sessions = all.iter().map(|(core, report)| shown::session(&world, *core, report)).collect();
    Json(Sessions { sessions, silent_cores: silent_cores.clone() })
}

/// A session, with what was negotiated
#[utoipa::path(get, path = "/v1/sessions/{tsih}", tag = "sessions",
    params(("tsih" = u16, Path, description = "Its TSIH")),
    responses(
        (status = OK, body = Session),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is no TSIH"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "There is none with that TSIH")
    ))]
async fn session(State(reach): Reached, tsih: Named<u16>) -> Result<Json<Session>, Refused> {
    let (core, report) = reach.session(tsih_of(tsih)?).await.ok_or_else(no_session)?;
    let world = reach.world.lock().clone();
    Ok(Json(shown::session(&world, core, &report)))
}

fn tsih_of(tsih: Named<u16>) -> Result<Tsih, Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "a TSIH is a number from 1 to 65535");
    tsih.map(|Path(tsih)| Tsih(tsih)).map_err(wrong)
}

fn no_session() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is no session with that TSIH")
}

/// Drops a session: its initiator is told, its commands are aborted, its connections are closed. It may log in again
#[utoipa::path(delete, path = "/v1/sessions/{tsih}", tag = "sessions",
    params(("tsih" = u16, Path, description = "Its TSIH")),
    responses(
        (status = NO_CONTENT, description = "It is gone"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is no TSIH"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "There is none with that TSIH"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json", description = "Its core does not answer")
    ))]
async fn session_drop(State(reach): Reached, tsih: Named<u16>) -> Result<StatusCode, Refused> {
    match reach.dismiss(tsih_of(tsih)?).await {
        Some(true) => Ok(StatusCode::NO_CONTENT),
        Some(false) => Err(no_session()),
        None => Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the core of that session does not answer")),
    }
}

/// Metrics, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "server", responses(
    (status = OK, body = String, content_type = "text/plain", description = "OpenMetrics, or the text format of Prometheus, by `Accept`")
))]
async fn metrics_text(State(reach): Reached, headers: HeaderMap) -> Response {
    let cores = reach.cores().await;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (content_type, text) = metrics::text(&shown::status(&reach, &cores), &cores, accept);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_the_interface_does_is_described() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<&Value> = paths.values().flat_map(|path| path.as_object().unwrap().values()).collect();
        assert_eq!(operations.len(), 35);
        for operation in operations {
            assert!(operation["summary"].is_string(), "{operation}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let kinds: Vec<&String> =
                    response["content"].as_object().into_iter().flatten().map(|(kind, _)| kind).collect();
                match status.as_str() {
                    "200" => assert_eq!(kinds.len(), 1),
                    "204" => assert!(kinds.is_empty()),
                    _ => assert_eq!(kinds, ["application/problem+json"], "RFC 9457: {operation}"),
                }
            }
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (name, schema) in schemas {
            for (field, of) in schema["properties"].as_object().into_iter().flatten() {
                let is_said = of["description"].is_string() || of.get("$ref").is_some() || of["oneOf"].is_array();
                assert!(is_said, "{name}.{field} has no description");
            }
        }
    }
}
