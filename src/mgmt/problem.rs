//! A request that is refused, as a problem document (RFC 9457).

use super::view::Problem;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The media type of a problem document (RFC 9457 section 3).
const MEDIA_TYPE: &str = "application/problem+json";

/// A request that is refused.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    detail: String,
    faults: Vec<String>,
    /// Apart, for few have one.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refused {
    /// `detail`: what is wrong, and what mends it.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Refused {
        Refused { status, detail: detail.into(), faults: Vec::new(), header: None }
    }

    /// What is wrong.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Several things are wrong.
    pub(super) fn with_faults(self, faults: Vec<String>) -> Refused {
        Refused { faults, ..self }
    }

    /// With a header that says more.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Refused {
        Refused { header: Some(Box::new((name, value))), ..self }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            faults: self.faults,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        response.headers_mut().extend(self.header.map(|header| *header));
        response
    }
}
