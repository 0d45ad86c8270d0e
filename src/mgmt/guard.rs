//! Whether a request is taken at all: before any path is looked at.
//!
//! A page in somebody's browser may send requests to any address, also to one that its name is made to mean afterwards (DNS
//! rebinding): so an `Origin` has to be that of the server, which is none on the unix socket, and over TCP `Host` has to be
//! an address or a name of the server. There are no cookies. Over TCP a token says who it is; on the unix socket the system does.

use super::problem::Refused;
use crate::model::control::{Scope, Token};
use crate::tls::Shown;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::time::Duration;

/// What passes between initiators and the server, with their data if that is wanted.
const TRACE: &str = "/v1/trace";

/// What is asked of who has not shown a token (RFC 6750 section 3).
const CHALLENGE: &str = "Bearer realm=\"ringsan\"";
const INVALID: &str = "Bearer realm=\"ringsan\", error=\"invalid_token\"";
const INSUFFICIENT: &str = "Bearer realm=\"ringsan\", error=\"insufficient_scope\"";

/// What somebody is told who speaks HTTP where HTTPS is spoken.
pub(super) const PLAIN: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\nContent-Length: 105\r\n\r\n",
    "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"HTTPS is spoken here: write https://\"}",
);

/// On the unix socket.
///
/// # Errors
/// It comes out of a browser.
pub(super) fn at_socket(request: &Parts) -> Result<(), Refused> {
    if request.headers.contains_key(header::ORIGIN) { Err(cross_site()) } else { Ok(()) }
}

/// Over TCP: that it is meant for this server, at the address `local`, with that certificate.
///
/// # Errors
/// It is meant for another one, or comes out of a page of another one.
pub(super) fn at_address(request: &Parts, local: IpAddr, shown: &Shown) -> Result<(), Refused> {
    let host = host(request).ok_or_else(|| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "a request has to name one host, in a header `Host` (RFC 9112 section 3.2)",
        )
    })?;
    let name = host.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_here = bare.parse().is_ok_and(|address: IpAddr| address.to_canonical() == local.to_canonical());
    if !is_here && !bare.eq_ignore_ascii_case("localhost") && !shown.is_for(bare) {
        let detail = "`Host` is neither the address that this came to nor a name in the certificate";
        return Err(Refused::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let own = format!("https://{host}");
    match request
        .headers
        .get_all(header::ORIGIN)
        .iter()
        .all(|origin| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
    {
        true => Ok(()),
        false => Err(cross_site()),
    }
}

fn cross_site() -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "this comes out of a web page of somebody else (`Origin`): nothing is done for it",
    )
}

/// The host that a request names.
fn host(request: &Parts) -> Option<Authority> {
    let mut named = request.headers.get_all(header::HOST).iter();
    let (host, None) = (named.next()?, named.next()) else { return None };
    let host: Authority = host.to_str().ok()?.parse().ok()?;
    // Who names another one in its first line means that (RFC 9112 section 3.2.2): it had better be the same.
    let is_one = request.uri.authority().is_none_or(|other| other.as_str().eq_ignore_ascii_case(host.as_str()));
    (is_one && !host.as_str().contains('@')).then_some(host)
}

/// The SHA-256 of the token that is shown.
///
/// # Errors
/// There is none.
pub(super) fn shown_token(headers: &HeaderMap) -> Result<[u8; 32], Refused> {
    let missing = || {
        let detail = "a token is needed: `Authorization: Bearer TOKEN`, and `--token-file` for the commands";
        Refused::new(StatusCode::UNAUTHORIZED, detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))
    };
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(missing()) };
    let (scheme, token) = value.as_bytes().split_at_checked(7).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(missing());
    }
    Ok(Sha256::digest(token.trim_ascii()).into())
}

/// Nobody has that token.
pub(super) fn wrong_token() -> Refused {
    let detail = "nobody has this token: the file that `tokens` of [control] names says who may come";
    Refused::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, HeaderValue::from_static(INVALID))
}

/// There were too many wrong tokens from there.
pub(super) fn barred(wait: Duration) -> Refused {
    let seconds = wait.as_millis().div_ceil(1000);
    let detail = format!("there were too many wrong tokens from this address: try again in {seconds} s");
    Refused::new(StatusCode::TOO_MANY_REQUESTS, detail)
        .with(header::RETRY_AFTER, HeaderValue::try_from(seconds.to_string()).unwrap_or(HeaderValue::from_static("60")))
}

/// Whether the owner of a token may do that.
///
/// # Errors
/// It may only see how the server is: neither change it, nor see what initiators read and write.
pub(super) fn may(token: &Token, method: &Method, path: &str) -> Result<(), Refused> {
    if token.scope == Scope::Full || is_looking(method) && path != TRACE {
        return Ok(());
    }
    let detail = "this token may see how the server is, and neither change it nor trace PDUs: it says `read` in the file of tokens, not `full`";
    Err(Refused::new(StatusCode::FORBIDDEN, detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(INSUFFICIENT)))
}

/// Whether nothing changes by it.
pub(super) fn is_looking(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::self_made;
    use axum::http::Request;
    use axum::response::IntoResponse;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn status(of: Result<(), Refused>) -> u16 {
        of.map_or_else(|refused| refused.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn a_request_is_for_this_server_and_out_of_no_other_page() {
        let names: Vec<String> = ["disks.example", "*.lab.example"].map(str::to_owned).into();
        let shown = Shown::new(&self_made(&names).unwrap()).unwrap();
        let ask = |uri: &str, headers: &[(&str, &str)]| {
            status(at_address(&parts(uri, headers), "192.0.2.1".parse().unwrap(), &shown))
        };
        let same = "https://disks.example:3261";
        for (uri, headers, wanted) in [
            ("/", &[("host", "192.0.2.1:3261")][..], 200),
            ("/", &[("host", "192.0.2.1")], 200),
            ("/", &[("host", "[::ffff:192.0.2.1]:1")], 200),
            ("/", &[("host", "LocalHost:3261")], 200),
            ("/", &[("host", "a.lab.example")], 200),
            ("/", &[("host", "disks.example:3261"), ("origin", same)], 200),
            ("/", &[("host", "evil.example")], 421),
            ("/", &[("host", "192.0.2.2")], 421),
            ("/", &[("host", "disks.example.evil.example")], 421),
            ("/", &[("host", "disks.example"), ("origin", "null")], 403),
            ("/", &[("host", "disks.example"), ("origin", same)], 403),
            ("/", &[("host", "disks.example:3261"), ("origin", "http://disks.example:3261")], 403),
            ("/", &[("host", "disks.example:3261"), ("origin", same), ("origin", "https://evil.example")], 403),
            ("/", &[], 400),
            ("/", &[("host", "")], 400),
            ("/", &[("host", "disks.example"), ("host", "evil.example")], 400),
            ("/", &[("host", "x@disks.example")], 400),
            ("https://evil.example/", &[("host", "disks.example")], 400),
            ("https://disks.example/", &[("host", "disks.example")], 200),
        ] {
            assert_eq!(ask(uri, headers), wanted, "{uri} {headers:?}");
        }
        assert_eq!(status(at_socket(&parts("/", &[("host", "anything")]))), 200);
        assert_eq!(status(at_socket(&parts("/", &[("origin", "http://localhost")]))), 403);
    }

    #[test]
    fn what_is_said_without_tls_is_as_long_as_it_says() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<super::super::view::Problem>(body).unwrap().status, 400);
    }

    #[test]
    fn a_token_is_taken_as_a_browser_or_a_script_sends_it() {
        let of = |headers: &[(&str, &str)]| shown_token(&parts("/", headers).headers);
        let digest: [u8; 32] = Sha256::digest("abc").into();
        for value in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(of(&[("authorization", value)]).unwrap(), digest);
        }
        for headers in [
            &[][..],
            &[("authorization", "Basic abc")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
        ] {
            let refused = of(headers).unwrap_err().into_response();
            assert_eq!(
                (refused.status(), &refused.headers()["www-authenticate"]),
                (StatusCode::UNAUTHORIZED, &HeaderValue::from_static(CHALLENGE))
            );
        }
        let reader = Token { name: "r".into(), scope: Scope::Read, digest };
        let status_path = "/v1/status";
        assert!([Method::GET, Method::HEAD].iter().all(|method| may(&reader, method, status_path).is_ok()));
        assert_eq!(status(may(&reader, &Method::GET, TRACE)), 403, "the data of initiators is not how the server is");
        assert!(may(&Token { scope: Scope::Full, ..reader.clone() }, &Method::GET, TRACE).is_ok());
        for method in [Method::POST, Method::PATCH, Method::DELETE, Method::PUT, Method::OPTIONS, Method::TRACE] {
            assert_eq!(status(may(&reader, &method, status_path)), 403);
            assert!(may(&Token { scope: Scope::Full, ..reader.clone() }, &method, status_path).is_ok());
        }
        let barred = barred(Duration::from_millis(1500)).into_response();
        assert_eq!((barred.status().as_u16(), &barred.headers()["retry-after"]), (429, &HeaderValue::from_static("2")));
    }
}
