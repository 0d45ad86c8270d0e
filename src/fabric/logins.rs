//! Logins of a core: what it wants in their negotiations, and those that wait for the end of the session that they replace.

use crate::model::ConnNo;
use crate::session::login::negotiate::Offer;
use crate::transport::link::Adoption;
use crate::wire::Tsih;
use crate::world::registry::Registry;

/// The logins of one core.
#[derive(Default)]
pub struct Logins {
    /// What the core wants in negotiations; how strict it is, the directory says.
    pub offer: Offer,
    /// Those that wait for the end of the session that they replace.
    waiting: Vec<Adoption>,
}

impl Logins {
    /// Whether none waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Has a login wait.
    pub fn wait(&mut self, login: Adoption) {
        self.waiting.push(login);
    }

    /// The connection of a login is gone.
    pub fn forget(&mut self, conn: ConnNo) {
        self.take(|waits| waits.conn == conn);
    }

    /// A login that waits for one of these sessions, or is to become one: it waits no longer.
    pub fn take_one_of(&mut self, sessions: &[Tsih]) -> Option<Adoption> {
        self.take(|waits| sessions.contains(&waits.session.tsih()))
    }

    /// The next login from place `at` on that waits no longer: whether the old session is gone, else it has waited for too
    /// long. `at` is where the next look begins.
    pub fn take_ready(&mut self, at: &mut usize, registry: &Registry, now_ms: u64) -> Option<(Adoption, bool)> {
        while let Some(waits) = self.waiting.get(*at) {
            let is_gone = registry.is_first(waits.session.tsih());
            if is_gone || now_ms >= waits.deadline_ms {
                return Some((self.waiting.swap_remove(*at), is_gone));
            }
            *at += 1;
        }
        None
    }

    fn take(&mut self, is_it: impl Fn(&Adoption) -> bool) -> Option<Adoption> {
        let at = self.waiting.iter().position(is_it)?;
        Some(self.waiting.swap_remove(at))
    }
}
