//! Reservations of a logical unit: persistent (SPC-4 clause 5.13) and the older RESERVE/RELEASE (SPC-2 clause 5.5.1).
//!
//! [`Reservations`] is the whole state as plain data, keyed by initiator port: connections and sessions come and go, a
//! registration stays. It decides; `persistent.rs` has the commands and their parameter data. What a change means to
//! other nexuses it tells as a `Change`: who gets which unit attention, and whose tasks are to be aborted.
//!
//! Not here yet: registrations by target port. An initiator port has one, through whichever port it comes.

use super::attention::Attention;
use super::opcode::class;
use super::plan::Outcome;
use super::sense::asc;
use super::unit::NexusId;
use crate::limits;
use crate::model::InitiatorPort;

/// TYPE of a persistent reservation (SPC-4 table 64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ReservationType {
    /// Others may read.
    WriteExclusive = 1,
    /// Others may neither read nor write.
    ExclusiveAccess = 3,
    /// Registered ones may do all, others may read.
    WriteExclusiveRegistrantsOnly = 5,
    /// Registered ones may do all, others nothing.
    ExclusiveAccessRegistrantsOnly = 6,
    /// As type 5, and every registered one holds it.
    WriteExclusiveAllRegistrants = 7,
    /// As type 6, and every registered one holds it.
    ExclusiveAccessAllRegistrants = 8,
}

impl ReservationType {
    /// The type of a code; `None` if the code is reserved or obsolete.
    pub const fn from_code(code: u8) -> Option<ReservationType> {
        Some(match code {
            1 => ReservationType::WriteExclusive,
            3 => ReservationType::ExclusiveAccess,
            5 => ReservationType::WriteExclusiveRegistrantsOnly,
            6 => ReservationType::ExclusiveAccessRegistrantsOnly,
            7 => ReservationType::WriteExclusiveAllRegistrants,
            8 => ReservationType::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    const fn of_all_registrants(self) -> bool {
        matches!(self, ReservationType::WriteExclusiveAllRegistrants | ReservationType::ExclusiveAccessAllRegistrants)
    }

    /// Whether registered nexuses lose something when it is released: then they are told.
    const fn of_registrants(self) -> bool {
        !matches!(self, ReservationType::WriteExclusive | ReservationType::ExclusiveAccess)
    }

    /// What it keeps from those that it does not admit.
    const fn keeps(self) -> u16 {
        match self {
            ReservationType::WriteExclusive
            | ReservationType::WriteExclusiveRegistrantsOnly
            | ReservationType::WriteExclusiveAllRegistrants => class::WRITE,
            _ => class::READ | class::WRITE,
        }
    }
}

/// A registered initiator port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Who.
    pub port: InitiatorPort,
    /// Its reservation key, never zero.
    pub key: u64,
    /// Relative target port identifier of the port that it was registered through.
    pub target_port: u16,
    /// Registered with ALL_TG_PT.
    pub all_target_ports: bool,
}

/// The persistent reservation there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub kind: ReservationType,
    /// Who made it. With an all registrants type every registered port holds it.
    pub holder: InitiatorPort,
}

/// All reservations of a logical unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservations {
    /// PRGENERATION.
    pub generation: u32,
    /// Registered initiator ports, at most `limits::REGISTRATIONS`.
    pub registrations: Vec<Registration>,
    /// The persistent reservation.
    pub held: Option<Held>,
    /// APTPL of the latest registration: all of this outlives a loss of power, now and until one says otherwise.
    pub aptpl: bool,
    /// Who has the logical unit by RESERVE(6) or RESERVE(10); gone with the nexus.
    pub(super) reserved_by: Option<NexusId>,
}

/// What a change means to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Unit attentions for the nexuses of initiator ports.
    pub(super) attentions: Vec<(Attention, Vec<InitiatorPort>)>,
    /// PREEMPT AND ABORT: whose tasks are to be aborted.
    pub(super) preempted: Vec<InitiatorPort>,
}

type Changed = Result<Change, Outcome>;

const CONFLICT: Outcome = Outcome::RESERVATION_CONFLICT;

/// Offset of SERVICE ACTION RESERVATION KEY in the parameter list.
const SERVICE_ACTION_KEY_AT: u16 = 8;

impl Reservations {
    /// Those that persist through power loss, as they were stored.
    pub fn persistent(registrations: Vec<Registration>, held: Option<Held>) -> Reservations {
        Reservations { registrations, held, aptpl: true, ..Reservations::default() }
    }

    /// What is to be stored: nothing, unless APTPL is in force. PRGENERATION is zero after a restart in any case.
    pub(super) fn to_save(&self) -> Option<Reservations> {
        self.aptpl.then(|| Reservations { generation: 0, reserved_by: None, ..self.clone() })
    }

    pub(super) fn key_of(&self, port: &InitiatorPort) -> Option<u64> {
        self.registrations.iter().find(|registration| registration.port == *port).map(|registration| registration.key)
    }

    pub(super) fn is_holder(&self, port: &InitiatorPort) -> bool {
        self.held.as_ref().is_some_and(|held| {
            if held.kind.of_all_registrants() { self.key_of(port).is_some() } else { held.holder == *port }
        })
    }

    /// The key that READ RESERVATION shows: the holder's, or zero when all registrants hold it.
    pub(super) fn holders_key(&self, held: &Held) -> u64 {
        if held.kind.of_all_registrants() { 0 } else { self.key_of(&held.holder).unwrap_or(0) }
    }

    /// Classes of commands that are kept from a nexus (the tables of SPC-4 clause 5.13.1).
    pub(super) fn keeps_from(&self, nexus: NexusId, port: &InitiatorPort) -> u16 {
        if self.reserved_by.is_some_and(|holder| holder != nexus) {
            return class::ACCESS;
        }
        match &self.held {
            Some(held) if !self.is_holder(port) => {
                let admitted = held.kind.of_registrants() && self.key_of(port).is_some();
                if admitted { 0 } else { held.kind.keeps() }
            }
            _ => 0,
        }
    }

    /// RESERVE(6) and (10). They conflict with registrations (SPC-4 clause 5.13.3, CRH is zero).
    pub(super) fn reserve_unit(&mut self, nexus: NexusId) -> Result<(), Outcome> {
        if !self.registrations.is_empty() || self.reserved_by.is_some_and(|holder| holder != nexus) {
            return Err(CONFLICT);
        }
        self.reserved_by = Some(nexus);
        Ok(())
    }

    /// RELEASE(6) and (10): of another's reservation it does nothing, and is GOOD.
    pub(super) fn release_unit(&mut self, nexus: NexusId) -> Result<(), Outcome> {
        if !self.registrations.is_empty() {
            return Err(CONFLICT);
        }
        if self.reserved_by == Some(nexus) {
            self.reserved_by = None;
        }
        Ok(())
    }

    /// REGISTER, and with `ignore` REGISTER AND IGNORE EXISTING KEY (SPC-4 clause 5.13.7). `through`: the relative target
    /// port identifier, and ALL_TG_PT.
    pub(super) fn register(
        &mut self,
        port: &InitiatorPort,
        keys: (u64, u64),
        ignore: bool,
        through: (u16, bool),
        also: &[InitiatorPort],
    ) -> Changed {
        let (key, new_key) = keys;
        let known = self.key_of(port);
        if !ignore && known.unwrap_or(0) != key {
            return Err(CONFLICT);
        }
        if known.is_none() && new_key == 0 {
            return Ok(Change::default());
        }
        if known.is_some() && !also.is_empty() {
            return Err(Outcome::invalid_list_field(20, 3));
        }
        let change = if new_key == 0 {
            self.unregister(port)
        } else {
            self.put_keys(std::iter::once(port).chain(also), new_key, through)?;
            Change::default()
        };
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    fn put_keys<'a>(
        &mut self,
        ports: impl Iterator<Item = &'a InitiatorPort> + Clone,
        key: u64,
        (target_port, all_target_ports): (u16, bool),
    ) -> Result<(), Outcome> {
        let new = ports.clone().filter(|port| self.key_of(port).is_none()).count();
        if self.registrations.len() + new > limits::REGISTRATIONS {
            return Err(Outcome::illegal(asc::INSUFFICIENT_REGISTRATION_RESOURCES));
        }
        for port in ports {
            match self.registrations.iter_mut().find(|registration| registration.port == *port) {
                Some(registration) => {
                    registration.key = key;
                    registration.target_port = target_port;
                    registration.all_target_ports = all_target_ports;
                }
                None => {
                    self.registrations.push(Registration { port: port.clone(), key, target_port, all_target_ports });
                }
            }
        }
        Ok(())
    }

    /// Takes a registration away, and the reservation with its last holder (SPC-4 clause 5.13.11.2).
    fn unregister(&mut self, port: &InitiatorPort) -> Change {
        let held_it = self.is_holder(port);
        self.registrations.retain(|registration| registration.port != *port);
        let mut change = Change::default();
        if let Some(held) = &self.held
            && held_it
            && (!held.kind.of_all_registrants() || self.registrations.is_empty())
        {
            if held.kind.of_registrants() {
                change.tell(Attention::ReservationsReleased, self.others(port));
            }
            self.held = None;
        }
        change
    }

    fn others(&self, port: &InitiatorPort) -> Vec<InitiatorPort> {
        self.registrations.iter().map(|each| &each.port).filter(|each| *each != port).cloned().collect()
    }

    fn check_key(&self, port: &InitiatorPort, key: u64) -> Result<(), Outcome> {
        if self.key_of(port) == Some(key) { Ok(()) } else { Err(CONFLICT) }
    }

    /// RESERVE (SPC-4 clause 5.13.9).
    pub(super) fn reserve(&mut self, port: &InitiatorPort, key: u64, kind: ReservationType) -> Changed {
        self.check_key(port, key)?;
        match &self.held {
            Some(held) if held.kind == kind && self.is_holder(port) => {}
            Some(_) => return Err(CONFLICT),
            None => self.held = Some(Held { kind, holder: port.clone() }),
        }
        Ok(Change::default())
    }

    /// RELEASE (SPC-4 clause 5.13.11.1).
    pub(super) fn release(&mut self, port: &InitiatorPort, key: u64, kind: Option<ReservationType>) -> Changed {
        self.check_key(port, key)?;
        let mut change = Change::default();
        if let Some(held) = &self.held
            && self.is_holder(port)
        {
            if kind != Some(held.kind) {
                return Err(Outcome::illegal(asc::INVALID_RELEASE_OF_PERSISTENT_RESERVATION));
            }
            if held.kind.of_registrants() {
                change.tell(Attention::ReservationsReleased, self.others(port));
            }
            self.held = None;
        }
        Ok(change)
    }

    /// CLEAR (SPC-4 clause 5.13.11.5).
    pub(super) fn clear(&mut self, port: &InitiatorPort, key: u64) -> Changed {
        self.check_key(port, key)?;
        let mut change = Change::default();
        change.tell(Attention::ReservationsPreempted, self.others(port));
        self.registrations.clear();
        self.held = None;
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// PREEMPT and PREEMPT AND ABORT (SPC-4 clauses 5.13.11.3 and 5.13.11.4): takes over the reservation when `victims_key`
    /// is that of its holder, or zero and all registrants hold it; otherwise it only removes registrations.
    pub(super) fn preempt(
        &mut self,
        port: &InitiatorPort,
        key: u64,
        victims_key: u64,
        kind: ReservationType,
    ) -> Changed {
        self.check_key(port, key)?;
        let all = self.held.as_ref().is_some_and(|held| held.kind.of_all_registrants());
        if victims_key == 0 && !all {
            return Err(Outcome::invalid_list_field(SERVICE_ACTION_KEY_AT, 7));
        }
        let takes_over = match &self.held {
            None => false,
            Some(_) if all => victims_key == 0,
            Some(held) => self.key_of(&held.holder) == Some(victims_key),
        };
        let is_victim = |each: &Registration| victims_key == 0 || each.key == victims_key;
        if victims_key != 0 && !self.registrations.iter().any(is_victim) {
            return Err(CONFLICT);
        }
        let spared = |each: &Registration| takes_over && each.port == *port;
        let removed: Vec<_> =
            self.registrations.iter().filter(|each| is_victim(each) && !spared(each)).cloned().collect();
        self.registrations.retain(|each| !removed.contains(each));
        let mut removed: Vec<_> = removed.into_iter().map(|each| each.port).collect();
        removed.retain(|each| each != port);
        let mut change = Change { preempted: removed.clone(), ..Change::default() };
        change.tell(Attention::RegistrationsPreempted, removed);
        if takes_over {
            if self.held.as_ref().is_some_and(|held| held.kind != kind) {
                change.tell(Attention::ReservationsReleased, self.others(port));
            }
            self.held = Some(Held { kind, holder: port.clone() });
        } else if all && self.registrations.is_empty() {
            self.held = None;
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// REGISTER AND MOVE (SPC-4 clause 5.13.8): hands the reservation to `to`, registered with `new_key`.
    pub(super) fn register_and_move(
        &mut self,
        port: &InitiatorPort,
        keys: (u64, u64),
        (to, target_port): (InitiatorPort, u16),
        unregister: bool,
    ) -> Changed {
        let (key, new_key) = keys;
        self.check_key(port, key)?;
        let Some(held) = self.held.clone().filter(|held| held.holder == *port && !held.kind.of_all_registrants())
        else {
            return Err(CONFLICT);
        };
        if new_key == 0 {
            return Err(Outcome::invalid_list_field(SERVICE_ACTION_KEY_AT, 7));
        }
        if to == *port {
            return Err(Outcome::invalid_list_field(24, 7));
        }
        self.put_keys(std::iter::once(&to), new_key, (target_port, false))?;
        self.held = Some(Held { holder: to, ..held });
        if unregister {
            self.registrations.retain(|registration| registration.port != *port);
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(Change::default())
    }
}

impl Change {
    fn tell(&mut self, attention: Attention, ports: Vec<InitiatorPort>) {
        if !ports.is_empty() {
            self.attentions.push((attention, ports));
        }
    }
}
