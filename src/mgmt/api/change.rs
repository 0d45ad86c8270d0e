//! A change to the configuration: an order to the control thread, which writes it to the file and serves it; and what it does, or
//! would do, to whom.

use super::super::impact::{Impact, impact};
use super::super::problem::Refused;
use super::super::view::{Affected, Applied, Element, Plan, Problem, Setting, Settings, Step};
use super::super::{Came, NotDone, NotTaken, Order, Planned, Reach, Wanted};
use crate::config::diff::{Becomes, Step as Difference, Thing};
use crate::config::edit::{self, Act, Edit, Place, Said};
use crate::limits::RELOAD_ANSWER;
use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::IntoParams;

/// An answer to a request for a change.
pub(super) type Answer = Result<Response, Refused>;

/// How a change is made.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    /// It is not made: the answer is what it would be, and to whom
    #[serde(rename = "dry-run")]
    pub(super) dry_run: bool,
    /// It is made, whatever it takes away from sessions that are there
    pub(super) force: bool,
}

/// When a change is made
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is there for the description alone")]
pub(super) struct When {
    /// Only if the file still has the text that this entity tag (`ETag`) tells (RFC 9110 section 13.1.1)
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: a PUT makes only what is not there yet (RFC 9110 section 13.1.2)
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// How a change is made, and when.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) how: How,
    /// The tags of `If-Match` (RFC 9110 section 13.1.1). `None`: there is none, or it is `*`.
    pub(super) only_if: Option<Vec<String>>,
    /// `If-None-Match: *`: only what is not there yet is put there (RFC 9110 section 13.1.2).
    pub(super) only_new: bool,
}

impl Terms {
    /// What a PUT does.
    pub(super) fn put(&self, settings: Vec<edit::Setting>) -> Act {
        if self.only_new { Act::Add(settings) } else { Act::Put(settings) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Terms {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Terms, Refused> {
        let bad = |detail: String| Refused::new(StatusCode::BAD_REQUEST, detail);
        let query = Query::<How>::from_request_parts(parts, state).await;
        let Query(how) = query.map_err(|rejection| bad(rejection.body_text()))?;
        let only_new = match parts.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes()) {
            None => false,
            Some(b"*") => true,
            Some(_) => return Err(bad("If-None-Match is * or nothing here".to_owned())),
        };
        let mut tags = Vec::new();
        for value in parts.headers.get_all(header::IF_MATCH) {
            let value = value.to_str().map_err(|_| bad("If-Match is not ASCII".to_owned()))?.trim();
            if value == "*" {
                return Ok(Terms { how, only_if: None, only_new });
            }
            tags.extend(entity_tags(value));
        }
        let only_if = parts.headers.contains_key(header::IF_MATCH).then_some(tags);
        Ok(Terms { how, only_if, only_new })
    }
}

/// The entity tags of a list that can match: weak ones never do (RFC 9110 section 8.8.3.2). What is between quotes may be
/// anything, commas and blanks too.
fn entity_tags(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = list;
    while let Some((before, behind)) = rest.split_once('"') {
        let Some((tag, behind)) = behind.split_once('"') else { break };
        if !before.ends_with("W/") {
            found.push(tag.to_owned());
        }
        rest = behind;
    }
    found
}

/// A tag as an entity tag.
pub(super) fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// Why a change was not made, or is not known to be.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it is there for the description alone")]
pub(super) enum NotChanged {
    /// Path, query or body are not understood
    #[response(status = BAD_REQUEST, content_type = "application/problem+json")]
    Misread(Problem),
    /// What is meant is not in the file
    #[response(status = NOT_FOUND, content_type = "application/problem+json")]
    Missing(Problem),
    /// It is there already (`If-None-Match: *`), it takes something away from a session (`force=true` does it), there is no file, or the file is being read
    #[response(status = CONFLICT, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The file has another text than `If-Match` says
    #[response(status = PRECONDITION_FAILED, content_type = "application/problem+json")]
    Otherwise(Problem),
    /// That cannot be served; everything stays as it was
    #[response(status = UNPROCESSABLE_ENTITY, content_type = "application/problem+json")]
    Unservable(Problem),
    /// It is not over yet
    #[response(status = GATEWAY_TIMEOUT, content_type = "application/problem+json")]
    Unfinished(Problem),
}

/// Settings of a request, as the file has them.
pub(super) fn said(settings: Settings) -> Vec<edit::Setting> {
    let element = |element| match element {
        Element::Number(number) => Said::Number(number),
        Element::Text(text) => Said::Text(text),
    };
    let said = |setting| match setting {
        Setting::Flag(flag) => Some(Said::Flag(flag)),
        Setting::Number(number) => Some(Said::Number(number)),
        Setting::Text(text) => Some(Said::Text(text)),
        Setting::List(list) => Some(Said::List(list.into_iter().map(element).collect())),
        Setting::Default(_) => None,
    };
    settings.into_iter().map(|(key, setting)| (key, said(setting))).collect()
}

/// Has a table of the file changed.
pub(super) async fn edit(reach: &Arc<Reach>, place: Place, act: Act, terms: Terms) -> Answer {
    change(reach, Wanted::Edit(Edit { place, act }), terms).await
}

/// Has the configuration changed, unless that would take something away from a session, and nobody has said that it may.
pub(super) async fn change(reach: &Arc<Reach>, wanted: Wanted, Terms { how, only_if, .. }: Terms) -> Answer {
    let _turn = reach.ordering.lock().await;
    if how.force && !how.dry_run {
        return applied(reach, order(reach, Order { wanted, only_if, dry: false }).await?);
    }
    let again = wanted.clone();
    let planned = order(reach, Order { wanted, only_if, dry: true }).await;
    let planned = planned.inspect_err(|refused| {
        if !how.dry_run {
            let why = refused.detail();
            tracing::warn!(event = "config-refused", "a change of the configuration: {why}");
        }
    });
    let Came::Planned(planned) = planned? else {
        return Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "a plan was asked for, and is not there"));
    };
    let plan = plan_of(reach, &planned).await;
    if how.dry_run {
        let Planned { lun, kept, warnings, tag, .. } = *planned;
        let applied = Applied { lun, kept, warnings, plan: Some(plan), ..Applied::default() };
        return Ok(([(header::ETAG, quoted(&tag))], Json(applied)).into_response());
    }
    if plan.needs_force {
        let faults: Vec<String> =
            plan.sessions.iter().filter_map(loss).chain(plan.silent_cores.iter().map(silent)).collect();
        let detail =
            format!("nothing is changed, for sessions would lose something: {} (force does it)", faults.join("; "));
        return Err(Refused::new(StatusCode::CONFLICT, detail).with_faults(faults));
    }
    // The plan is for this text.
    let order = Order { wanted: again, only_if: Some(vec![planned.tag]), dry: false };
    applied(reach, self::order(reach, order).await?)
}

fn applied(reach: &Reach, came: Came) -> Answer {
    match came {
        Came::Applied(applied) => {
            let tag = quoted(&reach.tag.lock());
            Ok(([(header::ETAG, tag)], Json(applied)).into_response())
        }
        _ => Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "a change was asked for, and was not made")),
    }
}

/// The text of the file without secrets, and its tag.
pub(super) async fn shown(reach: &Reach) -> Result<(String, String), Refused> {
    let _turn = reach.ordering.lock().await;
    match order(reach, Order { wanted: Wanted::Show, only_if: None, dry: true }).await? {
        Came::Shown(text, tag) => Ok((text, tag)),
        _ => Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "the text was asked for, and is not there")),
    }
}

fn loss(session: &Affected) -> Option<String> {
    let who = format!("session {} of {}", session.tsih, session.initiator);
    match (session.dropped, session.loses.as_slice()) {
        (true, _) => Some(format!("{who} would be dropped")),
        (false, []) => None,
        (false, [one]) => Some(format!("{who} would lose LUN {one}")),
        (false, several) => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            Some(format!("{who} would lose LUNs {}", several.join(", ")))
        }
    }
}

fn silent(core: &usize) -> String {
    format!("core {core} does not answer: what its sessions would lose is not known")
}

/// Whether a difference can take something away from a session.
fn takes_away(step: &Difference) -> bool {
    match (&step.thing, &step.becomes) {
        (Thing::Group(..), _) => true,
        (Thing::Server | Thing::Portal(_), _) => false,
        (_, Becomes::Added | Becomes::Resized(_)) => false,
        (Thing::Lun(..), Becomes::Changed(_)) => false,
        (Thing::Discovery | Thing::Target(_), Becomes::Changed(_)) => true,
        (_, Becomes::Removed) => true,
    }
}

/// What a change would be, and to whom.
async fn plan_of(reach: &Arc<Reach>, planned: &Planned) -> Plan {
    let sign = |becomes: &Becomes| match becomes {
        Becomes::Added => "+",
        Becomes::Removed => "-",
        Becomes::Changed(_) | Becomes::Resized(_) => "~",
    };
    let shown = |step: &Difference| Step { sign: sign(&step.becomes).to_owned(), what: step.said() };
    let steps = planned.steps.iter().map(shown).collect();
    if planned.steps.is_empty() {
        return Plan::default();
    }
    let found = reach.sessions().await;
    let (sessions, silent_cores) = (&found.0, found.1.clone());
    let after = Arc::new(planned.after.clone());
    let affected = sessions.iter().filter_map(|(_, session)| {
        let impact = impact(&planned.before, &after, session)?;
        let loses = if let Impact::Loses(luns) = &impact { luns.clone() } else { Vec::new() };
        let (tsih, initiator) = (session.init.tsih.0, session.init.initiator.name.to_string());
        Some(Affected { tsih, initiator, loses, dropped: impact == Impact::Dropped })
    });
    let sessions: Vec<Affected> = affected.collect();
    let is_unknown = !silent_cores.is_empty() && planned.steps.iter().any(takes_away);
    let needs_force = is_unknown || sessions.iter().any(|session| session.dropped || !session.loses.is_empty());
    Plan { steps, sessions, silent_cores, needs_force }
}

/// Gives an order, and waits for what comes of it.
async fn order(reach: &Reach, order: Order) -> Result<Came, Refused> {
    let (tell, told) = oneshot::channel();
    let tell = Box::new(|came| {
        // Who asked may not wait any more.
        let _ = tell.send(came);
    });
    (reach.orders)(order, tell).map_err(|why| {
        let detail = match why {
            NotTaken::NoFile => {
                "the server was started without a configuration file: start it with serve --config FILE"
            }
            NotTaken::Busy => "the configuration is being read already: try it again later",
        };
        Refused::new(StatusCode::CONFLICT, detail)
    })?;
    match timeout(RELOAD_ANSWER, told).await {
        Ok(Ok(Ok(came))) => Ok(came),
        Ok(Ok(Err(not_done))) => Err(refused(not_done)),
        Ok(Err(_)) => Err(Refused::new(StatusCode::CONFLICT, "the control thread takes no orders: restart ringsan")),
        Err(_) => {
            Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, "it is not over yet: the log will say what came of it"))
        }
    }
}

fn refused(not_done: NotDone) -> Refused {
    match not_done {
        NotDone::Faults(faults) => {
            let detail = format!("everything stays as it was: {}", faults.join("; "));
            Refused::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults)
        }
        NotDone::NotFound(detail) => Refused::new(StatusCode::NOT_FOUND, detail),
        NotDone::Taken(detail) => Refused::new(StatusCode::CONFLICT, detail),
        NotDone::Otherwise => Refused::new(
            StatusCode::PRECONDITION_FAILED,
            "the configuration file has been changed by somebody else meanwhile: look at what it says now, and try it again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_whatever_is_in_them() {
        assert_eq!(entity_tags("\"a\", W/\"b\",\"c, d\""), ["a", "c, d"]);
        assert_eq!(entity_tags("a, b"), [""; 0]);
        assert_eq!(entity_tags("\"open"), [""; 0]);
        assert_eq!(quoted("a"), "\"a\"");
    }
}
