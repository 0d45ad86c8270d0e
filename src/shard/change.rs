//! A core takes over another [`World`]: what its sessions find, whom it tells, and which media it lets go of.
//!
//! The session stays whatever happens to its target's LUNs, unless its initiator may not use the target any more. A
//! unit that nobody finds any more goes on with the commands that it has; this core's handle is given up when nothing
//! uses it. Where others find it still, the commands of who does not are aborted. Who finds other LUNs than before is
//! told 3F/0E, by a unit attention and an Asynchronous Message; who finds another capacity is told 2A/09 (the unit
//! attention of that is raised where the capacity is changed). Commands that wait at a unit that is not found any more
//! wait for no limit (`exec/throttle.rs`).

use super::core::Core;
use super::tm::unit_of;
use crate::canary::{Canary, sings};
use crate::fabric::Parts;
use crate::fabric::nexus::{close_file, handle, new_nexus};
use crate::missing::Required;
use crate::model::{IscsiName, SeatIx, UnitIx};
use crate::scsi::{Attention, LuNexus, NexusId, Troubles, sense};
use crate::session::SessionKind;
use crate::session::directory::NoTarget;
use crate::session::seam::CloseReason;
use crate::wire::Lun;
use crate::world::targets::LunMap;
use crate::world::{Change, World};
use std::sync::Arc;

impl Core {
    /// Takes a change over, unless a session that moved in has brought it along already.
    pub fn change(&mut self, change: &Arc<Change>) {
        if sings(Canary::ChangeIgnored) {
            return;
        }
        let Some(old) = self.fabric.take_over(change) else { return };
        let world = Arc::clone(&self.fabric.world);
        self.executor.media = world.media(self.fabric.neighbours.executors());
        self.executor.strays.resize(world.units.all().len());
        for (number, unit) in world.units.numbered() {
            if old.units.get(number).is_some_and(|old| Arc::ptr_eq(old, unit)) {
                continue;
            }
            self.executor.strays.forget(number);
            let handle = handle(&self.fabric.io, &self.executor.answers.way_in, number, unit);
            match self.executor.handles.get_mut(number) {
                Some(place) => *place = handle,
                None => _ = self.executor.handles.push(handle),
            }
        }
        self.executor.memory.places.clear();
        for seat in self.fabric.seats.numbers() {
            self.change_seat(seat, &old, &change.resized);
        }
        self.executor.end_cancelled_copies();
        self.change_flows();
        self.fabric.served.note_leaving(self.fabric.neighbours.own());
        self.leave_units();
    }

    /// A session takes over this core's world; `old` is the one it was in before.
    pub(super) fn change_seat(&mut self, seat: SeatIx, old: &World, resized: &[UnitIx]) {
        let world = Arc::clone(&self.fabric.world);
        let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) else { return };
        holder.text.change(Arc::clone(&world));
        if holder.ended {
            return;
        }
        let admitted = world.directory.admit(&holder.applicant());
        let target = holder.target.and_then(|target| world.targets.get(target));
        let init = holder.session.init();
        let is_discovery = init.kind == SessionKind::Discovery;
        let named = init.target_name.as_ref().filter(|_| is_discovery);
        let served = |name: &IscsiName| world.targets.iter().any(|target| !target.removed && target.name == *name);
        match admitted {
            Ok(_) if is_discovery && named.is_none_or(served) => return,
            // The target is removed, and has its place still: its sessions are asked to log out. Where another target
            // has that place by now, the session ends below: it is not to be taken for a session of that one.
            Err(NoTarget::Removed) if target.is_some_and(|target| Some(&target.name) == init.target_name.as_ref()) => {
                if holder.target.and_then(|target| old.targets.get(target)).is_some_and(|old| !old.removed) {
                    holder.session.request_logout(&mut out);
                    self.pump(seat);
                }
                return;
            }
            // A normal session stays. All others end: a session whose initiator may not use the target any more has no
            // business in it, nor is what it has begun let go on at its own pace; and as long as a discovery session of
            // a target that is gone is there, no other target gets the place of that.
            Ok(_) if !is_discovery => {}
            _ if sings(Canary::LosersSessionKept) => return,
            _ => return self.end_seat(seat),
        }
        let init = holder.session.init();
        let shown = (&init.initiator.name, holder.text.peer(), holder.identity.as_deref());
        if world.directory.proof(holder.target, shown.0, shown.1, shown.2) != init.initiator.proof {
            // The initiator's port has another proof by now, so it is another port. The login that is to replace this
            // session would not find it, and what this session has on the medium could come behind what that login
            // writes.
            return self.end_seat(seat);
        }
        holder.access = admitted.ok();
        let map = holder.access.zip(target).map(|(access, target)| target.map(access)).unwrap_or_default();
        let inventory = *map != *holder.map;
        if inventory {
            self.change_map(seat, map);
        }
        // It may have ended with a connection that was cut.
        let Some(holder) = self.fabric.seats.get(seat) else { return };
        let LunMap { numbers, units } = &*holder.map;
        let grown =
            numbers.iter().zip(units).filter(|(_, unit)| resized.contains(unit) && !sings(Canary::CapacityUnannounced));
        let mut events: Vec<_> = grown.map(|(lun, _)| (*lun, Attention::CapacityDataHasChanged)).collect();
        if inventory && !sings(Canary::InventoryUnannounced) {
            events.extend(numbers.first().map(|lun| (*lun, Attention::ReportedLunsDataHasChanged)));
        }
        for (lun, attention) in events {
            let mut bytes = [0; sense::MAX_SENSE_BYTES];
            let len = sense::encode(&attention.sense(), &mut bytes);
            if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) {
                holder.session.async_scsi_event(Lun::flat(lun), bytes.get(..len).unwrap_or(&[]), &mut out);
            }
        }
        self.pump(seat);
    }

    /// A session ends: what it has with the medium keeps its range.
    fn end_seat(&mut self, seat: SeatIx) {
        if let Some(map) =
            self.fabric.seats.get(seat).required("the session that is to end").map(|holder| Arc::clone(&holder.map))
        {
            self.cut_unsent(&map.units, |of| of == seat);
        }
        // It may have ended with a connection that was cut.
        if let Some(Parts { seat: holder, .. }) = self.fabric.parts(seat) {
            holder.session.end(CloseReason::Reset);
        }
        self.pump(seat);
        self.sweep_seat(seat);
    }

    /// Gives a session another LUN map, with a nexus for each unit of it.
    fn change_map(&mut self, seat: SeatIx, map: Arc<LunMap>) {
        let world = Arc::clone(&self.fabric.world);
        let Some(holder) = self.fabric.seats.get_mut(seat).required("the session that was looked at") else { return };
        let old = std::mem::replace(&mut holder.map, map);
        let mut left: Vec<Option<LuNexus>> = std::mem::take(&mut holder.nexus).into_iter().map(Some).collect();
        let (id, port_group) = (NexusId(holder.serial), holder.session.init().target_portal_group);
        let peer = holder.text.peer();
        for &unit in &holder.map.units {
            let at = old.units.iter().zip(&left).position(|(old, nexus)| *old == unit && nexus.is_some());
            holder.nexus.push(match at.and_then(|at| left.get_mut(at)?.take()) {
                Some(mut nexus) => {
                    if !sings(Canary::InventoryUntold) {
                        nexus.attend(Attention::ReportedLunsDataHasChanged);
                    }
                    nexus
                }
                None => {
                    new_nexus(id, &world.units[unit], &holder.session.init().initiator, peer).by_port_group(port_group)
                }
            });
        }
        holder.sources.keep_units(&holder.map.units);
        let gone = old.units.iter().zip(left).filter_map(|(unit, nexus)| Some((*unit, nexus?)));
        let gone: Vec<(UnitIx, LuNexus)> = gone.filter(|(unit, _)| !holder.map.units.contains(unit)).collect();
        let lost: Vec<UnitIx> = gone.iter().map(|(unit, _)| *unit).collect();
        // A unit that is served to nobody any more goes on with the commands it has. A unit that others still find is
        // theirs from now on: the commands that this session has there are aborted.
        let taken =
            |unit: Option<UnitIx>| unit.is_some_and(|unit| lost.contains(&unit) && !world.leaving.contains(&unit));
        let (session, executor) = (&mut holder.session, &self.executor);
        if !sings(Canary::LosersCommandsKept) {
            session.abort_tasks_at(|task, lun| taken(unit_of(executor, seat, &old, task, lun)));
        }
        for (unit, nexus) in gone {
            world.units[unit].nexus_leaves(&nexus, session);
        }
        let taken: Vec<UnitIx> = lost.iter().copied().filter(|unit| taken(Some(*unit))).collect();
        if !taken.is_empty() {
            self.cut_unsent(&taken, |of| of == seat);
        }
    }

    /// Gives up the handles of units that are served no more, if nothing here uses them.
    pub fn leave_units(&mut self) {
        for unit in self.fabric.served.take_leaving() {
            if self.uses_unit(unit) {
                self.fabric.served.leaves_later(unit);
                continue;
            }
            self.executor.memory.places.clear();
            self.count_answered();
            self.executor.tally.forget(unit);
            self.fabric.seats.iter_mut().for_each(|seat| seat.passed.forget(unit));
            if let Some(troubles) = self.fabric.troubles.get_mut(unit) {
                *troubles = Troubles::default();
            }
            close_file(&self.fabric.io, unit);
            if let Some(handle) = self.executor.handles.get_mut(unit).required("the handle of a unit") {
                *handle = self.fabric.world.nothing.medium.handle(&self.executor.answers.way_in);
            }
            self.fabric.world.units[unit].let_go(self.fabric.neighbours.own());
        }
    }

    /// Whether a session finds a unit, or has something under way there.
    fn uses_unit(&mut self, unit: UnitIx) -> bool {
        self.executor.uses(unit)
            || self
                .fabric
                .seats
                .iter_mut()
                .any(|seat| seat.map.units.contains(&unit) || seat.sources.use_unit(unit, &seat.session))
    }
}
