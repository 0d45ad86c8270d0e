//! What passes between initiators and the server, live.

use crate::config::edit::ending_in;
use crate::fabric::look::Filter;
use crate::mgmt::Reach;
use crate::mgmt::problem::Refused;
use crate::mgmt::trace::{Asked, Form, Stay, follow};
use crate::mgmt::view::Problem;
use crate::model::IscsiName;
use crate::wire::Tsih;
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use serde::Deserialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use utoipa::IntoParams;

/// The media type of a capture, as Wireshark's makers have it.
const PCAPNG: &str = "application/x-pcapng";
const LINES: &str = "text/plain; charset=utf-8";

/// Which PDUs are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Those of the session with this TSIH
    session: Option<u16>,
    /// Those of sessions at this target, logins included: its name, or what no other name has behind its last colon
    target: Option<String>,
    /// Those that belong to this LUN, and logins
    lun: Option<u16>,
    /// Up to 8 KiB of the data of each; else only text and what comes with a response
    data: Option<bool>,
    /// So many, and the trace ends
    count: Option<u64>,
    /// For so many seconds
    seconds: Option<u64>,
}

/// Shows the PDUs that pass between initiators and the server, until the client goes: as a capture, or as lines of text by `Accept`
///
/// What is not read soon enough is left out, and counted. What proves who an initiator is (CHAP) is never in it.
#[utoipa::path(get, path = "/v1/trace", tag = "sessions", params(Wanted), responses(
    (status = OK, body = Vec<u8>, content_type = "application/x-pcapng", description = "pcapng; or text/plain, if that is what `Accept` asks for"),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "That is not understood"),
    (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "There is no such session or target"),
    (status = TOO_MANY_REQUESTS, body = Problem, content_type = "application/problem+json", description = "There are as many traces as there may be")
))]
pub(super) async fn trace(
    State(reach): State<Arc<Reach>>,
    Extension(stay): Extension<Stay>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Query(wanted) = wanted.map_err(|wrong| Refused::new(StatusCode::BAD_REQUEST, wrong.body_text()))?;
    let world = reach.world.lock().clone();
    let session = wanted.session.map(Tsih);
    if session.is_some_and(|tsih| world.registry.whereabouts(tsih).is_none()) {
        return Err(Refused::new(StatusCode::NOT_FOUND, "there is no session with that TSIH"));
    }
    let target = match &wanted.target {
        None => None,
        Some(target) => Some(named(world.targets.iter().map(|target| &target.name), target)?),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = if accept.contains("text/plain") { Form::Lines } else { Form::Pcapng };
    let asked = Asked {
        what: Filter { session, target, data: wanted.data.unwrap_or(false) },
        lun: wanted.lun,
        form,
        count: wanted.count,
        time: wanted.seconds.map(Duration::from_secs),
    };
    let full = || Refused::new(StatusCode::TOO_MANY_REQUESTS, "there are as many traces as there may be: end one");
    let pieces = follow(&reach, asked, stay).await.ok_or_else(full)?;
    let kind = if form == Form::Lines { LINES } else { PCAPNG };
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(Pieces(pieces))).into_response())
}

fn named<'a>(names: impl Iterator<Item = &'a IscsiName>, wanted: &str) -> Result<IscsiName, Refused> {
    let names: Vec<_> = names.collect();
    let at = ending_in(names.iter().map(|name| name.as_str()), wanted);
    let found = at.and_then(|at| names.get(at)).map(|name| (*name).clone());
    found.ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "there is no target of that name"))
}

/// A body that comes in pieces.
struct Pieces(Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
