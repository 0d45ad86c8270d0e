//! The reader of events that the command line is: it goes on where it was when its connection ends.

use super::super::view::{Lost, Said};
use super::{Client, ClientError, answer};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::HeaderName;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Bytes of one line, and of a refusal, at most.
const LINE_BYTES: usize = 1 << 20;

/// The number of the last event that a reader has had.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A server says something that often, if only that it is there.
const SILENCE: Duration = Duration::from_secs(60);

/// How soon a connection that has ended is made again, and for how long nobody may be there meanwhile: as long as a restart takes.
const AGAIN: Duration = Duration::from_secs(1);
const ABSENT: Duration = Duration::from_secs(60);

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something has happened.
    Event {
        /// Its number.
        id: u64,
        /// What it is.
        said: Said,
    },
    /// It was too late for so many.
    Lost(u64),
}

impl Client {
    /// Has `each` told what has happened; and, to `follow`, what happens, until that does not want to hear more.
    ///
    /// # Errors
    /// Why there is nothing to be heard, or nothing more.
    pub fn events(&self, follow: bool, mut each: impl FnMut(Told) -> ControlFlow<()>) -> Result<(), ClientError> {
        let broken = |error: std::io::Error| ClientError::Broken(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
        runtime.block_on(async {
            let (mut parser, mut heard) = (Parser::default(), None);
            loop {
                let ended = self.listen(follow, &mut parser, &mut each).await;
                let was_here = parser.has_begun;
                match ended {
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Ok(ControlFlow::Continue(())) if !follow => return Ok(()),
                    Err(error @ (ClientError::Refused(_) | ClientError::Denied { .. })) => return Err(error),
                    Err(error) if !follow => return Err(error),
                    // It never was there.
                    Err(error) if heard.is_none() && !was_here => return Err(error),
                    Err(error) if heard.is_some_and(|heard: Instant| !was_here && heard.elapsed() > ABSENT) => {
                        return Err(error);
                    }
                    _ => {}
                }
                if was_here {
                    heard = Some(Instant::now());
                }
                sleep(AGAIN).await;
            }
        })
    }

    /// One connection.
    async fn listen(
        &self,
        follow: bool,
        parser: &mut Parser,
        each: &mut impl FnMut(Told) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        parser.begin();
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let silent = |_| ClientError::Broken("nothing comes".to_owned());
        let path = if follow { "/v1/events" } else { "/v1/events?follow=false" };
        let last = parser.last.map(|last| last.to_string());
        let header: Vec<_> = last.iter().map(|last| (LAST_EVENT_ID, last.as_str())).collect();
        let response = timeout(SILENCE, self.ask(Method::GET, path, None, &header)).await.map_err(silent)??;
        if !response.status().is_success() {
            return answer(response).await.map(|_| ControlFlow::Continue(()));
        }
        let mut body = response.into_body();
        parser.has_begun = true;
        while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(silent)? {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if parser.take(&data, each)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Makes events of lines.
#[derive(Debug, Default)]
struct Parser {
    /// A line that has not ended.
    rest: Vec<u8>,
    id: Option<u64>,
    kind: String,
    data: String,
    /// The number of the last event.
    last: Option<u64>,
    /// The server has answered.
    has_begun: bool,
}

impl Parser {
    /// Another connection.
    fn begin(&mut self) {
        *self = Parser { last: self.last, ..Parser::default() };
    }

    fn take(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Told) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend(piece);
            if self.rest.len() > LINE_BYTES {
                return Err(ClientError::Broken("a line without an end".to_owned()));
            }
            if self.rest.pop_if(|last| *last == b'\n').is_some() {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
                if let Some(told) = self.line(&line)?
                    && each(told).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A line; what it makes complete.
    fn line(&mut self, line: &str) -> Result<Option<Told>, ClientError> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = value.parse().ok(),
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push_str(value),
            "" if line.is_empty() && !self.data.is_empty() => return self.complete().map(Some),
            // It says that it is there, or when to come again.
            _ => {}
        }
        Ok(None)
    }

    fn complete(&mut self) -> Result<Told, ClientError> {
        let (kind, data, id) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data), self.id.take());
        let broken = |error: serde_json::Error| ClientError::Broken(error.to_string());
        if kind == "lost" {
            return serde_json::from_str(&data).map(|Lost { lost }| Told::Lost(lost)).map_err(broken);
        }
        let said: Said = serde_json::from_str(&data).map_err(broken)?;
        self.last = id.or(self.last);
        Ok(Told::Event { id: id.unwrap_or_default(), said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_understood_however_they_are_cut() {
        let data = "{\"time\":\"t\",\"kind\":\"k\",\"level\":\"info\",\"message\":\"m\",\"fields\":{\"a\":1}}";
        let text = format!(
            "retry: 1000\n\n: here\n\nevent: lost\ndata: {{\"lost\":3}}\n\nid: 7\nevent: k\ndata: {data}\n\nid: 8\n"
        );
        for size in 1..text.len() {
            let (mut parser, mut told) = (Parser::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                let went_on = parser.take(piece, &mut |one| {
                    told.push(one);
                    ControlFlow::Continue(())
                });
                assert!(went_on.unwrap().is_continue());
            }
            let said: Said = serde_json::from_str(data).unwrap();
            assert_eq!(told, [Told::Lost(3), Told::Event { id: 7, said }]);
            assert_eq!(parser.last, Some(7), "an event that is not whole was not had");
            parser.begin();
            assert_eq!((parser.last, parser.rest.len()), (Some(7), 0));
        }
        let mut parser = Parser::default();
        assert!(parser.take(&vec![b'x'; LINE_BYTES + 1], &mut |_| ControlFlow::Break(())).is_err());
        assert!(parser.take(b"\n", &mut |_| ControlFlow::Break(())).is_err());
    }
}
