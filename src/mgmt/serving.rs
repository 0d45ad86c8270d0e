//! Serves one connection, wherever it came in.

use super::trace::Stay;
use crate::limits::{CONTROL_CONNECTION, CONTROL_HEADERS};
use axum::http::request::Parts;
use axum::response::Response;
use axum::{Extension, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// How long nothing is accepted after a shortage of descriptors.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Serves one connection, for as long as is allowed, or as it has a trace: those requests that `judge` lets through. What goes wrong with it is its
/// client's affair.
pub(super) async fn serve<S, J, F>(stream: S, router: Router, judge: J)
where
    S: AsyncRead + AsyncWrite + Unpin,
    J: Fn(Parts) -> F,
    F: Future<Output = Result<Parts, Response>>,
{
    let stay = Stay::default();
    let service = TowerToHyperService::new(router.layer(Extension(stay.clone())));
    let judged = service_fn(|request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let (judged, service) = (judge(parts), service.clone());
        async move {
            match judged.await {
                Ok(parts) => service.call(Request::from_parts(parts, body)).await,
                Err(refused) => Ok(refused),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONTROL_HEADERS)
        .serve_connection(TokioIo::new(stream), judged);
    let mut connection = pin!(connection);
    while timeout(CONTROL_CONNECTION, connection.as_mut()).await.is_err() && stay.is_held() {}
}
