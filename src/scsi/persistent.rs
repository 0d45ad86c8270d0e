//! PERSISTENT RESERVE IN and OUT (SPC-4 clauses 6.15, 6.16), RESERVE and RELEASE: CDBs and parameter data. What they do is
//! in [`super::reservation`].

use super::call::{Call, Planned};
use super::cdb::{be16, be32, be64, byte};
use super::plan::{Plan, Reply};
use super::reservation::{Asker, Change, ReservationType, Reservations};
use super::saved::{Next, Part};
use super::sense::{Outcome, asc};
use crate::limits;
use crate::model::{InitiatorPort, IscsiName, ItNexus};
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
    read(call, |reply, reservations| {
        for registration in &reservations.registrations {
            reply.put(&registration.key.to_be_bytes());
        }
        8 * reservations.registrations.len()
    })
}

/// READ RESERVATION.
pub(super) fn read_reservation(call: &mut Call) -> Planned {
    read(call, |reply, reservations| {
        let Some(held) = &reservations.held else { return 0 };
        reply.put(&reservations.holders_key(held).to_be_bytes());
        reply.put(&[0, 0, 0, 0, 0, held.kind as u8, 0, 0]);
        16
    })
}

/// READ FULL STATUS: one descriptor for each registration, or for those of one initiator port at all target ports.
pub(super) fn read_full_status(call: &mut Call) -> Planned {
    let ports = call.unit.state().ports.relative_ports();
    let wanted = usize::from(be16(call.cdb, 7));
    read(call, |reply, reservations| {
        const R_HOLDER: u8 = 0x01;
        const ALL_TG_PT: u8 = 0x02;
        let mut len = 0;
        for (registration, of_all_ports) in reservations.described(&ports) {
            let id = transport_id_len(&registration.nexus.initiator);
            len += 24 + id;
            // What is beyond is only counted: the table may be long, and all who use the unit wait meanwhile.
            if reply.data.len() >= wanted {
                continue;
            }
            let held = reservations.held.as_ref().filter(|_| reservations.holds(registration));
            let all = if of_all_ports { ALL_TG_PT } else { 0 };
            let (holder, kind) = held.map_or((0, 0), |held| (R_HOLDER, held.kind as u8));
            reply.put(&registration.key.to_be_bytes());
            reply.put(&[0, 0, 0, 0, holder | all, kind, 0, 0, 0, 0]);
            reply.put(&registration.nexus.target_port.to_be_bytes());
            reply.put(&(id as u32).to_be_bytes());
            put_transport_id(reply, &registration.nexus.initiator, id);
        }
        len
    })
}

/// PRGENERATION and ADDITIONAL LENGTH, then what `body` writes: all of it, or as much as is asked for. `body` answers
/// how many bytes all of it has.
//
// SPC-4 clause 6.15.2: "The contents of the ADDITIONAL LENGTH field are not altered based on the allocation length".
fn read(call: &mut Call, body: impl FnOnce(&mut Reply, &Reservations) -> usize) -> Planned {
    let state = call.unit.state();
    call.reply.put(&state.reservations.generation.to_be_bytes());
    call.reply.put(&[0; 4]);
    let len = body(call.reply, &state.reservations);
    call.reply.patch(4, &(len as u32).to_be_bytes());
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// REPORT CAPABILITIES: SIP_C, ATP_C, PTPL_C and whether that is activated, all six types.
pub(super) fn report_capabilities(call: &mut Call) -> Planned {
    const SIP_C: u8 = 0x08;
    const ATP_C: u8 = 0x04;
    const PTPL_C: u8 = 0x01;
    const TMV: u8 = 0x80;
    const PTPL_A: u8 = 0x01;
    let activated = if call.unit.state().reservations.aptpl { PTPL_A } else { 0 };
    call.reply.put(&[0, 8, SIP_C | ATP_C | PTPL_C, TMV | activated, 0xea, 0x01, 0, 0]);
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

/// Carries PERSISTENT RESERVE OUT out.
pub(super) fn out_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < LIST_BYTES || list.len() < be32(call.cdb, 5) as usize {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    call.change(Part::Reservations, list)
}

/// What the command makes of the reservations; the length of the list has been checked.
pub(super) fn decide(
    now: &Reservations,
    ports: &[u16],
    asker: &Asker,
    cdb: &[u8; 16],
    list: &[u8],
) -> Result<Next, Outcome> {
    let (action, nexus) = (cdb[1] & 0x1f, &asker.nexus);
    let (key, action_key) = (be64(list, 0), be64(list, 8));
    let kind = ReservationType::from_code(cdb[2] & 0x0f).filter(|_| cdb[2] >> 4 == 0);
    let mut next = now.clone();
    let change = match (action, kind) {
        (action::REGISTER | action::REGISTER_AND_IGNORE_EXISTING_KEY, _) => {
            register(&mut next, asker, action, ports, list)?
        }
        (action::RESERVE, Some(kind)) => next.reserve(nexus, key, kind)?,
        (action::RELEASE, kind) => next.release(nexus, key, kind)?,
        (action::CLEAR, _) => next.clear(nexus, key)?,
        (action::PREEMPT | action::PREEMPT_AND_ABORT, Some(kind)) => next.preempt(nexus, key, action_key, kind)?,
        (action::REGISTER_AND_MOVE, _) => register_and_move(&mut next, asker, ports, list)?,
        _ => return Err(Outcome::invalid_cdb_field(2, 3)),
    };
    Ok(Next::Reservations { next, change, abort: action == action::PREEMPT_AND_ABORT, ports: ports.to_vec() })
}

/// APTPL of the latest registration that was successful, from whatever nexus, says what a loss of power leaves (SPC-4
/// clause 5.13.5): also that of one that unregisters, but not of one that has nothing to do.
fn register(
    reservations: &mut Reservations,
    asker: &Asker,
    action: u8,
    ports: &[u16],
    list: &[u8],
) -> Result<Change, Outcome> {
    const APTPL: u8 = 0x01;
    const ALL_TG_PT: u8 = 0x04;
    const SPEC_I_PT: u8 = 0x08;
    let flags = byte(list, 20);
    let ignore = action == action::REGISTER_AND_IGNORE_EXISTING_KEY;
    let also = match (flags & SPEC_I_PT != 0, ignore) {
        (true, true) => return Err(Outcome::invalid_list_field(20, 3)),
        (true, false) => transport_ids(list)?,
        (false, _) if list.len() > LIST_BYTES => return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR)),
        (false, _) => Vec::new(),
    };
    let keys = (be64(list, 0), be64(list, 8));
    let registers = keys.1 != 0 || reservations.key_of(&asker.nexus).is_some();
    let all_ports = if flags & ALL_TG_PT != 0 { ports } else { &[] };
    let change = reservations.register(asker, keys, ignore, all_ports, &also)?;
    if registers {
        reservations.aptpl = flags & APTPL != 0;
    }
    Ok(change)
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
        // One initiator may not register so many anyhow: the list is refused before all of it is looked for in the
        // table.
        if ports.len() >= limits::REGISTRATIONS_PER_INITIATOR {
            return Err(Outcome::illegal(asc::INSUFFICIENT_REGISTRATION_RESOURCES));
        }
        ports.push(port);
        rest = rest.get(len..).unwrap_or(&[]);
    }
    Ok(ports)
}

fn register_and_move(
    reservations: &mut Reservations,
    asker: &Asker,
    ports: &[u16],
    list: &[u8],
) -> Result<Change, Outcome> {
    const APTPL: u8 = 0x01;
    const UNREG: u8 = 0x02;
    if be32(list, 20) as usize != list.len() - LIST_BYTES {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let target_port = be16(list, 18);
    if !ports.contains(&target_port) {
        return Err(Outcome::invalid_list_field(18, 7));
    }
    let id = list.get(LIST_BYTES..).and_then(parse_transport_id);
    let (initiator, _) = id.ok_or(Outcome::invalid_list_field(LIST_BYTES as u16, 7))?;
    let unregister = byte(list, 17) & UNREG != 0;
    let to = ItNexus { initiator, target_port };
    let change = reservations.register_and_move(asker, (be64(list, 0), be64(list, 8)), to, unregister)?;
    reservations.aptpl = byte(list, 17) & APTPL != 0;
    Ok(change)
}

/// Protocol identifier of iSCSI, and the format with name and ISID (SPC-4 clause 7.6.4.6).
const ISCSI_PORT: u8 = 0x45;

/// Behind the name in a TransportID: a separator, and an ISID as digits.
const ISID_BYTES: usize = ",i,0x".len() + 12;

/// Bytes of the TransportID of an initiator port.
fn transport_id_len(port: &InitiatorPort) -> usize {
    (4 + port.name.as_str().len() + ISID_BYTES + 1).next_multiple_of(4).max(24)
}

/// The TransportID of an initiator port, of that length: `name,i,0xISID`, NUL terminated, padded to four bytes.
fn put_transport_id(reply: &mut Reply, port: &InitiatorPort, len: usize) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let end = reply.data.len() + len;
    let [high, low] = ((len - 4) as u16).to_be_bytes();
    reply.put(&[ISCSI_PORT, 0, high, low]);
    reply.put(port.name.as_str().as_bytes());
    //= RFC 7143 section 4.4.2
    //# The SCSI port name MUST be used in iSCSI.
    //
    //= RFC 7143 section 4.4.2
    //# When used in SCSI parameter data, the SCSI port name MUST be encoded as:
    reply.put(b",i,0x");
    for byte in port.isid.0 {
        reply.put(&[byte >> 4, byte & 0x0f].map(|digit| DIGITS[usize::from(digit)]));
    }
    reply.data.resize(end, 0);
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
    Some((InitiatorPort::new(IscsiName::lenient(name).ok()?, Isid(isid)), len))
}

/// RESERVE(6) and RESERVE(10) (SPC-2 clauses 7.21, 7.22).
pub(super) fn reserve_unit(call: &mut Call) -> Planned {
    let mut state = call.unit.state();
    // A registration that is being saved does not show yet, but this command would conflict with it.
    if call.unit.is_saving() {
        return Err(Outcome::BUSY);
    }
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
