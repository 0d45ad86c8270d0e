//! The thread of the interface: accepts connections, and serves as many at a time as are allowed.

use super::socket::Socket;
use super::trace::Stay;
use super::{Reach, api};
use crate::limits::{CONTROL_CONNECTION, CONTROL_CONNECTIONS, CONTROL_END, CONTROL_HEADERS};
use crate::panics;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::Builder;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// How long nothing is accepted after a shortage of descriptors.
const REST: Duration = Duration::from_millis(100);

/// The interface, being served.
pub struct Server {
    stop: oneshot::Sender<()>,
    ended: Receiver<()>,
}

impl Server {
    /// Serves the interface on `socket`, on a thread of its own.
    ///
    /// # Errors
    /// The thread, or what it needs, cannot be had.
    pub fn start(socket: Socket, reach: Reach) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = socket.listener()?;
        let (stop, stopped) = oneshot::channel();
        let (ends, ended) = mpsc::sync_channel(1);
        let serve = move || {
            let router = api::router(Arc::new(reach));
            runtime.block_on(async {
                tokio::select! {
                    Err(error) = accept(listener, router) => tracing::error!("the control interface has ended: {error}"),
                    _ = stopped => {}
                }
            });
            // What it has given to other threads is not waited for.
            runtime.shutdown_background();
            true
        };
        let end = move |was_served: Option<bool>| {
            if was_served.is_none() {
                tracing::error!(
                    "the control interface has failed: disks are served as before; restart ringsan when that suits"
                );
            }
            drop(socket);
            let _ = ends.try_send(());
        };
        Builder::new().name("ringsan-api".to_owned()).spawn(move || panics::contained(serve, end))?;
        Ok(Server { stop, ended })
    }

    /// Ends it, and waits for that, but not for ever.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.ended.recv_timeout(CONTROL_END);
    }
}

/// Accepts connections until that fails for good.
async fn accept(listener: std::os::unix::net::UnixListener, router: Router) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a control connection cannot be accepted: {error}");
                sleep(REST).await;
            }
        }
    }
}

/// Serves one connection, for as long as is allowed, or as it has a trace. What goes wrong with it is its client's affair.
async fn serve(stream: UnixStream, router: Router) {
    let stay = Stay::default();
    let router = router.layer(Extension(stay.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONTROL_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    while timeout(CONTROL_CONNECTION, connection.as_mut()).await.is_err() && stay.is_held() {}
}
