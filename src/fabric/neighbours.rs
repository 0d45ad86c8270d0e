//! A core among the others: its number, and the mailboxes of all.

use super::mesh::{Mailbox, Mesh, Message};
use crate::unit::notice::Post;

/// A core, as the others know it, and how it tells them something.
pub struct Neighbours {
    /// Its number.
    own: usize,
    /// The mailboxes of all cores.
    mesh: Mesh,
}

impl Neighbours {
    /// Those of core `own`.
    pub fn new(own: usize, mesh: Mesh) -> Neighbours {
        Neighbours { own, mesh }
    }

    /// The core's own number.
    #[inline]
    pub fn own(&self) -> usize {
        self.own
    }

    /// How many cores there are, with this one.
    pub fn cores(&self) -> usize {
        self.mesh.cores()
    }

    /// The numbers of the others.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.own;
        (0..self.cores()).filter(move |&core| core != own)
    }

    /// The core's own mailbox.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mesh.of(self.own)
    }

    /// Posts a message to a core.
    pub fn post(&self, core: usize, message: Message) {
        self.mesh.post(core, message);
    }

    /// Takes notices to executors.
    pub fn executors(&self) -> Post {
        self.mesh.executors()
    }
}
