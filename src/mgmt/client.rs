//! The client of the interface that the command line is.

mod follow;

pub use follow::Told;

use super::server_url::ServerUrl;
use super::view::Problem;
use crate::tls::server_name;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 256 << 20;

/// How long it is waited for a place among those who wait, and how often it is asked for.
const TURN: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(20);

/// How long it is waited for a connection over TCP, with its TLS.
const CONNECT: Duration = Duration::from_secs(20);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(150);

/// What is said beside a request.
type Header<'a> = (HeaderName, &'a str);

/// What a body is.
const JSON: Header<'static> = (header::CONTENT_TYPE, "application/json");

/// Why there is no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// What is said about the server cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Nobody is there.
    #[error("no ringsan answers at {at}: {reason}")]
    Absent {
        /// The socket, or the server.
        at: String,
        /// What the system says.
        reason: String,
    },
    /// This user may not.
    #[error("{}: {reason}; run this as the user that ringsan runs as, as root, or as a member of the group that `group` of [control] names", .path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The server says no.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// A file cannot be read, or not be written.
    #[error("{}: {why}", .file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// What the system says.
        why: String,
    },
    /// What was waited for has not come.
    #[error(
        "after {seconds} s this still waits for a file that is open otherwise: {what}; the log of the server says more"
    )]
    Late {
        /// What is not served.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The answer is not understood, or does not come.
    #[error("the answer of the server is not understood: {0}")]
    Broken(String),
}

impl ClientError {
    /// Whether there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused(problem) if problem.status == StatusCode::NOT_FOUND.as_u16())
    }
}

/// A client of a server.
#[derive(Debug, Clone)]
pub struct Client {
    server: Result<Place, String>,
}

/// Where a server is.
#[derive(Debug, Clone)]
enum Place {
    Socket(PathBuf),
    Remote(ServerUrl),
}

impl Client {
    /// For the server behind the socket at `path`.
    pub fn new(path: &Path) -> Client {
        Client { server: Ok(Place::Socket(path.to_owned())) }
    }

    /// For the server at `url`, like `https://HOST:PORT`, with the token in a file. `ca`: certificates that are trusted, that of the
    /// server itself among them or not; `None`: those that the system trusts. What is wrong with these is said when something is asked.
    pub fn remote(url: &str, token: Option<&Path>, ca: Option<&Path>) -> Client {
        Client { server: ServerUrl::new(url, token, ca).map(Place::Remote) }
    }

    /// Where the server is: its socket, or its address.
    pub fn place(&self) -> String {
        match &self.server {
            Ok(Place::Socket(path)) => path.display().to_string(),
            Ok(Place::Remote(server)) => server.authority.clone(),
            Err(_) => String::new(),
        }
    }

    /// What a path shows.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(&self.call(Method::GET, path, None, &[])?)
    }

    /// Has something done, and returns what came of it. `body`: what is sent along.
    ///
    /// # Errors
    /// Why it was not done, or why that is not known.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: Option<&impl Serialize>) -> Result<T, ClientError> {
        read(&self.call(Method::POST, path, written(body), &[JSON])?)
    }

    /// Has something changed, and returns what came of it.
    ///
    /// # Errors
    /// Why it was not changed, or why that is not known.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        read(&self.call(Method::PATCH, path, written(Some(body)), &[JSON])?)
    }

    /// Has something be so, and returns what came of it. `only_new`: unless it is there already.
    ///
    /// # Errors
    /// Why it was not done, or why that is not known.
    pub fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        only_new: bool,
    ) -> Result<T, ClientError> {
        let headers = if only_new { &[(header::IF_NONE_MATCH, "*"), JSON][..] } else { &[JSON] };
        read(&self.call(Method::PUT, path, written(Some(body)), headers)?)
    }

    /// Has a text be there, and returns what came of it.
    ///
    /// # Errors
    /// Why it was not done, or why that is not known.
    pub fn put_text<T: DeserializeOwned>(&self, path: &str, text: String) -> Result<T, ClientError> {
        read(&self.call(Method::PUT, path, Some(text), &[(header::CONTENT_TYPE, "application/toml")])?)
    }

    /// Has something removed, and returns what came of it.
    ///
    /// # Errors
    /// Why it was not removed, or why that is not known.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::DELETE, path, None, &[])?;
        // Where nothing is said, there is nothing to be said.
        read(if body.is_empty() { b"null" } else { &body })
    }

    /// Takes what a path shows, piece by piece, until there is no more, or `take` has enough.
    ///
    /// # Errors
    /// Why there is no good answer, or no more of it.
    pub fn stream(
        &self,
        path: &str,
        accept: &str,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let broken = |error: io::Error| ClientError::Broken(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let late = |_| ClientError::Broken("it does not come".to_owned());
        let headers = [(header::ACCEPT, accept)];
        runtime.block_on(async {
            let asked = timeout(PATIENCE, self.ask(Method::GET, path, None, &headers));
            let response = asked.await.map_err(late)??;
            if !response.status().is_success() {
                return answer(response).await.map(drop);
            }
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
                if frame.data_ref().is_some_and(|data| take(data).is_break()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[Header<'_>],
    ) -> Result<Bytes, ClientError> {
        let broken = |error: io::Error| ClientError::Broken(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        let late = |_| ClientError::Broken("it does not come".to_owned());
        runtime.block_on(async { timeout(PATIENCE, self.exchange(method, path, body, headers)).await.map_err(late)? })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[Header<'_>],
    ) -> Result<Bytes, ClientError> {
        answer(self.ask(method, path, body, headers).await?).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[Header<'_>],
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let broken = |error: hyper::http::Error| ClientError::Broken(error.to_string());
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        match &self.server {
            Err(why) => Err(ClientError::Unusable(why.clone())),
            Ok(Place::Socket(path)) => {
                let stream = connect(path).await.map_err(|error| unreached(path, error))?;
                let request = request.header(header::HOST, "localhost").body(body).map_err(broken)?;
                sent(stream, request).await
            }
            Ok(Place::Remote(server)) => {
                let stream = timeout(CONNECT, connect_tls(server)).await;
                let stream = stream.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
                let at = server.authority.clone();
                let stream = stream.map_err(|error| ClientError::Absent { at, reason: error.to_string() })?;
                let bearer = zeroize::Zeroizing::new(format!("Bearer {}", server.token.as_str()));
                let mut bearer = HeaderValue::try_from(bearer.as_str()).map_err(|error| broken(error.into()))?;
                bearer.set_sensitive(true);
                let request = request.header(header::HOST, &server.authority).header(header::AUTHORIZATION, bearer);
                sent(stream, request.body(body).map_err(broken)?).await
            }
        }
    }
}

/// Sends a request, and waits for the front of the answer.
async fn sent<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// The whole of an answer, if it is a good one.
async fn answer(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
    match serde_json::from_slice::<Problem>(&body) {
        _ if status.is_success() => Ok(body),
        Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
        Err(_) => Err(ClientError::Broken(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
    }
}

/// Connects to a socket, and waits for its turn while as many wait already as may.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let until = Instant::now() + TURN;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => sleep(RETRY).await,
            connected => return connected,
        }
    }
}

/// Connects to a server over TCP, which has to show who it is.
async fn connect_tls(server: &ServerUrl) -> io::Result<TlsStream<TcpStream>> {
    let name = server_name(&server.host).ok_or(ErrorKind::InvalidInput)?;
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    server.connector.connect(name, stream).await
}

fn unreached(path: &Path, error: io::Error) -> ClientError {
    let at = path.display().to_string();
    match error.kind() {
        ErrorKind::PermissionDenied => ClientError::Denied { path: path.to_owned(), reason: error.to_string() },
        ErrorKind::NotFound => {
            ClientError::Absent { at, reason: "it is not running, or has its socket elsewhere".to_owned() }
        }
        ErrorKind::ConnectionRefused => ClientError::Absent { at, reason: "it is not running any more".to_owned() },
        _ => ClientError::Absent { at, reason: error.to_string() },
    }
}

fn written(body: Option<&impl Serialize>) -> Option<String> {
    body.and_then(|body| serde_json::to_string(body).ok())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Broken(error.to_string()))
}
