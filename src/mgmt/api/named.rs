//! Which target a name in a path means.

use super::super::problem::Refused;
use super::super::view::Target;
use crate::config::near::nearest_target;
use axum::http::StatusCode;

/// In the place of a target's name: the only one that there is.
pub(super) const ONLY: &str = "-";

/// The target that is called so, that alone has this behind its last colon, or that is the only one.
pub(super) fn target(targets: Vec<Target>, name: &str) -> Result<Target, Refused> {
    let is_only = targets.len() == 1 && name == ONLY;
    if let Some(at) = targets.iter().position(|target| target.name.eq_ignore_ascii_case(name) || is_only) {
        return targets.into_iter().nth(at).ok_or_else(|| missing(name, &[]));
    }
    let ends_so =
        |target: &&Target| target.name.rsplit_once(':').is_some_and(|(_, end)| end.eq_ignore_ascii_case(name));
    let mut ending = targets.iter().filter(ends_so);
    match (ending.next(), ending.next()) {
        (Some(one), None) => Ok(one.clone()),
        _ => Err(missing(name, &targets)),
    }
}

fn missing(name: &str, targets: &[Target]) -> Refused {
    let near = nearest_target(targets.iter().map(|target| target.name.as_str()), name);
    let hint = near.map_or_else(String::new, |near| format!(": did you mean '{near}'?"));
    Refused::new(StatusCode::NOT_FOUND, format!("there is no target of that name{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    fn targets(names: &[&str]) -> Vec<Target> {
        let one = |name: &&str| Target {
            name: (*name).to_owned(),
            alias: None,
            portal_groups: Vec::new(),
            groups_only: false,
            users: Vec::new(),
            luns: Vec::new(),
            degraded: Vec::new(),
            groups: Vec::new(),
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn a_target_is_found_by_its_name_by_its_end_or_as_the_only_one() {
        let all = ["iqn.2026-11.io.example:db", "iqn.2026-11.io.example:web", "iqn.2026-11.org.example:web"];
        let found = |name: &str| target(targets(&all), name).map(|target| target.name).ok();
        assert_eq!(found(all[1]).as_deref(), Some(all[1]));
        assert_eq!(found("DB").as_deref(), Some(all[0]));
        for name in ["web", "-", "b", "", "iqn.2026-11.io.example"] {
            assert_eq!(found(name), None, "{name}");
        }
        assert_eq!(target(targets(&all[..1]), "-").map(|of| of.name).ok().as_deref(), Some(all[0]));
        let refused = target(targets(&all), "dbb").unwrap_err();
        assert!(format!("{refused:?}").contains("did you mean 'db'?"), "{refused:?}");
        assert_eq!(refused.into_response().status(), StatusCode::NOT_FOUND);
    }
}
