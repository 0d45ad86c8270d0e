//! The mailboxes of all cores ([`super::mailbox`]), and what can be in one: rare facts.
//!
//! Nothing here is on the way of a command. A session that moves, a reset that aborts tasks elsewhere and the end of
//! the server are messages; the sender that needs an answer gets a message back. What an executor is told by another
//! one, or by a thread beside the cores ([`Notice`]), comes as a message, too.

use super::look::Look;
use super::relocated::Relocated;
use super::report::{Dismissal, Inquiry};
use crate::model::ItNexus;
use crate::session::login::LoginDone;
use crate::transport::io::Socket;
use crate::unit::notice::{Notice, Post};
use crate::waits::left::Scope;
use crate::wire::Tsih;
use crate::world::Change;
use crate::world::doors::Ticket;
use crate::world::registry::Membership;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A connection whose login is complete, on its way to the core of its session.
pub struct Handover {
    /// The socket.
    pub socket: Socket,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its place among the connections.
    pub ticket: Ticket,
    /// What was negotiated, with the final login response still to be sent.
    pub login: Box<LoginDone>,
    /// The session.
    pub session: Membership,
    /// The session that this one replaces (RFC 7143 section 6.3.5), on the core that the message goes to.
    pub replaces: Option<Tsih>,
    /// The configuration that it was let in by.
    pub change: Arc<Change>,
}

/// What cores tell each other.
pub enum Message {
    /// A connection moves in.
    Adopt(Box<Handover>),
    /// A session moves in, with all its connections.
    Relocate(Box<Relocated>),
    /// A test wants a session to move, if it can.
    #[cfg(test)]
    Demand {
        /// The session.
        tsih: Tsih,
        /// The core it is to go to.
        to: usize,
    },
    /// A test wants a panic.
    #[cfg(test)]
    Panic,
    /// Abort tasks, answer with `Aborted`.
    Abort {
        /// Whose tasks are meant.
        scope: Scope,
        /// Also end the sessions (TARGET COLD RESET).
        end_sessions: bool,
        /// Core to answer.
        from: usize,
        /// Handed back with the answer.
        ticket: u32,
        /// Only the tasks of these I_T nexuses; none given: of all.
        nexuses: Vec<ItNexus>,
    },
    /// The answer to `Abort`: no aborted task is left on the sending core.
    Aborted {
        /// The ticket of the `Abort`.
        ticket: u32,
    },
    /// The configuration has changed.
    Change(Arc<Change>),
    /// Another listener, or one that is none any more.
    Listen {
        /// What it is known by.
        number: usize,
        /// The core's own duplicate of it; `None`: nobody is accepted there any more.
        socket: Option<OwnedFd>,
    },
    /// Tell of yourself and your sessions.
    Report(Inquiry),
    /// Drop a session.
    Drop(Dismissal),
    /// Tell what was noted of PDUs, and go on noting.
    Look(Box<Look>),
    /// Nobody looks on under this number any more.
    EndLook(u64),
    /// To the core's executor.
    Executor(Notice),
    /// Take leave of the initiators, flush, and return.
    Shutdown,
}

/// Aborts that reach a core together: of those that directly follow one another and mean the same tasks, the first one does
/// it all, since nothing begins in between.
#[derive(Default)]
pub struct Repeats(Option<Scope>);

impl Repeats {
    /// Whether `message`, the next one in order, only repeats the abort before it.
    pub fn repeats(&mut self, message: &Message) -> bool {
        let scope = match message {
            Message::Abort { scope, nexuses, .. } if nexuses.is_empty() => Some(*scope),
            _ => None,
        };
        let before = std::mem::replace(&mut self.0, scope);
        scope.is_some() && before == scope
    }
}

impl Message {
    /// Its name, for the record of the core that it is sent to.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Adopt(_) => "Adopt",
            Message::Relocate(_) => "Relocate",
            #[cfg(test)]
            Message::Demand { .. } => "Demand",
            #[cfg(test)]
            Message::Panic => "Panic",
            Message::Abort { .. } => "Abort",
            Message::Aborted { .. } => "Aborted",
            Message::Change(_) => "Change",
            Message::Listen { .. } => "Listen",
            Message::Report(_) => "Report",
            Message::Drop(_) => "Drop",
            Message::Look(_) => "Look",
            Message::EndLook(_) => "EndLook",
            Message::Executor(notice) => notice.name(),
            Message::Shutdown => "Shutdown",
        }
    }
}

/// The mailbox of one core.
pub type Mailbox = super::mailbox::Mailbox<Message>;

/// The mailboxes of all cores.
#[derive(Clone)]
pub struct Mesh(Arc<[Mailbox]>);

impl Mesh {
    /// For so many cores.
    ///
    /// # Errors
    /// The system has no bell to give.
    pub fn new(cores: usize) -> io::Result<Mesh> {
        Ok(Mesh((0..cores).map(|_| Mailbox::new()).collect::<Result<_, _>>()?))
    }

    /// How many cores there are.
    pub fn cores(&self) -> usize {
        self.0.len()
    }

    /// The mailbox of a core.
    pub fn of(&self, core: usize) -> Option<&Mailbox> {
        self.0.get(core)
    }

    /// Posts a message to a core.
    pub fn post(&self, core: usize, message: Message) {
        if let Some(mailbox) = self.of(core) {
            mailbox.post(message);
        }
    }

    /// Takes notices to executors.
    pub fn executors(&self) -> Post {
        let mesh = self.clone();
        Arc::new(move |core, notice| mesh.post(core, Message::Executor(notice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InitiatorPort, IscsiName, UnitIx};
    use crate::wire::Isid;

    #[test]
    fn only_what_directly_follows_the_same_abort_repeats_it() {
        let initiator = InitiatorPort {
            name: IscsiName::new("iqn.2026-01.example:a").unwrap(),
            isid: Isid::default(),
            proof: None,
        };
        let nexus = ItNexus { initiator, target_port: 1 };
        let abort = |unit: usize, nexuses| Message::Abort {
            scope: Scope::Unit(UnitIx::new(unit)),
            end_sessions: false,
            from: 0,
            ticket: 0,
            nexuses,
        };
        let of_all = |unit| abort(unit, vec![]);
        let of_one = || abort(1, vec![nexus.clone()]);
        let messages = [
            (of_all(1), false),
            (of_all(1), true),
            (of_all(1), true),
            (of_all(2), false),
            (of_all(1), false),
            (Message::Executor(Notice::SaveTurn { ticket: 0 }), false),
            (of_all(1), false),
            (of_one(), false),
            (of_one(), false),
            (of_all(1), false),
            (of_all(1), true),
        ];
        let mut repeats = Repeats::default();
        for (at, (message, expected)) in messages.iter().enumerate() {
            assert_eq!(repeats.repeats(message), *expected, "message {at}");
        }
    }
}
