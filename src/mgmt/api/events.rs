//! What happens, as it happens: server-sent events (WHATWG HTML, section 9.2). A reader that comes again says what it has had last.

use super::super::Reach;
use super::super::problem::Refused;
use super::super::view::{Lost, Problem, Said};
use crate::events::{Event, Events, Heard, Place, Value};
use crate::limits::{EVENT_LOOK, EVENT_READERS};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

/// How soon a reader whose connection has ended is to come again.
const AGAIN: Duration = Duration::from_secs(1);

/// The header in which a reader says what it has had.
const LAST: &str = "last-event-id";

/// What is wanted of events.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// What has happened, and what happens from now on
#[utoipa::path(get, path = "/v1/events", tag = "server",
    params(
        ("follow" = Option<bool>, Query, description = "False: no more than what has happened; true if it is not said"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that was had: what came after it is wanted")
    ),
    responses(
        (status = OK, body = String, content_type = "text/event-stream", description = "Events: `id` is a number that goes up, `event` the kind, `data` a `Said` as JSON; of the kind `lost` are those that say how many a reader was too late for (`Lost`)"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "`follow` is neither true nor false"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json", description = "There are as many readers as may be")
    ))]
pub(super) async fn events(
    State(reach): State<Arc<Reach>>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refused> {
    let misread = |_| Refused::new(StatusCode::BAD_REQUEST, "follow is true or false");
    let Query(Wanted { follow }) = wanted.map_err(misread)?;
    let full = || {
        let detail = format!("{EVENT_READERS} others read events already: end one of them, or try it again later");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let place = reach.readers.enter().ok_or_else(full)?;
    let last = headers.get(LAST).and_then(|last| last.to_str().ok()).and_then(|last| last.trim().parse().ok());
    let events = Arc::clone(&reach.voice.events);
    let reader = Reader { place: events.place_after(last), events, follow, ready: first(), _turn: place };
    Ok(Sse::new(stream::unfold(reader, next)).keep_alive(KeepAlive::new()))
}

fn first() -> VecDeque<sse::Event> {
    VecDeque::from([sse::Event::default().retry(AGAIN)])
}

struct Reader {
    events: Arc<Events>,
    place: Place,
    follow: bool,
    /// What it is to have next.
    ready: VecDeque<sse::Event>,
    /// Others have its place when it is gone.
    _turn: OwnedSemaphorePermit,
}

/// What a reader has next. It is asked when there is room on its connection: until then, its events are those that are kept for all.
async fn next(mut reader: Reader) -> Option<(Result<sse::Event, Infallible>, Reader)> {
    loop {
        if let Some(event) = reader.ready.pop_front() {
            return Some((Ok(event), reader));
        }
        let Heard { lost, events } = reader.events.read(&mut reader.place);
        if events.is_empty() && !reader.follow {
            return None;
        }
        if events.is_empty() {
            sleep(EVENT_LOOK).await;
        }
        let lost = (lost > 0).then(|| {
            let data = serde_json::to_string(&Lost { lost }).unwrap_or_default();
            sse::Event::default().event("lost").data(data)
        });
        reader.ready = lost.into_iter().chain(events.iter().map(|(number, event)| written(*number, event))).collect();
    }
}

/// An event, as it is sent. It has no line break in it: those are no part of what is said ([`crate::log`]).
fn written(number: u64, event: &Event) -> sse::Event {
    let data = serde_json::to_string(&said(event)).unwrap_or_default();
    sse::Event::default().id(number.to_string()).event(word(&event.kind)).data(data)
}

/// A kind is a word of ours. That nothing else gets there is not left to whoever logs.
fn word(kind: &str) -> &str {
    let is_one = kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_one { kind } else { "info" }
}

fn said(event: &Event) -> Said {
    let value = |value: &Value| match value {
        Value::Flag(flag) => (*flag).into(),
        Value::Integer(number) => (*number).into(),
        Value::Count(number) => (*number).into(),
        Value::Fraction(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
    };
    Said {
        time: event.time.clone(),
        kind: word(&event.kind).to_owned(),
        level: event.level.to_owned(),
        message: event.message.clone(),
        fields: event.fields.iter().map(|(name, of)| ((*name).to_owned(), value(of))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::response::IntoResponse;
    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    fn event(number: u64) -> Event {
        Event {
            time: "2026-12-01T00:00:00Z".to_owned(),
            kind: "logged-in".to_owned(),
            level: "info",
            message: "logged in".to_owned(),
            fields: vec![("tsih", Value::Count(number)), ("peer", Value::Text("192.0.2.1:5".to_owned()))],
        }
    }

    fn reader(events: &Arc<Events>, follow: bool, last: Option<u64>) -> Reader {
        let turn = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Reader { place: events.place_after(last), events: Arc::clone(events), follow, ready: first(), _turn: turn }
    }

    /// What is sent of it.
    fn sent(reader: Reader) -> String {
        let body: Body = Sse::new(stream::unfold(reader, next)).into_response().into_body();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bytes = runtime.block_on(body.collect()).unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn events_are_sent_as_browsers_and_we_read_them() {
        let events = Arc::new(Events::since(0));
        (0..2).for_each(|number| events.put(event(number)));
        let one = |number| {
            format!(
                "id: {number}\nevent: logged-in\ndata: {{\"time\":\"2026-12-01T00:00:00Z\",\"kind\":\"logged-in\",\
                 \"level\":\"info\",\"message\":\"logged in\",\"fields\":{{\"peer\":\"192.0.2.1:5\",\"tsih\":{number}}}}}\n\n"
            )
        };
        assert_eq!(sent(reader(&events, false, None)), format!("retry: 1000\n\n{}{}", one(0), one(1)));
        assert_eq!(sent(reader(&events, false, Some(0))), format!("retry: 1000\n\n{}", one(1)));
        let late = reader(&events, false, Some(0));
        (0..crate::limits::EVENTS as u64).for_each(|number| events.put(event(number)));
        let text = sent(late);
        assert!(text.starts_with("retry: 1000\n\nevent: lost\ndata: {\"lost\":1}\n\nid: 2\n"), "{text}");
        assert_eq!(text.matches("\nid: ").count(), crate::limits::EVENTS);
    }

    #[test]
    fn only_a_word_is_a_kind() {
        assert_eq!(["a-b2", "", "a\nid: 1", "A"].map(word), ["a-b2", "", "info", "info"]);
    }
}
