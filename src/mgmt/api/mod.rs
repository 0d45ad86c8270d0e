//! The interface: HTTP/1.1 with JSON. What each path does is said at its function; [`document`] is made of that (OpenAPI 3.1).

pub(super) mod counted;
mod shown;

use super::problem::Refused;
use super::view::{Applied, Core, NewLun, Problem, Session, Sessions, Setting, Settings, Status, Target, Version};
use super::{Edit, NotTaken, Reach, metrics};
use crate::config::edit::{self, LunEdit, Said};
use crate::limits::{CONTROL_BODY_BYTES, RELOAD_ANSWER};
use crate::wire::Tsih;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The version of the interface.
pub const VERSION: &str = "v1";

/// In the place of a target's name: the only one that there is.
const ONLY: &str = "-";

type Reached = State<Arc<Reach>>;

/// The part of a path that names something.
type Named<T> = Result<Path<T>, PathRejection>;

/// The body of a request.
type Sent<T> = Result<Json<T>, JsonRejection>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringsan",
        description = "What an administrator sees of a running ringsan, and changes in it.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
)]
struct Document;

fn paths() -> OpenApiRouter<Arc<Reach>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(version))
        .routes(routes!(status))
        .routes(routes!(cores_list))
        .routes(routes!(targets_list))
        .routes(routes!(target))
        .routes(routes!(lun_add))
        .routes(routes!(lun_set, lun_remove))
        .routes(routes!(sessions_list))
        .routes(routes!(session, session_drop))
        .routes(routes!(reload))
        .routes(routes!(health))
        .routes(routes!(metrics_text))
}

/// The description of the interface, as JSON.
pub fn document() -> String {
    paths().into_openapi().to_pretty_json().unwrap_or_default()
}

/// Serves the interface.
pub(super) fn router(reach: Arc<Reach>) -> Router {
    let (router, document) = paths().split_for_parts();
    let document = Arc::new(document);
    router
        .route("/openapi.json", axum::routing::get(move || async move { Json(document.as_ref().clone()) }))
        .fallback(|| async { Refused::new(StatusCode::NOT_FOUND, "there is nothing here: /openapi.json says what is") })
        .method_not_allowed_fallback(|| async {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here: /openapi.json says what can")
        })
        .layer(DefaultBodyLimit::max(CONTROL_BODY_BYTES))
        .with_state(reach)
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
async fn targets_list(State(reach): Reached) -> Json<Vec<Target>> {
    let cores = reach.cores().await;
    Json(shown::targets(&reach.world.lock().clone(), &cores))
}

/// A target
#[utoipa::path(get, path = "/v1/targets/{name}", tag = "targets",
    params(("name" = String, Path, description = "Its iSCSI name")),
    responses(
        (status = OK, body = Target),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is no name"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "There is none of that name")
    ))]
async fn target(State(reach): Reached, name: Named<String>) -> Result<Json<Target>, Refused> {
    let name = name_of(name)?;
    let cores = reach.cores().await;
    let world = reach.world.lock().clone();
    let found = shown::targets(&world, &cores).into_iter().find(|target| target.name == name);
    found.map(Json).ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "there is no target of that name"))
}

/// The sessions
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", responses((status = OK, body = Sessions)))]
async fn sessions_list(State(reach): Reached) -> Json<Sessions> {
    let (all, silent_cores) = reach.sessions().await;
    let world = reach.world.lock().clone();
    let sessions = all.iter().map(|(core, report)| shown::session(&world, *core, report)).collect();
    Json(Sessions { sessions, silent_cores })
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

/// Has the configuration file read again, and serves what it says
#[utoipa::path(post, path = "/v1/reload", tag = "server", responses(
    (status = OK, body = Applied),
    (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "It is being read already, or there is none"),
    (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json", description = "It cannot be served; everything stays as it was"),
    (status = GATEWAY_TIMEOUT, body = Problem, content_type = "application/problem+json", description = "It is not over yet")
))]
async fn reload(State(reach): Reached) -> Result<Json<Applied>, Refused> {
    order(&reach, None).await.map(Json)
}

/// Why a change was not made, or is not known to be.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it is there for the description alone")]
enum NotChanged {
    /// Path or body are not understood
    #[response(status = BAD_REQUEST, content_type = "application/problem+json")]
    Misread(Problem),
    /// There is no file, or it is being read
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    Conflict(Problem),
    /// That cannot be served; everything stays as it was
    #[response(status = UNPROCESSABLE_ENTITY, content_type = "application/problem+json")]
    Unservable(Problem),
    /// It is not over yet
    #[response(status = GATEWAY_TIMEOUT, content_type = "application/problem+json")]
    Unfinished(Problem),
}

/// Adds a logical unit to a target, at the lowest free LUN if none is said, and writes that to the configuration file
#[utoipa::path(post, path = "/v1/targets/{name}/luns", tag = "targets",
    params(("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one")),
    request_body = NewLun,
    responses(
        (status = OK, body = Applied, description = "It is served, and in the file"),
        NotChanged
    ))]
async fn lun_add(State(reach): Reached, name: Named<String>, body: Sent<NewLun>) -> Result<Json<Applied>, Refused> {
    let Json(NewLun { lun, settings }) = body.map_err(not_understood)?;
    let edit = LunEdit::Add { number: lun, settings: settings_of(settings) };
    change(&reach, name, edit).await
}

/// Gives a logical unit other settings, and writes them to the configuration file. Those that are not named stay
#[utoipa::path(patch, path = "/v1/targets/{name}/luns/{lun}", tag = "targets",
    params(
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("lun" = u16, Path, description = "The LUN")
    ),
    request_body = std::collections::BTreeMap<String, Setting>,
    responses(
        (status = OK, body = Applied, description = "They are served as far as that can be while it is in use, and in the file"),
        NotChanged
    ))]
async fn lun_set(
    State(reach): Reached,
    path: Named<(String, u16)>,
    body: Sent<Settings>,
) -> Result<Json<Applied>, Refused> {
    let (name, number) = lun_of(path)?;
    let Json(settings) = body.map_err(not_understood)?;
    change(&reach, Ok(Path(name)), LunEdit::Set { number, settings: settings_of(settings) }).await
}

/// Takes a logical unit out of its target, and out of the configuration file. What it has stays where it is
#[utoipa::path(delete, path = "/v1/targets/{name}/luns/{lun}", tag = "targets",
    params(
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("lun" = u16, Path, description = "The LUN")
    ),
    responses(
        (status = OK, body = Applied, description = "It is served no more, and not in the file"),
        NotChanged
    ))]
async fn lun_remove(State(reach): Reached, path: Named<(String, u16)>) -> Result<Json<Applied>, Refused> {
    let (name, number) = lun_of(path)?;
    change(&reach, Ok(Path(name)), LunEdit::Remove { number }).await
}

fn name_of(name: Named<String>) -> Result<String, Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "the name of the target is not UTF-8");
    name.map(|Path(name)| name).map_err(wrong)
}

fn lun_of(path: Named<(String, u16)>) -> Result<(String, u16), Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "a LUN is a number from 0 to 16383");
    path.map(|Path(path)| path).map_err(wrong)
}

fn not_understood(rejection: JsonRejection) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

fn settings_of(settings: Settings) -> Vec<edit::Setting> {
    let said = |setting| match setting {
        Setting::Flag(flag) => Some(Said::Flag(flag)),
        Setting::Number(number) => Some(Said::Number(number)),
        Setting::Text(text) => Some(Said::Text(text)),
        Setting::Default(_) => None,
    };
    settings.into_iter().map(|(key, setting)| (key, said(setting))).collect()
}

async fn change(reach: &Reach, name: Named<String>, lun: LunEdit) -> Result<Json<Applied>, Refused> {
    let target = name_of(name)?;
    let target = (target != ONLY).then_some(target);
    order(reach, Some(Edit { target, lun })).await.map(Json)
}

/// Gives an order, and waits for what comes of it.
async fn order(reach: &Reach, edit: Option<Edit>) -> Result<Applied, Refused> {
    let _turn = reach.ordering.lock().await;
    let (tell, told) = oneshot::channel();
    let tell = Box::new(|applied| {
        let _ = tell.send(applied);
    });
    (reach.orders)(edit, tell).map_err(|why| {
        let detail = match why {
            NotTaken::NoFile => {
                "the server was started without a configuration file: start it with serve --config FILE"
            }
            NotTaken::Busy => "the configuration is being read already: try it again later",
        };
        Refused::new(StatusCode::CONFLICT, detail)
    })?;
    match timeout(RELOAD_ANSWER, told).await {
        Ok(Ok(Ok(applied))) => Ok(applied),
        Ok(Ok(Err(faults))) => {
            let detail = format!("everything stays as it was: {}", faults.join("; "));
            Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults))
        }
        Ok(Err(_)) => Err(Refused::new(StatusCode::CONFLICT, "the control thread takes no orders: restart ringsan")),
        Err(_) => {
            Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, "it is not over yet: the log will say what came of it"))
        }
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
        assert_eq!(operations.len(), 14);
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
