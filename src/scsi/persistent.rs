//! PERSISTENT RESERVE IN and OUT (SPC-4 clauses 6.15, 6.16), RESERVE and RELEASE: CDBs and parameter data. What they do is
//! in [`super::reservation`].

use super::attention::Recipients;
use super::cdb::{be16, be32, be64, byte};
use super::opcode::{Call, Planned};
use super::plan::{Outcome, Plan, Reply};
use super::reservation::{Change, ReservationType, Reservations};
use super::sense::asc;
use super::unit::State;
use crate::limits;
use crate::model::{InitiatorPort, IscsiName};
use crate::wire::Isid;

/// Bytes of the parameter list of all service actions but REGISTER with SPEC_I_PT and REGISTER AND MOVE.
const LIST_BYTES: usize = 24;

pub(super) mod action {
    pub const REGISTER: u8 = 0x00;
    pub const RESERVE: u8 = 0x01;
    pub const RELEASE: u8 = 0x02;
    pub const CLEAR: u8 = 0x03;
    pub const PREEMPT: u8 = 0x04;
    pub const PREEMPT_AND_ABORT: u8 = 0x05;
    pub const REGISTER_AND_IGNORE_EXISTING_KEY: u8 = 0x06;
    pub const REGISTER_AND_MOVE: u8 = 0x07;
}

/// READ KEYS.
pub(super) fn read_keys(call: &mut Call) -> Planned {
    read(call, |reply, reservations, _| {
        for registration in &reservations.registrations {
            reply.put(&registration.key.to_be_bytes());
        }
    })
}

/// READ RESERVATION.
pub(super) fn read_reservation(call: &mut Call) -> Planned {
    read(call, |reply, reservations, _| {
        if let Some(held) = &reservations.held {
            reply.put(&reservations.holders_key(held).to_be_bytes());
            reply.put(&[0, 0, 0, 0, 0, held.kind as u8, 0, 0]);
        }
    })
}

/// READ FULL STATUS: one descriptor for each registration.
pub(super) fn read_full_status(call: &mut Call) -> Planned {
    read(call, |reply, reservations, relative_port| {
        const R_HOLDER: u8 = 0x01;
        const ALL_TG_PT: u8 = 0x02;
        for registration in &reservations.registrations {
            let held = reservations.held.as_ref().filter(|_| reservations.is_holder(&registration.port));
            let all = if registration.all_target_ports { ALL_TG_PT } else { 0 };
            let (holder, kind) = held.map_or((0, 0), |held| (R_HOLDER, held.kind as u8));
            reply.put(&registration.key.to_be_bytes());
            reply.put(&[0, 0, 0, 0, holder | all, kind, 0, 0, 0, 0]);
            reply.put(&relative_port.to_be_bytes());
            let id = transport_id(&registration.port);
            reply.put(&(id.len() as u32).to_be_bytes());
            reply.put(&id);
        }
    })
}

/// PRGENERATION and ADDITIONAL LENGTH, then what `body` writes.
fn read(call: &mut Call, body: impl FnOnce(&mut Reply, &Reservations, u16)) -> Planned {
    let state = call.unit.state();
    call.reply.put(&state.reservations.generation.to_be_bytes());
    call.reply.put(&[0; 4]);
    body(call.reply, &state.reservations, state.ports.relative_port(call.nexus.port_group));
    call.reply.patch_u32(4, 8);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// REPORT CAPABILITIES: SIP_C and ATP_C, no APTPL, all six types.
pub(super) fn report_capabilities(call: &mut Call) -> Planned {
    const SIP_C: u8 = 0x08;
    const ATP_C: u8 = 0x04;
    const TMV: u8 = 0x80;
    call.reply.put(&[0, 8, SIP_C | ATP_C, TMV, 0xea, 0x01, 0, 0]);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// PERSISTENT RESERVE OUT: checks scope and type, and asks for the parameter list.
pub(super) fn out(call: &mut Call) -> Planned {
    let len_bytes = be32(call.cdb, 5);
    let action = call.cdb[1] & 0x1f;
    if matches!(action, action::RESERVE | action::PREEMPT | action::PREEMPT_AND_ABORT) {
        if call.cdb[2] >> 4 != 0 {
            return Err(Outcome::invalid_cdb_field(2, 7));
        }
        if ReservationType::from_code(call.cdb[2] & 0x0f).is_none() {
            return Err(Outcome::invalid_cdb_field(2, 3));
        }
    }
    let longer = matches!(action, action::REGISTER | action::REGISTER_AND_MOVE);
    let least = LIST_BYTES as u32;
    if len_bytes < least || (len_bytes > least && !longer) || len_bytes as usize > limits::MAX_PARAMETER_BYTES {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    Ok(Plan::Parameters { len_bytes })
}

/// Carries PERSISTENT RESERVE OUT out, and tells whom it concerns.
pub(super) fn out_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < LIST_BYTES || list.len() < be32(call.cdb, 5) as usize {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let port = call.command.initiator;
    let action = call.cdb[1] & 0x1f;
    let (key, action_key) = (be64(list, 0), be64(list, 8));
    let kind = ReservationType::from_code(call.cdb[2] & 0x0f).filter(|_| call.cdb[2] >> 4 == 0);
    let mut state = call.unit.state();
    let relative_port = state.ports.relative_port(call.nexus.port_group);
    let reservations = &mut state.reservations;
    let change = match (action, kind) {
        (action::REGISTER | action::REGISTER_AND_IGNORE_EXISTING_KEY, _) => register(reservations, port, action, list)?,
        (action::RESERVE, Some(kind)) => reservations.reserve(port, key, kind)?,
        (action::RELEASE, kind) => reservations.release(port, key, kind)?,
        (action::CLEAR, _) => reservations.clear(port, key)?,
        (action::PREEMPT | action::PREEMPT_AND_ABORT, Some(kind)) => {
            reservations.preempt(port, key, action_key, kind)?
        }
        (action::REGISTER_AND_MOVE, _) => register_and_move(reservations, port, relative_port, list)?,
        _ => return Err(Outcome::invalid_cdb_field(2, 3)),
    };
    adopt(call, &mut state, change, action == action::PREEMPT_AND_ABORT);
    Ok(Plan::Done(Outcome::GOOD))
}

/// Posts the unit attentions, and moves the generation so that every nexus looks at the reservations again.
fn adopt(call: &mut Call, state: &mut State, change: Change, abort: bool) {
    if abort {
        call.reply.aborts = change.preempted;
    }
    for (attention, ports) in change.attentions {
        call.unit.post(state, attention, Recipients::Ports(ports, Some(call.nexus.id)));
    }
    call.unit.changed(state);
}

fn register(reservations: &mut Reservations, port: &InitiatorPort, action: u8, list: &[u8]) -> Result<Change, Outcome> {
    const APTPL: u8 = 0x01;
    const ALL_TG_PT: u8 = 0x04;
    const SPEC_I_PT: u8 = 0x08;
    let flags = byte(list, 20);
    let ignore = action == action::REGISTER_AND_IGNORE_EXISTING_KEY;
    if flags & APTPL != 0 {
        return Err(Outcome::invalid_list_field(20, 0));
    }
    let also = match (flags & SPEC_I_PT != 0, ignore) {
        (true, true) => return Err(Outcome::invalid_list_field(20, 3)),
        (true, false) => transport_ids(list)?,
        (false, _) if list.len() > LIST_BYTES => return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR)),
        (false, _) => Vec::new(),
    };
    reservations.register(port, (be64(list, 0), be64(list, 8)), ignore, flags & ALL_TG_PT != 0, &also)
}

/// The TransportIDs of REGISTER with SPEC_I_PT: a length, then one after the other.
fn transport_ids(list: &[u8]) -> Result<Vec<InitiatorPort>, Outcome> {
    let len = be32(list, 24) as usize;
    let Some(mut rest) = list.get(28..).filter(|ids| ids.len() == len) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    let mut ports = Vec::new();
    while !rest.is_empty() {
        let at = (list.len() - rest.len()) as u16;
        let (port, len) = parse_transport_id(rest).ok_or(Outcome::invalid_list_field(at, 7))?;
        if ports.len() >= limits::REGISTRATIONS {
            return Err(Outcome::illegal(asc::INSUFFICIENT_REGISTRATION_RESOURCES));
        }
        ports.push(port);
        rest = rest.get(len..).unwrap_or(&[]);
    }
    Ok(ports)
}

fn register_and_move(
    reservations: &mut Reservations,
    port: &InitiatorPort,
    relative_port: u16,
    list: &[u8],
) -> Result<Change, Outcome> {
    const APTPL: u8 = 0x01;
    const UNREG: u8 = 0x02;
    if byte(list, 17) & APTPL != 0 {
        return Err(Outcome::invalid_list_field(17, 0));
    }
    if be32(list, 20) as usize != list.len() - LIST_BYTES {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    if be16(list, 18) != relative_port {
        return Err(Outcome::invalid_list_field(18, 7));
    }
    let id = list.get(LIST_BYTES..).and_then(parse_transport_id);
    let (to, _) = id.ok_or(Outcome::invalid_list_field(LIST_BYTES as u16, 7))?;
    reservations.register_and_move(port, (be64(list, 0), be64(list, 8)), to, byte(list, 17) & UNREG != 0)
}

/// Protocol identifier of iSCSI, and the format with name and ISID (SPC-4 clause 7.6.4.6).
const ISCSI_PORT: u8 = 0x45;

/// The TransportID of an initiator port: `name,i,0xISID`, NUL terminated, padded to four bytes.
fn transport_id(port: &InitiatorPort) -> Vec<u8> {
    let mut id = vec![ISCSI_PORT, 0, 0, 0];
    id.extend_from_slice(port.name.as_str().as_bytes());
    id.extend_from_slice(b",i,0x");
    for byte in port.isid.0 {
        id.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    id.resize((id.len() + 1).next_multiple_of(4).max(24), 0);
    let [high, low] = ((id.len() - 4) as u16).to_be_bytes();
    id[2] = high;
    id[3] = low;
    id
}

/// The initiator port of a TransportID, and how long that is. Only the format with an ISID names a port.
fn parse_transport_id(bytes: &[u8]) -> Option<(InitiatorPort, usize)> {
    if byte(bytes, 0) != ISCSI_PORT {
        return None;
    }
    let len = 4 + usize::from(be16(bytes, 2));
    let text = bytes.get(4..len)?;
    let text = text.split(|byte| *byte == 0).next()?;
    let (name, isid) = std::str::from_utf8(text).ok()?.split_once(",i,")?;
    let digits = isid.strip_prefix("0x").or(isid.strip_prefix("0X")).unwrap_or(isid);
    if digits.len() != 12 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, 16).ok()?;
    let isid = *value.to_be_bytes().last_chunk::<6>()?;
    Some((InitiatorPort { name: IscsiName::new(name).ok()?, isid: Isid(isid) }, len))
}

/// RESERVE(6) and RESERVE(10) (SPC-2 clauses 7.21, 7.22).
pub(super) fn reserve_unit(call: &mut Call) -> Planned {
    let mut state = call.unit.state();
    state.reservations.reserve_unit(call.nexus.id)?;
    call.unit.changed(&state);
    Ok(Plan::Done(Outcome::GOOD))
}

/// RELEASE(6) and RELEASE(10) (SPC-2 clauses 7.16, 7.17).
pub(super) fn release_unit(call: &mut Call) -> Planned {
    let mut state = call.unit.state();
    state.reservations.release_unit(call.nexus.id)?;
    call.unit.changed(&state);
    Ok(Plan::Done(Outcome::GOOD))
}
