//! Bounds how much of what peers have sent a core acts on in one turn, for all connections together ([`Acting`]), and
//! says whose parked bytes come next ([`Sharing`]).

use crate::limits::{PING_COMMANDS, SLOW_TURN_US, TURN_PARTS_BESIDE, TURN_PDUS_OF_ALL, TURN_US};
use crate::model::{ConnNo, Host};
use crate::wire::{Bhs, Opcode, bhs};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many PDUs are acted on between two looks at the clock, if they are of kinds that are known to take little time.
const LOOK_AFTER: u32 = 32;

/// Memory is taken at the start for so many hosts that have something parked at once, and for so many connections of
/// each.
const SPARE_HOSTS: usize = 16;
/// See [`SPARE_HOSTS`].
const SPARE_CONNECTIONS: usize = 64;

/// How much may still be acted on, for all connections of a core together, before other work has its turn.
pub struct Acting {
    /// Commands and Data-Out PDUs that may still be acted on; any other PDU counts as [`PING_COMMANDS`] of them. Zero:
    /// the budget is spent.
    left: u32,
    /// PDUs that may be acted on until the clock is looked at.
    look: u32,
    /// When its time is over.
    until: Instant,
    /// When it is over if something was done that may have taken long.
    slow_until: Instant,
    /// Something was done that may have taken long: the next look at the clock says whether it has.
    pub took_time: bool,
}

impl Acting {
    /// The budget for what arrives in a turn. While other connections have something parked it is smaller: they do not
    /// wait long for their turns, and a connection that is always first gets no more than they do.
    pub fn of_turn(began: Instant, is_alone: bool) -> Acting {
        let parts = if is_alone { 1 } else { TURN_PARTS_BESIDE };
        let time = Duration::from_micros(TURN_US) / parts;
        let slow_until = began + time.min(Duration::from_micros(SLOW_TURN_US));
        Acting { left: TURN_PDUS_OF_ALL / parts, look: LOOK_AFTER, until: began + time, slow_until, took_time: false }
    }

    /// The budget for what is parked: the time `until`, and no number of PDUs.
    pub fn of_shares(until: Instant) -> Acting {
        Acting { left: u32::MAX, look: LOOK_AFTER, until, slow_until: until, took_time: false }
    }

    /// Counts a PDU that was acted on. True: a look at the clock is due.
    #[inline]
    #[must_use]
    pub fn spend(&mut self, header: &Bhs) -> bool {
        let opcode = bhs::opcode(header);
        let is_command = matches!(opcode, Opcode::SCSI_COMMAND | Opcode::SCSI_DATA_OUT);
        let spent = if is_command { 1 } else { PING_COMMANDS };
        (self.left, self.look) = (self.left.saturating_sub(spent), self.look.saturating_sub(1));
        self.took_time |= !is_command && opcode != Opcode::NOP_OUT;
        self.look == 0 || self.took_time
    }

    /// Somebody has looked at the clock.
    #[cold]
    pub fn looked(&mut self, now: Instant) {
        self.look = LOOK_AFTER;
        if std::mem::take(&mut self.took_time) {
            self.until = self.until.min(self.slow_until);
        }
        if now >= self.until {
            self.left = 0;
        }
    }

    /// Whether nothing more is to be acted on.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// Connections that have something parked. Their hosts take turns, and the connections of each: who has many has no more.
pub struct Sharing {
    /// The hosts in the order of their turns, with their connections. `None`: the host of connections that are gone
    /// already.
    hosts: VecDeque<(Option<Host>, VecDeque<ConnNo>)>,
    /// Memory for more of them: a turn that came late allocates nothing.
    spare: Vec<VecDeque<ConnNo>>,
    /// How many connections there are.
    connections: usize,
}

impl Default for Sharing {
    fn default() -> Sharing {
        let spare = (0..SPARE_HOSTS).map(|_| VecDeque::with_capacity(SPARE_CONNECTIONS)).collect();
        Sharing { hosts: VecDeque::with_capacity(SPARE_HOSTS), spare, connections: 0 }
    }
}

impl Sharing {
    /// A connection has something parked.
    pub fn add(&mut self, host: Option<Host>, conn: ConnNo) {
        self.connections += 1;
        match self.hosts.iter_mut().find(|(of, _)| *of == host) {
            Some((_, conns)) => conns.push_back(conn),
            None => {
                let mut conns = self.spare.pop().unwrap_or_default();
                conns.push_back(conn);
                self.hosts.push_back((host, conns));
            }
        }
    }

    /// Takes out the connection whose turn it is.
    pub fn next(&mut self) -> Option<ConnNo> {
        let (host, mut conns) = self.hosts.pop_front()?;
        let conn = conns.pop_front()?;
        self.connections -= 1;
        if !conns.is_empty() {
            self.hosts.push_back((host, conns));
        } else if self.spare.len() < SPARE_HOSTS {
            self.spare.push(conns);
        }
        Some(conn)
    }

    /// How many connections have something parked.
    pub fn len(&self) -> usize {
        self.connections
    }

    /// Whether no connection has.
    pub fn is_empty(&self) -> bool {
        self.connections == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    fn header(opcode: u8) -> Bhs {
        let mut header = [0; crate::wire::BHS_LEN];
        header[0] = opcode;
        header
    }

    /// After so many of them it is over.
    fn over_after(mut acting: Acting, opcode: u8, took_time: bool) -> usize {
        let mut count = 0;
        while !acting.is_over() {
            acting.took_time |= took_time;
            if acting.spend(&header(opcode)) {
                acting.looked(Instant::now());
            }
            count += 1;
        }
        count
    }

    #[test]
    fn a_turn_is_over_when_its_time_is_or_its_pdus_are() {
        const PING: u8 = 0x00;
        const COMMAND: u8 = 0x01;
        const TEXT: u8 = 0x04;
        const DATA_OUT: u8 = 0x05;
        let now = Instant::now();
        let (long, past) = (now + Duration::from_hours(1), now.checked_sub(Duration::from_secs(1)).unwrap());
        let (all, beside) = (TURN_PDUS_OF_ALL as usize, (TURN_PDUS_OF_ALL / TURN_PARTS_BESIDE) as usize);
        for (opcode, commands) in
            [(COMMAND, 1), (DATA_OUT, 1), (PING, PING_COMMANDS as usize), (TEXT, PING_COMMANDS as usize)]
        {
            assert_eq!(over_after(Acting::of_turn(long, true), opcode, false), all / commands);
            assert_eq!(over_after(Acting::of_turn(long, false), opcode, true), beside / commands);
        }
        let of_time: [fn(Instant) -> Acting; 2] = [|began| Acting::of_turn(began, true), Acting::of_shares];
        for of in of_time {
            assert_eq!(over_after(of(past), COMMAND, false), LOOK_AFTER as usize);
            assert_eq!(over_after(of(past), COMMAND, true), 1, "one that nobody knows");
            assert_eq!(over_after(of(past), TEXT, false), 1);
        }
    }

    #[test]
    fn a_turn_in_which_something_may_have_taken_long_is_over_sooner() {
        let began = Instant::now();
        let late = began + Duration::from_micros(SLOW_TURN_US);
        for (took_time, early, is_over) in [(true, 0, true), (true, 1, false), (false, 0, false)] {
            let mut acting = Acting::of_turn(began, true);
            acting.took_time = took_time;
            acting.looked(late - Duration::from_micros(early));
            assert_eq!(acting.is_over(), is_over, "{took_time} {early}");
        }
        let mut acting = Acting::of_turn(began, true);
        assert!(acting.spend(&header(0x04)), "nobody knows how long a Text Request takes");
        acting.looked(late);
        assert!(acting.is_over());
    }

    #[test]
    fn hosts_take_turns_however_many_connections_they_have() {
        let [many, one, two] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|ip| Some(Host::of(at(ip))));
        let mut sharing = Sharing::default();
        (0..60).for_each(|conn| sharing.add(many, ConnNo::new(conn)));
        sharing.add(one, ConnNo::new(100));
        [200, 201].into_iter().for_each(|conn| sharing.add(two, ConnNo::new(conn)));
        assert_eq!([(); 6].map(|()| sharing.next()), [0, 100, 200, 1, 201, 2].map(|conn| Some(ConnNo::new(conn))));
        // Who comes again is behind the other hosts, and behind the other connections of its own.
        sharing.add(many, ConnNo::new(0));
        sharing.add(one, ConnNo::new(100));
        assert_eq!([(); 3].map(|()| sharing.next()), [3, 100, 4].map(|conn| Some(ConnNo::new(conn))));
        let left: Vec<_> = std::iter::from_fn(|| sharing.next()).collect();
        assert_eq!((left.len(), left.last(), sharing.len(), sharing.is_empty()), (56, Some(&ConnNo::new(0)), 0, true));
        let room: Vec<usize> = sharing.spare.iter().map(VecDeque::capacity).collect();
        assert!(room.len() == SPARE_HOSTS && room.iter().all(|room| *room >= SPARE_CONNECTIONS), "{room:?}");
    }
}
