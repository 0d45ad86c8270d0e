//! What the log leaves out.

use super::super::Reach;
use super::super::problem::Refused;
use super::super::view::{LogFilter, Problem};
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use std::sync::Arc;

/// What the log leaves out
#[utoipa::path(get, path = "/v1/log", tag = "server", responses((status = OK, body = LogFilter)))]
pub(super) async fn log_filter(State(reach): State<Arc<Reach>>) -> Json<LogFilter> {
    // Nothing is wrong with what is asked.
    Json(LogFilter { filter: (reach.voice.filter)(None).unwrap_or_default() })
}

/// Has the log leave out something else, until the next start; the configuration file stays as it is
#[utoipa::path(put, path = "/v1/log", tag = "server",
    request_body = LogFilter,
    responses(
        (status = OK, body = LogFilter, description = "So it is now"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is no filter; everything stays as it was")
    ))]
pub(super) async fn log_filter_set(
    State(reach): State<Arc<Reach>>,
    body: Result<Json<LogFilter>, JsonRejection>,
) -> Result<Json<LogFilter>, Refused> {
    let Json(LogFilter { filter }) = body.map_err(|why| Refused::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    let set = (reach.voice.filter)(Some(&filter));
    set.map(|filter| Json(LogFilter { filter })).map_err(|why| Refused::new(StatusCode::BAD_REQUEST, why))
}
