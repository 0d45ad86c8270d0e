//! The addresses that are listened on, and how they change while cores accept connections there.
//!
//! Each core has a duplicate of each listener. One that comes is sent to all of them; of one that goes they are told, and then it
//! is shut down, which ends what cores wait for on any duplicate. Who has connected by then stays.

use super::error::ServeError;
use crate::fabric::mesh::{Mesh, Message};
use crate::limits::{DEFAULT_CONGESTION, RECEIVE_WINDOW_BYTES};
use crate::model::{Portal, Snapshot};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// An address that is listened on.
struct Listener {
    /// What the cores know it by: no other one ever has it.
    number: usize,
    at: SocketAddr,
    /// The system has chosen the port.
    is_chosen: bool,
    socket: TcpListener,
}

/// The addresses that are listened on.
#[derive(Default)]
pub struct Portals {
    listeners: Vec<Listener>,
    next: usize,
}

/// How they are to change.
#[derive(Default)]
pub struct PortalPlan {
    /// Those that are listened on from now on, and served when the plan is; each with what the cores are given.
    come: Vec<(Listener, Vec<OwnedFd>)>,
    /// Numbers of those that go.
    go: Vec<usize>,
    /// Addresses that cannot be listened on, and why; `true`: one that goes has its port.
    pub failed: Vec<(Portal, ServeError, bool)>,
}

impl PortalPlan {
    /// Whether there are addresses that are listened on from now on.
    pub fn comes(&self) -> bool {
        !self.come.is_empty()
    }
}

/// Listens on an address.
fn bind(address: SocketAddr, congestion: Option<&str>) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).map_err(|e| ServeError::Listen(address, e))?;
    // If the window cannot be bounded, that costs no more than speed.
    let _ = set_option(&listener, libc::TCP_WINDOW_CLAMP, &RECEIVE_WINDOW_BYTES.to_ne_bytes());
    match congestion {
        // A kernel that lacks this one, or keeps it from this user, is no fault: the system's own does, too.
        None => drop(set_congestion(&listener, DEFAULT_CONGESTION)),
        Some("system") => {}
        Some(name) => {
            set_congestion(&listener, name).map_err(|e| ServeError::Congestion(name.to_owned(), e))?;
        }
    }
    Ok(listener)
}

/// Sets the TCP congestion control of a listener; connections inherit it.
fn set_congestion(listener: &TcpListener, name: &str) -> io::Result<()> {
    set_option(listener, libc::TCP_CONGESTION, name.as_bytes())
}

/// Sets a TCP option of a listener, which connections inherit.
fn set_option(listener: &TcpListener, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the value is valid for the length that is passed, and only read.
    #[allow(unsafe_code)]
    let failed = unsafe {
        let (start, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
        libc::setsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, option, start, len)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The port that the system has chosen counts as the 0 that was asked for.
fn is_at(listener: &Listener, wanted: SocketAddr) -> bool {
    let same = listener.at == wanted;
    same || wanted.port() == 0 && listener.is_chosen && listener.at.ip() == wanted.ip()
}

impl Portals {
    /// Listens on all portals of a configuration, whose ports 0 become those that the system has chosen.
    ///
    /// # Errors
    /// One of them cannot be listened on.
    pub fn listen(snapshot: &mut Snapshot) -> Result<Portals, ServeError> {
        let mut portals = Portals::default();
        for portal in &mut snapshot.portals {
            let listener = portals.open(portal, snapshot.congestion.as_deref())?;
            portals.listeners.push(listener);
        }
        Ok(portals)
    }

    /// The addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.at).collect()
    }

    /// Duplicates of the listeners, for a core that begins, each with its number.
    ///
    /// # Errors
    /// The system gives no more descriptors.
    pub fn for_core(&self) -> Result<Vec<(usize, TcpListener)>, ServeError> {
        let one = |of: &Listener| Ok((of.number, of.socket.try_clone().map_err(ServeError::System)?));
        self.listeners.iter().map(one).collect()
    }

    fn open(&mut self, portal: &mut Portal, congestion: Option<&str>) -> Result<Listener, ServeError> {
        let socket = bind(portal.listen, congestion)?;
        let at = socket.local_addr().map_err(ServeError::System)?;
        let is_chosen = portal.listen.port() == 0;
        portal.listen.set_port(at.port());
        let number = self.next;
        self.next += 1;
        Ok(Listener { number, at: portal.listen, is_chosen, socket })
    }

    /// What has to be listened on for `snapshot` to be served by so many cores. What cannot be is taken out of it; ports 0 in it
    /// become those that were chosen.
    pub fn plan(&mut self, snapshot: &mut Snapshot, cores: usize) -> PortalPlan {
        let mut plan = PortalPlan::default();
        let mut stay = Vec::new();
        let wanted = std::mem::take(&mut snapshot.portals);
        let mut found: Vec<(Portal, bool)> = Vec::new();
        for mut portal in wanted {
            let is_own = |of: &&Listener| is_at(of, portal.listen) && !stay.contains(&of.number);
            let own = self.listeners.iter().find(is_own).map(|of| (of.number, of.at));
            if let Some((number, at)) = own {
                stay.push(number);
                portal.listen = at;
            }
            found.push((portal, own.is_some()));
        }
        plan.go = self.listeners.iter().map(|of| of.number).filter(|number| !stay.contains(number)).collect();
        for (mut portal, is_there) in found {
            if !is_there {
                match self.come(&mut portal, snapshot.congestion.as_deref(), cores) {
                    Ok(come) => plan.come.push(come),
                    Err(error) => {
                        let is_of_port =
                            |of: &Listener| plan.go.contains(&of.number) && of.at.port() == portal.listen.port();
                        let goes = self.listeners.iter().any(is_of_port);
                        plan.failed.push((portal, error, goes));
                        continue;
                    }
                }
            }
            snapshot.portals.push(portal);
        }
        plan
    }

    fn come(
        &mut self,
        portal: &mut Portal,
        congestion: Option<&str>,
        cores: usize,
    ) -> Result<(Listener, Vec<OwnedFd>), ServeError> {
        let listener = self.open(portal, congestion)?;
        let duplicate = |_| listener.socket.as_fd().try_clone_to_owned().map_err(ServeError::System);
        let duplicates = (0..cores).map(duplicate).collect::<Result<_, _>>()?;
        Ok((listener, duplicates))
    }

    /// Has the cores accept connections where they are to be accepted from now on. They have been told by then of the
    /// configuration that these are of.
    pub fn apply(&mut self, plan: PortalPlan, mesh: &Mesh) {
        for (listener, duplicates) in plan.come {
            for (core, socket) in duplicates.into_iter().enumerate() {
                mesh.post(core, Message::Listen { number: listener.number, socket: Some(socket) });
            }
            self.listeners.push(listener);
        }
        for gone in self.listeners.extract_if(.., |of| plan.go.contains(&of.number)) {
            for core in 0..mesh.cores() {
                mesh.post(core, Message::Listen { number: gone.number, socket: None });
            }
            // Those that wait to be accepted are told at once, and others refused.
            if let Err(error) = rustix::net::shutdown(&gone.socket, rustix::net::Shutdown::Both) {
                tracing::warn!("{}: is no portal any more, and may be listened on for a moment: {error}", gone.at);
            }
        }
    }
}
