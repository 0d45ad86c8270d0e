//! Asymmetric logical unit access (SPC-4 clause 5.15.2): the target port groups of a logical unit and their states, REPORT
//! TARGET PORT GROUPS and SET TARGET PORT GROUPS.
//!
//! Each logical unit has its own states, to begin with those of the configuration. They change at once, so there is no
//! "transitioning"; a change is told every nexus, on all ports, with 2A/06. What goes in which state is in the command
//! table: [`super::class::STANDBY`] and [`super::class::UNAVAILABLE`].
//!
//! Not here: offline, which is a state of ports and set where they are managed; states that depend on the LBA. States set
//! by a command do not outlast the process.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::cdb::{be16, be32};
use super::plan::{Plan, Reply};
use super::ports::{Cause, Group};
use super::sense::{Outcome, asc};
use super::unit::LogicalUnit;
use crate::limits;
use crate::model::{AccessState, PortGroup};

/// IMPLICIT TRANSITION TIME, seconds: a reload of the configuration takes much less.
const IMPLICIT_TRANSITION_S: u8 = 10;

impl LogicalUnit {
    /// Sets the target port groups that it is found through from now on, with the states that they begin with. If that
    /// changes anything, every nexus is told 2A/06 (SPC-4 clause 5.15.2.5: an implicit change).
    pub fn set_port_groups(&self, groups: &[PortGroup]) {
        let mut state = self.state();
        let old = state.ports.relative_ports();
        if state.ports.configure(groups) {
            state.spread_registrations(&old);
            self.changed(&state);
            self.post(&mut state, Attention::AsymmetricAccessStateChanged, Recipients::Except(None));
        }
    }
}

/// REPORT TARGET PORT GROUPS (SPC-4 clause 6.37), in both header formats.
pub(super) fn report(call: &mut Call) -> Planned {
    const EXTENDED: u8 = 0x20;
    const FORMAT_EXTENDED: u8 = 0x10;
    call.reply.put(&[0; 4]);
    if call.cdb[1] & EXTENDED != 0 {
        call.reply.put(&[FORMAT_EXTENDED, IMPLICIT_TRANSITION_S, 0, 0]);
    }
    for group in &call.unit.state().ports.0 {
        descriptor(call.reply, group);
    }
    call.reply.patch_u32(0, 4);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// One target port group descriptor.
fn descriptor(reply: &mut Reply, group: &Group) {
    const PREF: u8 = 0x80;
    /// U_SUP, S_SUP, AN_SUP, AO_SUP.
    const SUPPORTED: u8 = 0x0f;
    let preferred = if group.configured.state == AccessState::ActiveOptimized { PREF } else { 0 };
    reply.put(&[preferred | group.state as u8, SUPPORTED]);
    reply.put(&group.configured.tag.to_be_bytes());
    reply.put(&[0, group.cause as u8, 0, 1, 0, 0]);
    reply.put(&group.configured.relative_port.to_be_bytes());
}

/// Bytes of the header of SET TARGET PORT GROUPS' parameter list, and of each of its descriptors.
const DESCRIPTOR_BYTES: usize = 4;

/// SET TARGET PORT GROUPS (SPC-4 clause 6.45): a command without a list is no error and changes nothing.
pub(super) fn set(call: &mut Call) -> Planned {
    match be32(call.cdb, 6) {
        0 => Ok(Plan::Done(Outcome::GOOD)),
        len_bytes if len_bytes as usize <= limits::MAX_PARAMETER_BYTES => Ok(Plan::Parameters { len_bytes }),
        _ => Err(Outcome::invalid_cdb_field(6, 7)),
    }
}

/// The list of SET TARGET PORT GROUPS: all of it is looked at before anything is changed.
pub(super) fn set_list(call: &mut Call, list: &[u8]) -> Planned {
    let announced = be32(call.cdb, 6) as usize;
    if list.len() < announced || list.len() < DESCRIPTOR_BYTES || !list.len().is_multiple_of(DESCRIPTOR_BYTES) {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let mut state = call.unit.state();
    let mut wanted: Vec<(u16, AccessState)> = Vec::new();
    let (descriptors, _) = list.as_chunks::<DESCRIPTOR_BYTES>();
    for (number, descriptor) in descriptors.iter().enumerate().skip(1) {
        let at = (number * DESCRIPTOR_BYTES) as u16;
        let tag = be16(descriptor, 2);
        // Offline and transitioning are not to be asked for; the bits above the state are reserved.
        let Some(&to) = AccessState::ALL.get(usize::from(descriptor[0])) else {
            return Err(Outcome::invalid_list_field(at, 3));
        };
        let named = wanted.iter().any(|(named, _)| *named == tag);
        if named || state.ports.group(tag).is_none() {
            return Err(Outcome::invalid_list_field(at + 2, 7));
        }
        wanted.push((tag, to));
    }
    let mut changed = false;
    for group in &mut state.ports.0 {
        if let Some((_, to)) = wanted.iter().find(|(tag, _)| *tag == group.configured.tag) {
            changed |= group.state != *to;
            (group.state, group.cause) = (*to, Cause::Command);
        }
    }
    if changed {
        let others = Recipients::Except(Some(call.nexus.id()));
        call.unit.post(&mut state, Attention::AsymmetricAccessStateChanged, others);
    }
    Ok(Plan::Done(Outcome::GOOD))
}
