//! What an administrator changes, each thing by its path. What comes of a change: `change.rs`.

use super::super::Reach;
use super::super::Wanted;
use super::super::problem::Refused;
use super::super::view::{Account, Applied, NewLun, Settings};
use super::asked::{Named, Reached, Sent, name_of};
use super::change::{Answer, How, NotChanged, Terms, When, change, edit, quoted, said, shown};
use super::named::ONLY;
use crate::config::edit::{Act, Place};
use axum::Json;
use axum::extract::rejection::{JsonRejection, StringRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

/// The paths of what can be changed.
pub(super) fn paths() -> OpenApiRouter<Arc<Reach>> {
    OpenApiRouter::new()
        .routes(routes!(reload))
        .routes(routes!(config_show, config_put))
        .routes(routes!(target_put, target_set, target_remove))
        .routes(routes!(lun_add))
        .routes(routes!(lun_put, lun_set, lun_remove))
        .routes(routes!(group_put, group_set, group_remove))
        .routes(routes!(portal_put, portal_set, portal_remove))
        .routes(routes!(accounts_list))
        .routes(routes!(account_put, account_set, account_remove))
}

fn named(name: String) -> Option<String> {
    (name != ONLY).then_some(name)
}

fn target_of(name: Named<String>) -> Result<Place, Refused> {
    Ok(Place::Target(named(name_of(name)?)))
}

fn lun_of(path: Named<(String, u16)>) -> Result<Place, Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "a LUN is a number from 0 to 16383");
    let Path((target, number)) = path.map_err(wrong)?;
    Ok(Place::Lun(named(target), Some(number)))
}

fn group_of(path: Named<(String, String)>) -> Result<Place, Refused> {
    let wrong = |_| Refused::new(StatusCode::BAD_REQUEST, "the name of the target, or of the group, is not UTF-8");
    let Path((target, group)) = path.map_err(wrong)?;
    Ok(Place::Group(named(target), group))
}

fn not_understood(rejection: JsonRejection) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

async fn put(reach: &Arc<Reach>, place: Place, body: Sent<Settings>, terms: Terms) -> Answer {
    let act = terms.put(settings(body)?);
    edit(reach, place, act, terms).await
}

fn settings(body: Sent<Settings>) -> Result<Vec<crate::config::edit::Setting>, Refused> {
    body.map(|Json(settings)| said(settings)).map_err(not_understood)
}

/// Has the configuration file read again, and serves what it says
#[utoipa::path(post, path = "/v1/reload", tag = "server", params(How, When), responses(
    (status = OK, body = Applied, description = "It is served; or, if asked for, what it would be"),
    NotChanged
))]
async fn reload(State(reach): Reached, terms: Terms) -> Answer {
    // The file is the truth: what it takes away, it takes away.
    change(&reach, Wanted::Reread, Terms { how: How { force: true, ..terms.how }, ..terms }).await
}

/// The text of the configuration file, without the secrets that are in it
#[utoipa::path(get, path = "/v1/config", tag = "server", responses(
    (status = OK, body = String, content_type = "application/toml", description = "TOML"),
    NotChanged
))]
async fn config_show(State(reach): Reached) -> Answer {
    let (text, tag) = shown(&reach).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml"), (header::ETAG, &quoted(&tag))], text).into_response())
}

/// Gives the configuration file another text, and serves that. A secret that was not shown is as it was
#[utoipa::path(put, path = "/v1/config", tag = "server", params(How, When),
    request_body(content = String, content_type = "application/toml"),
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn config_put(State(reach): Reached, terms: Terms, text: Result<String, StringRejection>) -> Answer {
    let text = text.map_err(|rejection| Refused::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    change(&reach, Wanted::Text(Zeroizing::new(text)), terms).await
}

/// Has a target with these settings and no others; its logical units and groups stay
#[utoipa::path(put, path = "/v1/targets/{name}", tag = "targets", params(How, When, ("name" = String, Path, description = "Its iSCSI name")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn target_put(State(reach): Reached, name: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    put(&reach, target_of(name)?, body, terms).await
}

/// Gives a target other settings; those that are not named stay
#[utoipa::path(patch, path = "/v1/targets/{name}", tag = "targets",
    params(How, When, ("name" = String, Path, description = "Its iSCSI name, what no other name has behind its last colon, or `-` for the only one")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "They are served, and in the file"), NotChanged))]
async fn target_set(State(reach): Reached, name: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    edit(&reach, target_of(name)?, Act::Set(settings(body)?), terms).await
}

/// Takes a target away, with its logical units and groups. What those have stays where it is
#[utoipa::path(delete, path = "/v1/targets/{name}", tag = "targets",
    params(How, When, ("name" = String, Path, description = "Its iSCSI name, what no other name has behind its last colon, or `-` for the only one")),
    responses((status = OK, body = Applied, description = "It is served no more, and not in the file"), NotChanged))]
async fn target_remove(State(reach): Reached, name: Named<String>, terms: Terms) -> Answer {
    edit(&reach, target_of(name)?, Act::Remove, terms).await
}

/// Adds a logical unit to a target, at the lowest free LUN if none is said, and writes that to the configuration file
#[utoipa::path(post, path = "/v1/targets/{name}/luns", tag = "targets",
    params(How, When, ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one")),
    request_body = NewLun,
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn lun_add(State(reach): Reached, name: Named<String>, terms: Terms, body: Sent<NewLun>) -> Answer {
    let Json(NewLun { lun, settings }) = body.map_err(not_understood)?;
    let place = Place::Lun(named(name_of(name)?), lun);
    edit(&reach, place, Act::Add(said(settings)), terms).await
}

/// Has a logical unit at a LUN with these settings and no others
#[utoipa::path(put, path = "/v1/targets/{name}/luns/{lun}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("lun" = u16, Path, description = "The LUN")
    ),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn lun_put(State(reach): Reached, path: Named<(String, u16)>, terms: Terms, body: Sent<Settings>) -> Answer {
    put(&reach, lun_of(path)?, body, terms).await
}

/// Gives a logical unit other settings, and writes them to the configuration file. Those that are not named stay
#[utoipa::path(patch, path = "/v1/targets/{name}/luns/{lun}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("lun" = u16, Path, description = "The LUN")
    ),
    request_body = Settings,
    responses(
        (status = OK, body = Applied, description = "They are served as far as that can be while it is in use, and in the file"),
        NotChanged
    ))]
async fn lun_set(State(reach): Reached, path: Named<(String, u16)>, terms: Terms, body: Sent<Settings>) -> Answer {
    edit(&reach, lun_of(path)?, Act::Set(settings(body)?), terms).await
}

/// Takes a logical unit out of its target, and out of the configuration file. What it has stays where it is
#[utoipa::path(delete, path = "/v1/targets/{name}/luns/{lun}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("lun" = u16, Path, description = "The LUN")
    ),
    responses((status = OK, body = Applied, description = "It is served no more, and not in the file"), NotChanged))]
async fn lun_remove(State(reach): Reached, path: Named<(String, u16)>, terms: Terms) -> Answer {
    edit(&reach, lun_of(path)?, Act::Remove, terms).await
}

/// Has an initiator group with these settings and no others; a new one is behind the others
#[utoipa::path(put, path = "/v1/targets/{name}/groups/{group}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("group" = String, Path, description = "Its name")
    ),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn group_put(State(reach): Reached, path: Named<(String, String)>, terms: Terms, body: Sent<Settings>) -> Answer {
    put(&reach, group_of(path)?, body, terms).await
}

/// Gives an initiator group other settings; those that are not named stay
#[utoipa::path(patch, path = "/v1/targets/{name}/groups/{group}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("group" = String, Path, description = "Its name, or its place from 1 on if it has none")
    ),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "They are served, and in the file"), NotChanged))]
async fn group_set(State(reach): Reached, path: Named<(String, String)>, terms: Terms, body: Sent<Settings>) -> Answer {
    edit(&reach, group_of(path)?, Act::Set(settings(body)?), terms).await
}

/// Takes an initiator group away: those that are in no other get what the target has for others
#[utoipa::path(delete, path = "/v1/targets/{name}/groups/{group}", tag = "targets",
    params(
        How,
        When,
        ("name" = String, Path, description = "The iSCSI name of the target, what no other name has behind its last colon, or `-` for the only one"),
        ("group" = String, Path, description = "Its name, or its place from 1 on if it has none")
    ),
    responses((status = OK, body = Applied, description = "It is there no more, and not in the file"), NotChanged))]
async fn group_remove(State(reach): Reached, path: Named<(String, String)>, terms: Terms) -> Answer {
    edit(&reach, group_of(path)?, Act::Remove, terms).await
}

/// Has a portal with these settings and no others
#[utoipa::path(put, path = "/v1/portals/{listen}", tag = "portals",
    params(How, When, ("listen" = String, Path, description = "Its address and port")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "It is in the file, and served as far as that goes without a restart"), NotChanged))]
async fn portal_put(State(reach): Reached, listen: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    put(&reach, Place::Portal(name_of(listen)?), body, terms).await
}

/// Gives a portal other settings; those that are not named stay
#[utoipa::path(patch, path = "/v1/portals/{listen}", tag = "portals",
    params(How, When, ("listen" = String, Path, description = "Its address and port")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "They are in the file, and served as far as that goes without a restart"), NotChanged))]
async fn portal_set(State(reach): Reached, listen: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    edit(&reach, Place::Portal(name_of(listen)?), Act::Set(settings(body)?), terms).await
}

/// Takes a portal away
#[utoipa::path(delete, path = "/v1/portals/{listen}", tag = "portals",
    params(How, When, ("listen" = String, Path, description = "Its address and port")),
    responses((status = OK, body = Applied, description = "It is not in the file, and served no more as far as that goes without a restart"), NotChanged))]
async fn portal_remove(State(reach): Reached, listen: Named<String>, terms: Terms) -> Answer {
    edit(&reach, Place::Portal(name_of(listen)?), Act::Remove, terms).await
}

/// The accounts of the configuration file, without their secrets
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", responses((status = OK, body = [Account]), NotChanged))]
async fn accounts_list(State(reach): Reached) -> Answer {
    let (text, tag) = shown(&reach).await?;
    let broken = |error: toml::de::Error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error.message().to_owned());
    let file: toml::Table = toml::from_str(&text).map_err(broken)?;
    let accounts = file.get("account").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    let account = |table: &toml::Value| {
        let text = |key: &str| table.get(key)?.as_str().map(ToOwned::to_owned);
        let secret_in = ["secret-file", "secret-env"].into_iter().find(|key| table.get(key).is_some());
        let from = secret_in.and_then(text);
        Some(Account { user: text("user")?, secret_in: secret_in.unwrap_or("secret").to_owned(), from })
    };
    let accounts: Vec<Account> = accounts.iter().filter_map(account).collect();
    Ok(([(header::ETAG, quoted(&tag))], Json(accounts)).into_response())
}

/// Has an account with these settings and no others
#[utoipa::path(put, path = "/v1/accounts/{user}", tag = "accounts",
    params(How, When, ("user" = String, Path, description = "The user name")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "It is served, and in the file"), NotChanged))]
async fn account_put(State(reach): Reached, user: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    put(&reach, Place::Account(name_of(user)?), body, terms).await
}

/// Gives an account other settings; those that are not named stay
#[utoipa::path(patch, path = "/v1/accounts/{user}", tag = "accounts",
    params(How, When, ("user" = String, Path, description = "The user name")),
    request_body = Settings,
    responses((status = OK, body = Applied, description = "They are served, and in the file"), NotChanged))]
async fn account_set(State(reach): Reached, user: Named<String>, terms: Terms, body: Sent<Settings>) -> Answer {
    edit(&reach, Place::Account(name_of(user)?), Act::Set(settings(body)?), terms).await
}

/// Takes an account away that nothing names any more
#[utoipa::path(delete, path = "/v1/accounts/{user}", tag = "accounts",
    params(How, When, ("user" = String, Path, description = "The user name")),
    responses((status = OK, body = Applied, description = "It is not in the file"), NotChanged))]
async fn account_remove(State(reach): Reached, user: Named<String>, terms: Terms) -> Answer {
    edit(&reach, Place::Account(name_of(user)?), Act::Remove, terms).await
}
