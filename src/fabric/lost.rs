//! Sessions that wait for a new connection (ErrorRecoveryLevel 2), and how many there may be. How they came to: `shard/leave.rs`.

use super::seat::Seat;
use crate::limits::{LOST_SESSIONS, LOST_SESSIONS_PER_ADDRESS, LOST_SESSIONS_PER_HOST, LOST_SESSIONS_PER_INITIATOR};
use crate::model::{Address, IscsiName, SeatIx};

/// Seats of sessions that wait for a new connection, unless they have meanwhile got one or ended.
#[derive(Default)]
pub struct Lost(Vec<SeatIx>);

impl Lost {
    /// The session at seat `new` waits for a connection. Says which one is to make room, if one is: the one that has waited
    /// longest, of its initiator, its address or its host if they have too many, else of all.
    pub fn enter<'a>(&mut self, new: SeatIx, seat: impl Fn(SeatIx) -> Option<&'a Seat>) -> Option<SeatIx> {
        // Nobody says when such a session is continued, or over: those are left out here.
        self.0.retain(|&other| other != new && seat(other).is_some_and(Seat::is_lost));
        self.0.push(new);
        let own = seat(new)?;
        let lost = || self.0.iter().filter_map(|&number| Some((number, seat(number)?)));
        let address = |seat: &Seat| Address::of(seat.text.peer());
        // An initiator that only says its name is another one than one that has proved it.
        fn initiator(seat: &Seat) -> (&IscsiName, Option<&str>) {
            let port = &seat.session.init().initiator;
            (&port.name, port.proof.as_deref())
        }
        let of_initiator = |seat: &Seat| initiator(seat) == initiator(own);
        let of_address = |seat: &Seat| address(seat) == address(own);
        let of_host = |seat: &Seat| address(seat).host() == address(own).host();
        let surplus = |most: usize, alike: &dyn Fn(&Seat) -> bool| {
            let oldest = lost().filter(|(_, seat)| alike(seat)).min_by_key(|(_, seat)| seat.lost_ms);
            oldest.filter(|_| lost().filter(|(_, seat)| alike(seat)).count() > most).map(|(number, _)| number)
        };
        surplus(LOST_SESSIONS_PER_INITIATOR, &of_initiator)
            .or_else(|| surplus(LOST_SESSIONS_PER_ADDRESS, &of_address))
            .or_else(|| surplus(LOST_SESSIONS_PER_HOST, &of_host))
            .or_else(|| surplus(LOST_SESSIONS, &|_| true))
    }
}
