//! Which sessions exist and on which core: TSIHs, placement, reinstatement. One for the process, behind a mutex that is
//! taken at login and logout only.

use crate::model::InitiatorPort;
use crate::wire::Tsih;
use std::collections::HashMap;
use std::sync::Mutex;

/// What identifies a session to a new login (RFC 7143 section 6.3.5): initiator name, ISID, target, portal group. A
/// discovery session has no target and is not registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionName {
    /// Initiator name and ISID.
    pub initiator: InitiatorPort,
    /// Index of the target.
    pub target: usize,
    /// Target portal group tag.
    pub portal_group: u16,
}

/// Where a login goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The core of the session.
    pub core: usize,
    /// Its handle.
    pub tsih: Tsih,
    /// The session to be ended first.
    pub replaces: Option<Tsih>,
}

/// Why a login has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// TSIH given, but no such session (status 020a).
    NoSuchSession,
    /// All 65535 handles are taken (status 0302).
    OutOfHandles,
}

#[derive(Default)]
struct Inner {
    by_tsih: HashMap<Tsih, (SessionName, usize)>,
    by_name: HashMap<SessionName, Tsih>,
    load: Vec<usize>,
    last: u16,
}

/// The registry of sessions.
pub struct Registry(Mutex<Inner>);

impl Registry {
    /// For `cores` cores.
    pub fn new(cores: usize) -> Registry {
        Registry(Mutex::new(Inner { load: vec![0; cores], ..Inner::default() }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Finds the place of a login that asked for `tsih`; `here` is the core that ran it, taken when it is among the least
    /// loaded. A new session is registered at once, so that two logins at the same time see each other.
    pub fn place(&self, name: &SessionName, tsih: Tsih, here: usize) -> Result<Place, NoPlace> {
        let mut inner = self.lock();
        if tsih != Tsih(0) {
            return match inner.by_tsih.get(&tsih) {
                Some((known, core)) if known == name => Ok(Place { core: *core, tsih, replaces: None }),
                _ => Err(NoPlace::NoSuchSession),
            };
        }
        let replaces = inner.by_name.get(name).copied();
        let core = match replaces.and_then(|old| inner.by_tsih.get(&old)) {
            // The old session is ended where it lives, before the new one begins there.
            Some((_, core)) => *core,
            None => inner.least_loaded(here),
        };
        let tsih = inner.next_handle()?;
        inner.by_tsih.insert(tsih, (name.clone(), core));
        inner.by_name.insert(name.clone(), tsih);
        inner.load[core] += 1;
        Ok(Place { core, tsih, replaces })
    }

    /// The session is gone.
    pub fn remove(&self, tsih: Tsih) {
        let mut inner = self.lock();
        if let Some((name, core)) = inner.by_tsih.remove(&tsih) {
            inner.load[core] -= 1;
            if inner.by_name.get(&name) == Some(&tsih) {
                inner.by_name.remove(&name);
            }
        }
    }

    /// Sessions on each core.
    #[cfg(test)]
    pub fn load(&self) -> Vec<usize> {
        self.lock().load.clone()
    }
}

impl Inner {
    fn least_loaded(&self, here: usize) -> usize {
        let least = self.load.iter().copied().min().unwrap_or(0);
        if self.load.get(here) == Some(&least) {
            return here;
        }
        self.load.iter().position(|&l| l == least).unwrap_or(here)
    }

    fn next_handle(&mut self) -> Result<Tsih, NoPlace> {
        for _ in 0..u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.by_tsih.contains_key(&Tsih(self.last)) {
                return Ok(Tsih(self.last));
            }
        }
        Err(NoPlace::OutOfHandles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IscsiName;
    use crate::wire::Isid;

    fn name(isid: u8) -> SessionName {
        let initiator =
            InitiatorPort { name: IscsiName::new("iqn.2026-11.test:i").unwrap(), isid: Isid([0, 0, 0, 0, 0, isid]) };
        SessionName { initiator, target: 0, portal_group: 1 }
    }

    #[test]
    fn sessions_spread_and_come_home() {
        let registry = Registry::new(2);
        let places: Vec<Place> = (0..4).map(|i| registry.place(&name(i), Tsih(0), 0).unwrap()).collect();
        assert_eq!(registry.load(), [2, 2]);
        assert_eq!(places[0].core, 0, "the accepting core, when it is among the least loaded");
        for p in places {
            registry.remove(p.tsih);
        }
        assert_eq!(registry.load(), [0, 0]);
    }

    //= RFC 7143 section 6.3.5
    //# Session reinstatement is the process of an initiator logging in with
    //# an ISID that is possibly active from the target's perspective for
    //# that initiator, thus implicitly logging out the session that
    //# corresponds to the ISID and reinstating a new iSCSI session in its
    //# place (with the same ISID).
    #[test]
    fn reinstatement_goes_to_the_core_of_the_old_session() {
        let registry = Registry::new(2);
        let _ = registry.place(&name(9), Tsih(0), 0).unwrap();
        let old = registry.place(&name(1), Tsih(0), 0).unwrap();
        let new = registry.place(&name(1), Tsih(0), 0).unwrap();
        assert_eq!((new.core, new.replaces), (old.core, Some(old.tsih)));
        assert_ne!(new.tsih, old.tsih);
        registry.remove(old.tsih);
        let third = registry.place(&name(1), Tsih(0), 0).unwrap();
        assert_eq!(third.replaces, Some(new.tsih));
    }

    #[test]
    fn a_connection_joins_only_its_own_session() {
        let registry = Registry::new(1);
        let place = registry.place(&name(1), Tsih(0), 0).unwrap();
        assert_eq!(registry.place(&name(1), place.tsih, 0), Ok(Place { replaces: None, ..place }));
        assert_eq!(registry.place(&name(2), place.tsih, 0), Err(NoPlace::NoSuchSession));
        assert_eq!(registry.place(&name(1), Tsih(777), 0), Err(NoPlace::NoSuchSession));
    }
}
