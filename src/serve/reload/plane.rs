//! What another configuration changes of the control plane: its tokens and its certificate, from the next request and connection
//! on (`mgmt/accepting.rs`). Where it is found takes a restart.

use crate::model::Control;

/// Has what is fixed stay as it was.
pub(super) fn follow(new: &mut Control, old: &Control, kept: &mut Vec<String>) {
    // That it makes one of its own is a matter of the start.
    let has_none = old.identity.is_some() && new.identity.is_none() && !old.listen.is_empty();
    let fixed = [
        ("control.listen", old.listen != new.listen),
        ("control.group", old.group != new.group),
        ("control.certificate", has_none),
    ];
    let differ: Vec<&str> = fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if !differ.is_empty() {
        kept.push(format!("another setting of {} takes a restart", differ.join(", ")));
    }
    new.listen.clone_from(&old.listen);
    new.group.clone_from(&old.group);
    if has_none {
        new.identity.clone_from(&old.identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use crate::model::control::{Identity, Scope, Token};
    use std::sync::Arc;

    #[test]
    fn tokens_and_certificate_change_and_addresses_stay() {
        let identity = |key: &str| Some(Arc::new(Identity { chain: vec![1], key: Secret::new(key.into()) }));
        let token = |name: &str| Token { name: name.into(), scope: Scope::Read, digest: [1; 32] };
        let old = Control {
            group: Some(("a".into(), 1)),
            listen: vec!["192.0.2.1:1".parse().unwrap()],
            identity: identity("x"),
            tokens: [token("a")].into(),
        };
        let follow = |mut new: Control| {
            let mut kept = Vec::new();
            super::follow(&mut new, &old, &mut kept);
            assert_eq!((&new.listen, &new.group), (&old.listen, &old.group));
            (new, kept.join("; "))
        };
        assert_eq!(follow(old.clone()), (old.clone(), String::new()));
        let (new, kept) = follow(Control { tokens: [token("b")].into(), identity: identity("y"), ..old.clone() });
        assert_eq!((&*new.tokens[0].name, new.identity), ("b", identity("y")));
        assert!(kept.is_empty());
        // The whole table is gone: nobody comes in any more.
        let (new, kept) = follow(Control::default());
        assert_eq!((new.tokens.len(), new.identity), (0, old.identity.clone()));
        assert_eq!(kept, "another setting of control.listen, control.group, control.certificate takes a restart");
    }
}
