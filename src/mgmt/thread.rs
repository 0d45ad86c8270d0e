//! The thread of the interface: accepts connections, and serves as many at a time as are allowed.

use super::serving::{REST, serve};
use super::socket::Socket;
use super::{Entrances, Reach, accepting, api, guard};
use crate::limits::{CONTROL_CONNECTIONS, CONTROL_END};
use crate::panics;
use axum::Router;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use std::future::{self, Future};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::Builder;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

/// The interface, being served.
pub struct Server {
    stop: oneshot::Sender<()>,
    ended: Receiver<()>,
}

impl Server {
    /// Serves the interface at `entrances`, on a thread of its own.
    ///
    /// # Errors
    /// The thread, or what it needs, cannot be had.
    pub fn start(entrances: Entrances, reach: Reach) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Entrances { socket, remote } = entrances;
        let listener = socket.as_ref().map(Socket::listener).transpose()?;
        let (stop, stopped) = oneshot::channel();
        let (ends, ended) = mpsc::sync_channel(1);
        let serve = move || {
            let reach = Arc::new(reach);
            let router = api::router(Arc::clone(&reach));
            runtime.block_on(async {
                let at_socket = async {
                    match listener {
                        Some(listener) => accept(listener, router.clone()).await,
                        None => future::pending().await,
                    }
                };
                let over_tcp = async {
                    match remote {
                        Some(remote) => accepting::accept(remote, reach, router.clone()).await,
                        None => future::pending().await,
                    }
                };
                // One goes on without the other.
                let both = async { tokio::join!(said(at_socket), said(over_tcp)) };
                tokio::select! {
                    _ = both => {}
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
                    let judge = |parts: Parts| {
                        let judged = guard::at_socket(&parts).map_err(IntoResponse::into_response);
                        future::ready(judged.map(|()| parts))
                    };
                    serve(stream, router, judge).await;
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

/// Says why it has ended, if it has.
async fn said(accepting: impl Future<Output = io::Result<()>>) {
    if let Err(error) = accepting.await {
        tracing::error!("the control interface has ended: {error}");
    }
}
