//! Text Requests of a session: what `session::text` needs to answer them.

use crate::session::params::Params;
use crate::session::seam::ConnIx;
use crate::session::text::{Asker, Conversations};
use crate::session::{SessionInit, TextHandler, TextStep};
use crate::shares::Store;
use crate::wire::TextRequest;
use crate::world::World;
use std::net::SocketAddr;
use std::sync::Arc;

/// The negotiations of one session, and where it came in.
pub struct SeatText {
    /// What is under way.
    conversations: Conversations,
    /// What the session finds.
    world: Arc<World>,
    /// The address that it came in by.
    portal: SocketAddr,
    /// The address that it came from.
    peer: SocketAddr,
}

impl SeatText {
    /// For a session whose leading connection is between these addresses.
    pub fn new(world: Arc<World>, portal: SocketAddr, peer: SocketAddr) -> SeatText {
        SeatText { conversations: Conversations::default(), world, portal, peer }
    }

    /// Goes by another configuration from now on.
    pub fn change(&mut self, world: Arc<World>) {
        self.world = world;
    }

    /// Counts what is under way in `store`, with that of others.
    pub fn keep_in(&mut self, store: &Store) {
        self.conversations.keep_in(store);
    }

    /// Where the leading connection came from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A connection has ended: its negotiation is over.
    pub fn forget(&mut self, conn: ConnIx) {
        self.conversations.forget(conn);
    }
}

impl TextHandler for SeatText {
    fn text(
        &mut self,
        session: &SessionInit,
        params: &mut Params,
        conn: ConnIx,
        request: &TextRequest,
        data: &[u8],
        answer: &mut Vec<u8>,
    ) -> TextStep {
        let asker = Asker {
            kind: session.kind,
            initiator: &session.initiator.name,
            target: session.target_name.as_ref(),
            portal: self.portal,
            peer: self.peer,
        };
        let directory = &self.world.directory;
        match self.conversations.request(directory, &asker, params, conn, request, data, answer) {
            Ok(reply) => TextStep::Answer { is_final: reply.is_final, cont: reply.cont, ttt: reply.ttt },
            Err(reason) => TextStep::Reject(reason),
        }
    }
}
