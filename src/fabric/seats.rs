//! The seats of a core: its sessions by number, the connections of each, and which of them are to be looked at.
//!
//! Invariants: a seat that is free has no connections. Who is noted here to be looked at later may have gone by then, and
//! its seat may be another session's: each look asks again.

use super::lost::Lost;
use super::seat::{Order, Route, Seat};
use crate::missing::Required;
use crate::model::{ConnNo, SeatIx};
use crate::session::seam::ConnIx;
use crate::wire::Tsih;

/// A seat that is taken.
struct Taken {
    /// The session.
    seat: Seat,
    /// Its connections, by slot.
    route: Route,
}

/// The seats of one core.
#[derive(Default)]
pub struct Seats {
    /// Those that are taken, by number.
    all: Vec<Option<Box<Taken>>>,
    /// When the clock of each seat's session is to be looked at; zero: with the next tick. The times are together here
    /// because the seats of a thousand idle sessions are not in the cache.
    look_ms: Vec<u64>,
    /// The seat that `next_due` goes on with; 0: it has been through all.
    look_from: usize,
    /// Those of sessions with ORDERED commands of which something may have ended.
    stirred: Vec<SeatIx>,
    /// Those of sessions that have ended and are to be dropped when they are ready.
    ending: Vec<SeatIx>,
    /// Those of sessions that wait for a new connection.
    lost: Lost,
}

/// Look-ups.
impl Seats {
    /// The session at a seat, if it is taken.
    #[inline]
    pub fn get(&self, seat: SeatIx) -> Option<&Seat> {
        Some(&self.all.get(seat.at())?.as_deref()?.seat)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, seat: SeatIx) -> Option<&mut Seat> {
        Some(&mut self.all.get_mut(seat.at())?.as_deref_mut()?.seat)
    }

    /// The session at a seat, if it is still the one with this serial number.
    pub fn same(&self, seat: SeatIx, serial: u64) -> Option<&Seat> {
        self.get(seat).filter(|holder| holder.serial == serial)
    }

    /// A session, to be changed, and its connections. Whatever ends a command borrows these two, or looks at the session's
    /// events next: so it is noticed here that commands which wait for their order may begin.
    #[inline(always)]
    pub fn lend(&mut self, number: SeatIx) -> Option<(&mut Seat, &Route)> {
        let Taken { seat, route } = self.all.get_mut(number.at())?.as_deref_mut()?;
        if seat.order == Order::Kept {
            seat.order = Order::Stirred;
            self.stirred.push(number);
        }
        Some((seat, route))
    }

    /// All numbers that were ever given: some of these seats may be free.
    pub fn numbers(&self) -> impl Iterator<Item = SeatIx> + use<> {
        (0..self.all.len()).map(SeatIx::new)
    }

    /// The sessions, with their seats.
    pub fn iter(&self) -> impl Iterator<Item = (SeatIx, &Seat)> {
        self.numbers().filter_map(|number| Some((number, self.get(number)?)))
    }

    /// The sessions, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.all.iter_mut().flatten().map(|taken| &mut taken.seat)
    }

    /// Whether no session is here.
    pub fn is_empty(&self) -> bool {
        self.all.iter().all(Option::is_none)
    }

    /// The seat of the session with this TSIH, unless that has ended.
    pub fn find(&self, tsih: Tsih) -> Option<SeatIx> {
        self.iter().find(|(_, seat)| seat.tsih() == tsih && !seat.ended).map(|(number, _)| number)
    }
}

/// Sessions come and go.
impl Seats {
    /// Gives a session a seat.
    pub fn enter(&mut self, mut seat: Seat, route: Route) -> SeatIx {
        seat.order = Order::Free;
        let number = self.all.iter().position(Option::is_none).unwrap_or(self.all.len());
        if number == self.all.len() {
            self.all.push(None);
            self.look_ms.push(0);
        }
        self.all[number] = Some(Box::new(Taken { seat, route }));
        self.stir(SeatIx::new(number));
        SeatIx::new(number)
    }

    /// Frees a seat.
    pub fn leave(&mut self, seat: SeatIx) -> Option<Seat> {
        Some(self.all.get_mut(seat.at())?.take()?.seat)
    }

    /// Has a session end: no more is asked of it, and it is dropped when it is ready.
    pub fn end(&mut self, seat: SeatIx) {
        if let Some(holder) = self.get_mut(seat).required("the session that ends")
            && !std::mem::replace(&mut holder.ended, true)
        {
            self.ending.push(seat);
        }
    }

    /// Whether the session at a seat has ended, and none of its connections is left.
    pub fn is_over(&self, seat: SeatIx) -> bool {
        let taken = self.all.get(seat.at()).and_then(Option::as_deref);
        taken.is_some_and(|taken| taken.seat.ended && taken.route.iter().all(Option::is_none))
    }

    /// Whether sessions have ended that are not dropped.
    #[inline]
    pub fn are_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// The sessions that have ended: whoever takes them drops those that are ready, and gives the others back
    /// ([`Seats::go_on_ending`]).
    pub fn take_ending(&mut self) -> Vec<SeatIx> {
        std::mem::take(&mut self.ending)
    }

    /// Those of [`Seats::take_ending`] that were not ready.
    pub fn go_on_ending(&mut self, mut ending: Vec<SeatIx>) {
        ending.retain(|&seat| self.get(seat).is_some_and(|holder| holder.ended));
        ending.append(&mut self.ending);
        self.ending = ending;
    }

    /// The session at a seat may wait for a new connection from now on. Says which session is to make room, if one is
    /// ([`Lost::enter`]).
    pub fn lose(&mut self, seat: SeatIx, now_ms: u64) -> Option<SeatIx> {
        self.get_mut(seat).filter(|holder| holder.is_lost())?.lost_ms = now_ms;
        let Seats { all, lost, .. } = self;
        lost.enter(seat, |number| Some(&all.get(number.at())?.as_deref()?.seat))
    }
}

/// Their connections.
impl Seats {
    /// The connection in a slot of a session, if there is one.
    #[inline]
    pub fn connection(&self, seat: SeatIx, ix: ConnIx) -> Option<ConnNo> {
        *self.all.get(seat.at())?.as_deref()?.route.get(usize::from(ix.0))?
    }

    /// The connections of a session: slot and number.
    pub fn connections(&self, seat: SeatIx) -> impl Iterator<Item = (ConnIx, ConnNo)> + use<> {
        let route = self.all.get(seat.at()).and_then(Option::as_deref).map_or(Route::default(), |taken| taken.route);
        (0..).map(ConnIx).zip(route).filter_map(|(ix, conn)| Some((ix, conn?)))
    }

    /// Puts a connection into a slot of a session.
    pub fn connect(&mut self, seat: SeatIx, ix: ConnIx, conn: ConnNo) {
        self.set_connection(seat, ix, Some(conn));
    }

    /// A connection leaves its session, whose negotiation on it is over. The session comes back, for what else that means
    /// to it.
    pub fn disconnect(&mut self, seat: SeatIx, ix: ConnIx) -> Option<&mut Seat> {
        self.set_connection(seat, ix, None);
        let holder = self.get_mut(seat)?;
        holder.text.forget(ix);
        Some(holder)
    }

    fn set_connection(&mut self, seat: SeatIx, ix: ConnIx, conn: Option<ConnNo>) {
        if let Some(Some(taken)) = self.all.get_mut(seat.at())
            && let Some(slot) = taken.route.get_mut(usize::from(ix.0))
        {
            *slot = conn;
        }
    }
}

/// Their clocks.
impl Seats {
    /// Something happened in a session: its clock may have to be looked at earlier.
    #[inline]
    pub fn stir(&mut self, seat: SeatIx) {
        self.looked(seat, 0);
    }

    /// The clock of a session was looked at, and is to be looked at again then.
    #[inline]
    pub fn looked(&mut self, seat: SeatIx, again_ms: u64) {
        if let Some(look_ms) = self.look_ms.get_mut(seat.at()) {
            *look_ms = again_ms;
        }
    }

    /// The next seat whose clock is to be looked at, one after the other. `None`: it has been through all.
    pub fn next_due(&mut self, now_ms: u64) -> Option<SeatIx> {
        let rest = self.look_ms.get(self.look_from..);
        let Some(ahead) = rest.and_then(|rest| rest.iter().position(|look_ms| *look_ms <= now_ms)) else {
            self.look_from = 0;
            return None;
        };
        self.look_from += ahead + 1;
        Some(SeatIx::new(self.look_from - 1))
    }

    /// Whether it has been through all of those that were due.
    pub fn is_through(&self) -> bool {
        self.look_from == 0
    }

    /// After how many milliseconds a clock is to be looked at.
    pub fn due_in_ms(&self, now_ms: u64) -> u64 {
        self.look_ms.iter().min().map_or(u64::MAX, |due_ms| due_ms.saturating_sub(now_ms))
    }
}

/// The order of their commands.
impl Seats {
    /// A session keeps the order of commands.
    pub fn keep_order(&mut self, seat: SeatIx) {
        if let Some(holder) = self.get_mut(seat)
            && holder.order == Order::Free
        {
            holder.order = Order::Kept;
        }
    }

    /// Whether something may have ended of a session that keeps the order of commands.
    #[inline]
    pub fn are_stirred(&self) -> bool {
        !self.stirred.is_empty()
    }

    /// The sessions of which that is so, each to be looked at ([`Seats::may_begin`]).
    pub fn take_stirred(&mut self) -> Vec<SeatIx> {
        std::mem::take(&mut self.stirred)
    }

    /// Looks at a session of which something may have ended: whether commands of it may begin.
    pub fn may_begin(&mut self, seat: SeatIx) -> bool {
        // The seat may be another session's by now.
        self.get_mut(seat).is_some_and(|holder| {
            if holder.order == Order::Stirred {
                holder.order = if holder.session.keeps_order() { Order::Kept } else { Order::Free };
            }
            holder.session.has_events()
        })
    }
}
