//! Connections whose receive is to be armed (again), in order.
//!
//! All connections of a core share its receive buffers (`ring/receive.rs`), and a receive that has much to give takes all
//! there are before the next one is looked at. Who found none therefore comes before those that got some: otherwise the
//! same few take everything turn after turn, and a ping of somebody else waits for as long as they keep writing.

use crate::model::ConnNo;
use std::collections::VecDeque;

/// The connections of one core whose receive is to be armed: the hungry ones, and the others.
#[derive(Default)]
pub struct Arming {
    /// Those that found no receive buffer, in order.
    hungry: VecDeque<ConnNo>,
    /// The others.
    others: Vec<ConnNo>,
}

impl Arming {
    /// A connection that is new here, or has got its share.
    #[inline]
    pub fn push(&mut self, conn: ConnNo) {
        self.others.push(conn);
    }

    /// A connection that found no buffer for what had come.
    pub fn push_hungry(&mut self, conn: ConnNo) {
        self.hungry.push_back(conn);
    }

    /// The next one: the hungry by the time that they have waited, then the others.
    #[inline]
    pub fn pop(&mut self) -> Option<ConnNo> {
        self.hungry.pop_front().or_else(|| self.others.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::{Arming, ConnNo};

    #[test]
    fn nobody_is_passed_over_by_those_who_take_everything() {
        const CONNECTIONS: usize = 5;
        let mut arming = Arming::default();
        (0..CONNECTIONS).for_each(|conn| arming.push(ConnNo::new(conn)));
        let mut waited = [0; CONNECTIONS];
        for _ in 0..100 {
            // The first takes all buffers of the turn, then finds no more, as the others do.
            let order: Vec<ConnNo> = std::iter::from_fn(|| arming.pop()).collect();
            assert_eq!(order.len(), CONNECTIONS);
            for (place, conn) in order.into_iter().enumerate() {
                if place == 0 {
                    waited[conn.at()] = 0;
                    arming.push(conn);
                } else {
                    waited[conn.at()] += 1;
                    arming.push_hungry(conn);
                }
                assert!(waited[conn.at()] < CONNECTIONS, "{conn:?} waits for {} turns", waited[conn.at()]);
            }
        }
    }
}
