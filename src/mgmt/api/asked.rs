//! What every function of the interface is asked with.

use super::super::Reach;
use super::super::problem::Refused;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use std::sync::Arc;

/// The server.
pub(super) type Reached = State<Arc<Reach>>;

/// The part of a path that names something.
pub(super) type Named<T> = Result<Path<T>, PathRejection>;

/// The body of a request.
pub(super) type Sent<T> = Result<Json<T>, JsonRejection>;

/// The name in a path.
pub(super) fn name_of(name: Named<String>) -> Result<String, Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "a name in the path is not UTF-8");
    name.map(|Path(name)| name).map_err(wrong)
}
