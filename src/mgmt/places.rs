//! Who is connected over TCP: so many in all, of one host, and of those that have not shown a token yet.
//!
//! Invariant: who has shown a token makes room for nobody. Others do, the oldest first, so that a newcomer that goes on at once
//! gets in beside many that say nothing.

use crate::limits::{CONTROL_REMOTE, CONTROL_REMOTE_PER_HOST, CONTROL_REMOTE_UNPROVED};
use crate::model::Host;
use crate::panics::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Places {
    next: u64,
    /// In the order that they came in.
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    id: u64,
    host: Host,
    is_proved: bool,
    /// When this is dropped, the connection ends.
    _end: oneshot::Sender<()>,
}

/// A place that a connection has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    places: Arc<Mutex<Places>>,
}

impl Places {
    /// A place for a connection from `host`, and what tells it to make room. `None`: there is none.
    pub(super) fn enter(places: &Arc<Mutex<Places>>, host: Host) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut all = places.lock();
        let of_host = all.taken.iter().filter(|taken| taken.host == host).count();
        let unproved = all.taken.iter().filter(|taken| !taken.is_proved).count();
        let leaves = match () {
            () if of_host >= CONTROL_REMOTE_PER_HOST => {
                Some(all.taken.iter().position(|taken| !taken.is_proved && taken.host == host)?)
            }
            () if all.taken.len() >= CONTROL_REMOTE || unproved >= CONTROL_REMOTE_UNPROVED => {
                Some(all.taken.iter().position(|taken| !taken.is_proved)?)
            }
            () => None,
        };
        if let Some(at) = leaves {
            all.taken.remove(at);
        }
        let id = all.next;
        all.next += 1;
        let (end, ended) = oneshot::channel();
        all.taken.push(Taken { id, host, is_proved: false, _end: end });
        drop(all);
        Some((Place { id, places: Arc::clone(places) }, ended))
    }
}

impl Place {
    /// It has shown a token.
    pub(super) fn prove(&self) {
        if let Some(taken) = self.places.lock().taken.iter_mut().find(|taken| taken.id == self.id) {
            taken.is_proved = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Who made room is not there any more.
        self.places.lock().taken.retain(|taken| taken.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    fn host(number: usize) -> Host {
        Host::of(at(&format!("192.0.2.{number}")))
    }

    #[test]
    fn who_says_nothing_makes_room_for_newcomers_of_its_own_host_first() {
        let places = Arc::new(Mutex::new(Places::default()));
        let enter = |number| Places::enter(&places, host(number)).unwrap();
        let (other, mut other_ends) = enter(2);
        let mut silent: Vec<_> = (0..CONTROL_REMOTE_PER_HOST).map(|_| enter(1)).collect();
        let _newcomer = enter(1);
        assert!(silent[0].1.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(silent[1].1.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        assert!(other_ends.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        assert_eq!(places.lock().taken.len(), CONTROL_REMOTE_PER_HOST + 1);
        drop(silent);
        drop(other);
        assert_eq!(places.lock().taken.len(), 1);
    }

    #[test]
    fn who_has_shown_a_token_stays() {
        let places = Arc::new(Mutex::new(Places::default()));
        let mut kept = Vec::new();
        for number in 0..CONTROL_REMOTE {
            let (place, ended) = Places::enter(&places, host(number / CONTROL_REMOTE_PER_HOST)).unwrap();
            place.prove();
            kept.push((place, ended));
        }
        assert!(Places::enter(&places, host(0)).is_none() && Places::enter(&places, host(200)).is_none());
        kept.pop();
        let (_newcomer, mut ends) = Places::enter(&places, host(200)).unwrap();
        let _another = Places::enter(&places, host(201)).unwrap();
        assert!(ends.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        for (_, ended) in &mut kept {
            assert!(ended.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        }
    }

    #[test]
    fn those_without_a_token_are_few_whatever_their_hosts_are() {
        let places = Arc::new(Mutex::new(Places::default()));
        let all: Vec<_> = (0..200).map(|number| Places::enter(&places, host(number)).unwrap()).collect();
        assert_eq!(places.lock().taken.len(), CONTROL_REMOTE_UNPROVED);
        drop(all);
        assert!(places.lock().taken.is_empty());
    }
}
