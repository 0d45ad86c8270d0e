//! What the sessions of each host keep on this core: [`Store`], by host.

use super::store::Store;
use crate::model::Host;
use std::collections::HashMap;

/// The stores of one core: one for each host, and a bound on all of them together.
pub struct Stores {
    /// All hosts together.
    all: Store,
    /// The stores of hosts, by host.
    hosts: HashMap<Host, Store>,
}

impl Stores {
    /// Stores in which all hosts together have at most `most` bytes.
    pub fn new(most: usize) -> Stores {
        Stores { all: Store::new(most), hosts: HashMap::new() }
    }

    /// The store of a host.
    pub fn of(&mut self, host: Host) -> Store {
        if self.hosts.len() >= 2 * self.hosts.values().filter(|store| !store.is_unshared()).count() + 16 {
            self.hosts.retain(|_, store| !store.is_unshared());
        }
        self.hosts.entry(host).or_insert_with(|| self.all.of_another_host()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    #[test]
    fn what_is_kept_is_counted_by_host() {
        let mut stores = Stores::new(4096);
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| stores.of(Host::of(at(a))));
        let _held = one.hold(1024);
        assert_eq!([&one, &same, &other].map(Store::is_crowded), [true, true, false]);
        assert_eq!(other.used(), 1024);
    }

    #[test]
    fn hosts_that_are_gone_are_forgotten() {
        let mut stores = Stores::new(4096);
        let held = stores.of(Host::of(at("192.0.2.1"))).hold(1024);
        for n in 0..1000 {
            stores.of(Host::of(at(&format!("198.51.{}.{}", n / 250, n % 250))));
        }
        assert!(stores.hosts.len() <= 32, "{}", stores.hosts.len());
        assert!(stores.of(Host::of(at("192.0.2.1"))).is_crowded(), "what it keeps counts still");
        drop(held);
        assert!(!stores.of(Host::of(at("192.0.2.1"))).is_crowded());
    }
}
