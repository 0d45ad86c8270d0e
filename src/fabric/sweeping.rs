//! The end of a connection: it goes when nothing of it is in flight, or to another core with its login.

use super::Fabric;
use super::mesh::{Handover, Message};
use crate::missing::Required;
use crate::model::ConnNo;
use crate::transport::link::Moving;
use crate::transport::links::Connection;

impl Fabric {
    /// Takes a closing connection one step further: half-close when all is sent, then away when nothing is in flight.
    pub fn sweep(&mut self, conn: ConnNo) {
        // It may have been swept before.
        let Some((connection, pool)) = self.links.of_with_pool(conn) else { return };
        let Connection { link: Some(link), tx, .. } = connection else { return };
        if let Some(moving) = link.moving.take_if(|_| !link.receiving && tx.is_idle()) {
            let Some(link) = connection.link.take().required("the connection that was looked at") else { return };
            let Moving { core, login, session, replaces } = *moving;
            let (socket, peer, local, ticket) = (link.socket, link.peer, link.local, link.ticket);
            let change = self.served.latest();
            let handover = Handover { socket, peer, local, ticket, login, session, replaces, change };
            self.links.gone.push(conn);
            return self.neighbours.post(core, Message::Adopt(Box::new(handover)));
        }
        if !link.closing {
            return;
        }
        if !link.receiving && !tx.is_sending() && (link.shut_ms.is_some() || tx.is_idle()) {
            tx.abandon(pool);
            tx.set_digests(false, false);
            let takes_more = tx.takes_more();
            connection.link = None;
            if takes_more {
                self.links.roomy.push(conn);
            }
            self.links.gone.push(conn);
            return;
        }
        if tx.is_idle() && link.shut_ms.is_none() {
            link.shut_ms = Some(self.now_ms);
            link.socket.shut(libc::SHUT_WR);
        }
    }
}
