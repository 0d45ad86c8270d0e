//! Reservations of a logical unit: persistent (SPC-4 clause 5.13) and the older RESERVE/RELEASE (SPC-2 clause 5.5.1).
//!
//! [`Reservations`] is the whole state as plain data, keyed by I_T nexus, which is an initiator port and a target port:
//! connections and sessions come and go, a registration stays. Here is what a service action changes; `persistent.rs`
//! has the commands and their parameter data. What a change means to other nexuses is told as a `Change`: who gets
//! which unit attention, and whose tasks are to be aborted.
//!
//! Invariants: an I_T nexus has one registration, also if another one has named it, which cannot say what its port has
//! proved; the holder of a reservation is registered; ALL_TG_PT of a registration says that its initiator port was
//! registered with the same key at every target port there was, and still is.

use super::attention::Attention;
use super::class;
use super::params::NexusId;
use super::sense::{Outcome, asc};
use crate::limits;
use crate::model::{Address, InitiatorPort, IscsiName, ItNexus};
use crate::wire::Isid;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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

    /// Classes of commands that it keeps from nexuses that it does not admit.
    const fn keeps(self) -> u16 {
        match self {
            ReservationType::WriteExclusive
            | ReservationType::WriteExclusiveRegistrantsOnly
            | ReservationType::WriteExclusiveAllRegistrants => class::WRITE,
            _ => class::READ | class::WRITE,
        }
    }
}

/// A registered I_T nexus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Who, through which port.
    pub nexus: ItNexus,
    /// Its reservation key, never zero.
    pub key: u64,
    /// It is one of the registrations that one ALL_TG_PT made, and none of them has changed since.
    pub all_target_ports: bool,
    /// Whose allowance it counts against: that of whoever asked for it, who may be somebody else with SPEC_I_PT and
    /// REGISTER AND MOVE.
    pub(super) charged_to: Payer,
}

/// Whom a registration is charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payer {
    name: IscsiName,
    proof: Option<Arc<str>>,
    /// The network address that it asked from; `None`: not known, as after a restart.
    address: Option<Address>,
}

impl Payer {
    fn of(initiator: &InitiatorPort, address: Option<Address>) -> Payer {
        Payer { name: initiator.name.clone(), proof: initiator.proof.clone(), address }
    }
}

impl Registration {
    /// A registration that its own initiator asked for.
    pub fn new(nexus: ItNexus, key: u64, all_target_ports: bool) -> Registration {
        Registration { charged_to: Payer::of(&nexus.initiator, None), nexus, key, all_target_ports }
    }
}

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) nexus: ItNexus,
    pub(super) address: Option<Address>,
}

/// The persistent reservation there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub kind: ReservationType,
    /// Who made it. With an all registrants type every registered nexus holds it.
    pub holder: ItNexus,
}

/// All reservations of a logical unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservations {
    /// PRGENERATION.
    pub generation: u32,
    /// Registered I_T nexuses, at most `limits::REGISTRATIONS`.
    pub registrations: Vec<Registration>,
    /// The persistent reservation.
    pub held: Option<Held>,
    /// APTPL of the latest registration: whether registrations and reservation outlive a loss of power, until another
    /// registration says otherwise.
    pub aptpl: bool,
    /// Who has the logical unit by RESERVE(6) or RESERVE(10); gone with the nexus.
    pub(super) reserved_by: Option<NexusId>,
}

/// What a change means to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Unit attentions for nexuses.
    pub(super) attentions: Vec<(Attention, Vec<ItNexus>)>,
    /// PREEMPT AND ABORT: whose tasks are to be aborted.
    pub(super) preempted: Vec<ItNexus>,
}

type Changed = Result<Change, Outcome>;

/// What can be said of a nexus without what its initiator port has proved: name, ISID, target port.
type Said<'a> = (&'a IscsiName, Isid, u16);

fn said(nexus: &ItNexus) -> Said<'_> {
    (&nexus.initiator.name, nexus.initiator.isid, nexus.target_port)
}

const CONFLICT: Outcome = Outcome::RESERVATION_CONFLICT;

/// Offset of SERVICE ACTION RESERVATION KEY in the parameter list.
const SERVICE_ACTION_KEY_AT: u16 = 8;

impl Reservations {
    /// The registrations and the reservation that persist through power loss, as they were stored.
    pub fn persistent(registrations: Vec<Registration>, held: Option<Held>) -> Reservations {
        Reservations { registrations, held, aptpl: true, ..Reservations::default() }
    }

    /// What is to be stored: nothing, unless APTPL is in force. PRGENERATION is zero after a restart in any case, and each
    /// registration is charged to whom it is of then.
    pub(super) fn to_save(&self) -> Option<Reservations> {
        self.aptpl.then(|| {
            let mut saved = Reservations { generation: 0, reserved_by: None, ..self.clone() };
            saved.registrations.iter_mut().for_each(|each| each.charged_to = Payer::of(&each.nexus.initiator, None));
            saved
        })
    }

    /// Where the registration of a nexus is: one that was made by itself before one that somebody else made for whoever has
    /// this initiator port.
    fn position(&self, nexus: &ItNexus) -> Option<usize> {
        let exact = self.registrations.iter().position(|registration| registration.nexus == *nexus);
        exact.or_else(|| self.registrations.iter().position(|registration| registration.nexus.covers(nexus)))
    }

    /// As `position`, of many nexuses in one go through the table: it may be long, and all who use the unit wait
    /// meanwhile.
    fn positions(&self, nexuses: &[ItNexus]) -> Vec<Option<usize>> {
        let said_of = |number: &usize| nexuses.get(*number).map(said);
        let mut sorted: Vec<usize> = (0..nexuses.len()).collect();
        sorted.sort_unstable_by_key(said_of);
        let mut found = vec![None; nexuses.len()];
        for (at, known) in self.nexuses().enumerate() {
            let like = Some(said(known));
            let first = sorted.partition_point(|number| said_of(number) < like);
            for &number in sorted.iter().skip(first).take_while(|number| said_of(number) == like) {
                let (Some(nexus), Some(place)) = (nexuses.get(number), found.get_mut(number)) else { continue };
                if known == nexus || (place.is_none() && known.covers(nexus)) {
                    *place = Some(at);
                }
            }
        }
        found
    }

    fn find(&self, nexus: &ItNexus) -> Option<&Registration> {
        self.registrations.get(self.position(nexus)?)
    }

    fn nexuses(&self) -> impl Iterator<Item = &ItNexus> {
        self.registrations.iter().map(|registration| &registration.nexus)
    }

    /// The nexus that `asker` means by `spoken`, without knowing what that has proved: the one that is registered by
    /// this name, ISID and target port, else just what was said. `None`: there are several, and none of them is the
    /// asker's own.
    fn meant(&self, asker: &ItNexus, spoken: ItNexus) -> Option<ItNexus> {
        let known: Vec<&ItNexus> = self.nexuses().filter(|nexus| spoken.covers(nexus)).collect();
        let own = known.iter().find(|nexus| nexus.initiator == asker.initiator);
        match (own, known.as_slice()) {
            (Some(nexus), _) | (None, [nexus]) => Some(ItNexus::clone(nexus)),
            (None, []) => Some(spoken),
            _ => None,
        }
    }

    pub(super) fn key_of(&self, nexus: &ItNexus) -> Option<u64> {
        self.find(nexus).map(|registration| registration.key)
    }

    pub(super) fn is_holder(&self, nexus: &ItNexus) -> bool {
        self.held.is_some() && self.find(nexus).is_some_and(|own| self.holds(own))
    }

    /// The key that READ RESERVATION shows: the holder's, or zero when all registrants hold it.
    pub(super) fn holders_key(&self, held: &Held) -> u64 {
        if held.kind.of_all_registrants() { 0 } else { self.key_of(&held.holder).unwrap_or(0) }
    }

    /// The registrations as READ FULL STATUS shows them, and whether one stands for all target ports: then those of its
    /// initiator port are the same at each of `ports`, and the others of them are not shown.
    pub(super) fn described(&self, ports: &[u16]) -> Vec<(&Registration, bool)> {
        // Registrations that are shown as one: the number of the first of them, and their target ports.
        let mut alike: HashMap<_, (usize, Vec<u16>)> = HashMap::new();
        let of = |each: &'_ Registration| (each.key, self.holds(each));
        for (number, each) in self.registrations.iter().enumerate().filter(|(_, each)| each.all_target_ports) {
            let group = alike.entry((&each.nexus.initiator, of(each))).or_insert_with(|| (number, Vec::new()));
            group.1.push(each.nexus.target_port);
        }
        alike.retain(|_, (_, at)| ports.iter().all(|port| at.contains(port)));
        let told = |(number, each): (usize, _)| {
            let each: &Registration = each;
            let group = if each.all_target_ports { alike.get(&(&each.nexus.initiator, of(each))) } else { None };
            group.map_or(Some((each, false)), |(first, _)| (*first == number).then_some((each, true)))
        };
        self.registrations.iter().enumerate().filter_map(told).collect()
    }

    /// Whether that registration's nexus is a holder of the reservation.
    pub(super) fn holds(&self, of: &Registration) -> bool {
        self.held.as_ref().is_some_and(|held| held.kind.of_all_registrants() || held.holder == of.nexus)
    }

    /// Classes of commands that are kept from a nexus (the tables of SPC-4 clause 5.13.1).
    pub(super) fn keeps_from(&self, id: NexusId, nexus: &ItNexus) -> u16 {
        if self.reserved_by.is_some_and(|holder| holder != id) {
            return class::ACCESS;
        }
        match &self.held {
            Some(held) if !self.is_holder(nexus) => {
                let admitted = held.kind.of_registrants() && self.find(nexus).is_some();
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

    /// RELEASE(6) and (10): if another nexus has the reservation, the command does nothing, and is GOOD.
    pub(super) fn release_unit(&mut self, nexus: NexusId) -> Result<(), Outcome> {
        if !self.registrations.is_empty() {
            return Err(CONFLICT);
        }
        if self.reserved_by == Some(nexus) {
            self.reserved_by = None;
        }
        Ok(())
    }

    /// REGISTER, and with `ignore` REGISTER AND IGNORE EXISTING KEY (SPC-4 clause 5.13.7). `all_ports`: with ALL_TG_PT every
    /// target port of the logical unit, otherwise none. `also`: whom SPEC_I_PT names.
    pub(super) fn register(
        &mut self,
        asker: &Asker,
        keys: (u64, u64),
        ignore: bool,
        all_ports: &[u16],
        also: &[InitiatorPort],
    ) -> Changed {
        let ((key, new_key), nexus) = (keys, &asker.nexus);
        let known = self.key_of(nexus);
        if !ignore && known.unwrap_or(0) != key {
            return Err(CONFLICT);
        }
        if known.is_none() && new_key == 0 {
            return Ok(Change::default());
        }
        if known.is_some() && !also.is_empty() {
            return Err(Outcome::invalid_list_field(20, 3));
        }
        // With ALL_TG_PT it is as if the same command had come through each of the ports. If it would be refused at one
        // of them, all of it is.
        let elsewhere = all_ports.iter().filter(|port| **port != nexus.target_port);
        let own: Vec<ItNexus> = std::iter::once(nexus.target_port)
            .chain(elsewhere.copied())
            .map(|target_port| ItNexus { initiator: nexus.initiator.clone(), target_port })
            .collect();
        let is_anothers = |at: usize| self.registrations.get(at).is_some_and(|other| other.key != key);
        if !ignore && self.positions(&own).into_iter().flatten().any(is_anothers) {
            return Err(CONFLICT);
        }
        let mut change = Change::default();
        if new_key == 0 {
            for each in &own {
                change.join(self.unregister(each));
            }
        } else {
            // Who is registered already has a key of its own, which is not somebody else's to change. A TransportID says
            // nothing of proof: beside what its port has registered by itself it must make no second registration, which
            // would be left when the first is taken away.
            let named = also.iter().flat_map(|port| {
                own.iter().map(|each| ItNexus { initiator: port.clone(), target_port: each.target_port })
            });
            let named: Vec<ItNexus> = named.collect();
            let mut known: HashSet<Said<'_>> = HashSet::new();
            if !named.is_empty() {
                known.extend(own.iter().chain(self.nexuses()).map(said));
            }
            let named: Vec<ItNexus> = named.iter().filter(|each| known.insert(said(each))).cloned().collect();
            self.put_keys(asker, &[own, named].concat(), new_key, !all_ports.is_empty())?;
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// Registers `nexuses` with `key`, at the charge of `asker`; those that are registered already get `key` instead of
    /// theirs. Each nexus is there once.
    fn put_keys(&mut self, asker: &Asker, nexuses: &[ItNexus], key: u64, all: bool) -> Result<(), Outcome> {
        let places = self.positions(nexuses);
        let payer = Payer::of(&asker.nexus.initiator, asker.address);
        self.check_room(&payer, places.iter().filter(|place| place.is_none()).count())?;
        self.part(places.iter().flatten().copied().collect());
        for (nexus, place) in nexuses.iter().zip(places) {
            let Some(registration) = place.and_then(|at| self.registrations.get_mut(at)) else {
                let new = Registration::new(nexus.clone(), key, all);
                self.registrations.push(Registration { charged_to: payer.clone(), ..new });
                continue;
            };
            // Whoever registers itself has shown whose the initiator port is, and pays for it.
            if nexus.initiator.name == payer.name {
                let old = std::mem::replace(&mut registration.nexus, nexus.clone());
                registration.charged_to = payer.clone();
                if let Some(held) = self.held.as_mut().filter(|held| held.holder == old) {
                    held.holder = nexus.clone();
                }
            }
            (registration.key, registration.all_target_ports) = (key, all);
        }
        Ok(())
    }

    /// Whether there is room for `new` more: in the table, and of what one initiator, by whatever names and proofs and from
    /// whatever addresses it asks, may have of it.
    fn check_room(&self, payer: &Payer, new: usize) -> Result<(), Outcome> {
        let fits = |is: &dyn Fn(&Payer) -> bool, most: usize| {
            self.registrations.iter().filter(|each| is(&each.charged_to)).count() + new <= most
        };
        let host = |of: &Payer| of.address.map(Address::host);
        // Those from before a restart may all be of one host: of what is left beside them each has a part only.
        let unknown = self.registrations.iter().filter(|each| each.charged_to.address.is_none()).count();
        let left = limits::REGISTRATIONS.saturating_sub(unknown);
        let of_host = limits::REGISTRATIONS_PER_HOST.saturating_sub(unknown).max(left / 4);
        let has_room = new == 0
            || fits(&|_| true, limits::REGISTRATIONS)
                && fits(&|each| each.name == payer.name, limits::REGISTRATIONS_PER_INITIATOR)
                && (payer.proof.is_none() || fits(&|each| each.proof == payer.proof, limits::REGISTRATIONS_PER_PROOF))
                && (payer.address.is_none()
                    || fits(&|each| each.address == payer.address, limits::REGISTRATIONS_PER_ADDRESS)
                        && fits(&|each| host(each) == host(payer), of_host));
        if has_room { Ok(()) } else { Err(Outcome::illegal(asc::INSUFFICIENT_REGISTRATION_RESOURCES)) }
    }

    /// The registrations at these places are about to change alone: those of the same initiator ports that ALL_TG_PT
    /// made no longer stand for all ports.
    fn part(&mut self, places: Vec<usize>) {
        let own = places.into_iter().filter_map(|at| self.registrations.get(at));
        let initiators: HashSet<InitiatorPort> = own.map(|own| own.nexus.initiator.clone()).collect();
        for each in self.registrations.iter_mut().filter(|each| each.all_target_ports) {
            each.all_target_ports = !initiators.contains(&each.nexus.initiator);
        }
    }

    /// Takes a registration away, and the reservation with its last holder (SPC-4 clause 5.13.11.2).
    fn unregister(&mut self, nexus: &ItNexus) -> Change {
        let mut change = Change::default();
        let held_it = self.is_holder(nexus);
        let Some(at) = self.position(nexus) else { return change };
        self.part(vec![at]);
        let own = self.registrations.remove(at).nexus;
        if let Some(held) = &self.held
            && held_it
            && (!held.kind.of_all_registrants() || self.registrations.is_empty())
        {
            if held.kind.of_registrants() {
                change.tell(Attention::ReservationsReleased, self.others(&own));
            }
            self.held = None;
        }
        change
    }

    /// Every registered nexus that does not cover `nexus`.
    fn others(&self, nexus: &ItNexus) -> Vec<ItNexus> {
        self.nexuses().filter(|each| !each.covers(nexus)).cloned().collect()
    }

    fn check_key(&self, nexus: &ItNexus, key: u64) -> Result<(), Outcome> {
        if self.key_of(nexus) == Some(key) { Ok(()) } else { Err(CONFLICT) }
    }

    /// Gives the reservation, with type `kind`, to a nexus that is registered.
    fn hold(&mut self, nexus: &ItNexus, kind: ReservationType) {
        self.held = self.find(nexus).map(|own| Held { kind, holder: own.nexus.clone() });
    }

    /// RESERVE (SPC-4 clause 5.13.9).
    pub(super) fn reserve(&mut self, nexus: &ItNexus, key: u64, kind: ReservationType) -> Changed {
        self.check_key(nexus, key)?;
        match &self.held {
            Some(held) if held.kind == kind && self.is_holder(nexus) => {}
            Some(_) => return Err(CONFLICT),
            None => self.hold(nexus, kind),
        }
        Ok(Change::default())
    }

    /// RELEASE (SPC-4 clause 5.13.11.1).
    pub(super) fn release(&mut self, nexus: &ItNexus, key: u64, kind: Option<ReservationType>) -> Changed {
        self.check_key(nexus, key)?;
        let mut change = Change::default();
        if let Some(held) = &self.held
            && self.is_holder(nexus)
        {
            if kind != Some(held.kind) {
                return Err(Outcome::illegal(asc::INVALID_RELEASE_OF_PERSISTENT_RESERVATION));
            }
            if held.kind.of_registrants() {
                change.tell(Attention::ReservationsReleased, self.others(nexus));
            }
            self.held = None;
        }
        Ok(change)
    }

    /// CLEAR (SPC-4 clause 5.13.11.5).
    pub(super) fn clear(&mut self, nexus: &ItNexus, key: u64) -> Changed {
        self.check_key(nexus, key)?;
        let mut change = Change::default();
        change.tell(Attention::ReservationsPreempted, self.others(nexus));
        self.registrations.clear();
        self.held = None;
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// PREEMPT and PREEMPT AND ABORT (SPC-4 clauses 5.13.11.3 and 5.13.11.4): takes over the reservation when `victims_key`
    /// is that of its holder, or zero and all registrants hold it; otherwise it only removes registrations.
    pub(super) fn preempt(&mut self, nexus: &ItNexus, key: u64, victims_key: u64, kind: ReservationType) -> Changed {
        self.check_key(nexus, key)?;
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
        let Some(own) = self.find(nexus).map(|own| own.nexus.clone()) else { return Err(CONFLICT) };
        let is_removed = |each: &Registration| is_victim(each) && !(takes_over && each.nexus == own);
        let places = self.registrations.iter().enumerate().filter(|(_, each)| is_removed(each));
        self.part(places.map(|(at, _)| at).collect());
        let removed: Vec<Registration>;
        (removed, self.registrations) = std::mem::take(&mut self.registrations).into_iter().partition(is_removed);
        let mut removed: Vec<_> = removed.into_iter().map(|each| each.nexus).collect();
        removed.retain(|each| *each != own);
        let mut change = Change { preempted: removed.clone(), ..Change::default() };
        change.tell(Attention::RegistrationsPreempted, removed);
        if takes_over {
            if self.held.as_ref().is_some_and(|held| held.kind != kind) {
                change.tell(Attention::ReservationsReleased, self.others(nexus));
            }
            self.hold(nexus, kind);
        } else if all && self.registrations.is_empty() {
            self.held = None;
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(change)
    }

    /// REGISTER AND MOVE (SPC-4 clause 5.13.8): hands the reservation to `to`, registered with `new_key`. A
    /// TransportID that could be several registered ports' is refused: it must not be left to chance who may write.
    pub(super) fn register_and_move(
        &mut self,
        asker: &Asker,
        keys: (u64, u64),
        to: ItNexus,
        unregister: bool,
    ) -> Changed {
        let ((key, new_key), nexus) = (keys, &asker.nexus);
        self.check_key(nexus, key)?;
        let holds = self.is_holder(nexus);
        let Some(held) = self.held.clone().filter(|held| holds && !held.kind.of_all_registrants()) else {
            return Err(CONFLICT);
        };
        if new_key == 0 {
            return Err(Outcome::invalid_list_field(SERVICE_ACTION_KEY_AT, 7));
        }
        let meant = self.meant(nexus, to).filter(|to| !to.covers(nexus));
        let to = meant.ok_or(Outcome::invalid_list_field(24, 7))?;
        self.put_keys(asker, std::slice::from_ref(&to), new_key, false)?;
        self.hold(&to, held.kind);
        if unregister && let Some(at) = self.position(nexus) {
            self.part(vec![at]);
            self.registrations.remove(at);
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(Change::default())
    }

    /// Adds, for each registration for all target ports, one at each of `ports`, which were added since it was made; as
    /// far as there is room.
    pub(super) fn spread(&mut self, ports: &[u16]) {
        let all: Vec<_> = self.registrations.iter().filter(|each| each.all_target_ports).cloned().collect();
        for each in all {
            for &target_port in ports {
                let nexus = ItNexus { initiator: each.nexus.initiator.clone(), target_port };
                let is_known = self.nexuses().any(|known| known.covers(&nexus) || nexus.covers(known));
                if self.registrations.len() < limits::REGISTRATIONS && !is_known {
                    self.registrations.push(Registration { nexus, ..each.clone() });
                }
            }
        }
    }
}

impl Change {
    fn tell(&mut self, attention: Attention, nexuses: Vec<ItNexus>) {
        if !nexuses.is_empty() {
            self.attentions.push((attention, nexuses));
        }
    }

    fn join(&mut self, other: Change) {
        self.attentions.extend(other.attentions);
        self.preempted.extend(other.preempted);
    }
}
