//! The interface over TCP: takes connections, has them speak TLS, and asks who each request is from.
//!
//! Invariants: a connection has a place ([`Places`]) as long as it lasts, and none of the unix socket's. Nobody waits for the handshake
//! of another, nor for the answer to a wrong token. What is served now says which tokens and which certificate there are: each
//! request and each connection looks there.

use super::attempts::Attempts;
use super::places::{Place, Places};
use super::problem::Refused;
use super::remote::Remote;
use super::serving::{REST, serve};
use super::{Reach, guard};
use crate::limits::CONTROL_HANDSHAKE;
use crate::model::Host;
use crate::model::control::{Identity, Token};
use crate::noise::Noise;
use crate::panics::Mutex;
use crate::tls::Shown;
use axum::Router;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes of what somebody sends who does not speak TLS, that are read before that is said.
const PLAIN_BYTES: usize = 4096;

/// What all connections share.
struct Shared {
    reach: Arc<Reach>,
    places: Arc<Mutex<Places>>,
    attempts: Mutex<Attempts>,
    noise: Mutex<Noise>,
    began: Instant,
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What clients are shown, made of a certificate and its key.
struct Certificate {
    identity: Arc<Identity>,
    shown: Shown,
    acceptor: TlsAcceptor,
}

impl Certificate {
    fn new(identity: Arc<Identity>) -> io::Result<Certificate> {
        let shown = Shown::new(&identity).map_err(io::Error::other)?;
        let config = shown.server_config().map_err(io::Error::other)?;
        Ok(Certificate { identity, shown, acceptor: Arc::new(config).into() })
    }

    /// Becomes the one that the configuration names now. Where it names none, it stays as it is.
    fn follow(&mut self, reach: &Reach) {
        let world = reach.world.lock().clone();
        let Some(identity) = &world.directory.snapshot().control.identity else { return };
        if Arc::ptr_eq(identity, &self.identity) {
            return;
        }
        if **identity == *self.identity {
            self.identity = Arc::clone(identity);
            return;
        }
        match Certificate::new(Arc::clone(identity)) {
            Ok(new) => {
                tracing::info!("control plane: another certificate, SHA-256 {}", new.shown.fingerprint());
                *self = new;
            }
            // It was looked at when it was read.
            Err(error) => tracing::error!("control plane: the certificate stays as it was: {error}"),
        }
    }
}

/// Accepts connections until that fails for good.
pub(super) async fn accept(remote: Remote, reach: Arc<Reach>, router: Router) -> io::Result<()> {
    let mut certificate = Certificate::new(remote.identity)?;
    let listeners: Vec<TcpListener> =
        remote.listeners.into_iter().map(TcpListener::from_std).collect::<Result<_, _>>()?;
    let shared = Arc::new(Shared {
        reach,
        places: Default::default(),
        attempts: Default::default(),
        noise: Default::default(),
        began: Instant::now(),
    });
    let mut first = 0;
    loop {
        // Each begins in its turn: one that is flooded hides no other.
        first += 1;
        match poll_fn(|context| {
            let in_turn = (0..listeners.len()).filter_map(|at| listeners.get((first + at) % listeners.len()));
            let mut ready = in_turn.map(|listener| listener.poll_accept(context)).filter(Poll::is_ready);
            ready.next().unwrap_or(Poll::Pending)
        })
        .await
        {
            Ok((stream, peer)) => {
                certificate.follow(&shared.reach);
                // Where there is no place, it is closed.
                let Some((place, ended)) = Places::enter(&shared.places, Host::of(peer)) else { continue };
                let (shared, router) = (Arc::clone(&shared), router.clone());
                let (acceptor, shown) = (certificate.acceptor.clone(), certificate.shown.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = ended => {}
                        () = connection(stream, peer, place, (acceptor, shown), shared, router) => {}
                    }
                });
            }
            Err(error) => {
                tracing::debug!("a control connection cannot be accepted: {error}");
                sleep(REST).await;
            }
        }
    }
}

/// One connection. What goes wrong with it is its client's affair.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    (acceptor, shown): (TlsAcceptor, Shown),
    shared: Arc<Shared>,
    router: Router,
) {
    let Ok(local) = stream.local_addr() else { return };
    let Ok(Some(stream)) = timeout(CONTROL_HANDSHAKE, handshake(stream, &acceptor)).await else { return };
    let visitor = Arc::new(Visitor { peer, local, place, shown, shared });
    let judge = move |parts: Parts| {
        let visitor = Arc::clone(&visitor);
        async move {
            match visitor.judge(&parts).await {
                Ok(()) => Ok(parts),
                Err(refused) => Err(refused.into_response()),
            }
        }
    };
    serve(stream, router, judge).await;
}

/// The handshake; `None`: it does not come to an end. Who speaks HTTP without TLS is told so.
async fn handshake(stream: TcpStream, acceptor: &TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if !first[0].is_ascii_uppercase() {
        return acceptor.accept(stream).await.ok();
    }
    // What has come is read: else closing it would take the answer away from the client.
    let mut sent = vec![0; PLAIN_BYTES];
    let _ = stream.try_read(&mut sent);
    // There is room for it: it is the first that is sent.
    let _ = stream.try_write(guard::PLAIN.as_bytes());
    None
}

/// Who is at the other end of a connection.
struct Visitor {
    peer: SocketAddr,
    local: SocketAddr,
    place: Place,
    shown: Shown,
    shared: Arc<Shared>,
}

impl Visitor {
    /// Whether a request is taken. A wrong token costs time, which only this connection waits for.
    async fn judge(&self, request: &Parts) -> Result<(), Refused> {
        guard::at_address(request, self.local.ip(), &self.shown)?;
        let digest = guard::shown_token(&request.headers)?;
        let (host, now_ms) = (Host::of(self.peer), self.shared.now_ms());
        // Not before: who shows none guesses nothing.
        if let Some(wait) = self.shared.attempts.lock().barred(host, now_ms) {
            return Err(guard::barred(wait));
        }
        let world = self.shared.reach.world.lock().clone();
        let Some(token) = Token::find(&world.directory.snapshot().control.tokens, &digest) else {
            let delay = self.shared.attempts.lock().failed(host, now_ms);
            let left_out = self.shared.noise.lock().line(now_ms);
            if let Some(left_out) = left_out {
                tracing::warn!(left_out, peer = %self.peer, "control plane: a wrong token");
            }
            drop(world);
            sleep(delay).await;
            return Err(guard::wrong_token());
        };
        self.place.prove();
        guard::may(token, &request.method, request.uri.path())?;
        if !guard::is_looking(&request.method) {
            let left_out = self.shared.noise.lock().notice(now_ms);
            if let Some(left_out) = left_out {
                let (method, path) = (&request.method, request.uri.path());
                tracing::info!(left_out, token = &*token.name, peer = %self.peer, %method, path, "control plane: asked for a change");
            }
        }
        Ok(())
    }
}
