//! What a logical unit, its target and the ports on the way to it are called: VPD page 83h (SPC-4 clause 7.8.6), and page
//! 88h (clause 7.8.15). The logical unit has the same names on every path; the port is the one that was asked.

use super::call::Call;
use super::identity::VENDOR;
use super::params::LuParams;
use super::plan::Reply;

/// Who a designator names (SPC-4 table 603).
mod association {
    pub const LOGICAL_UNIT: u8 = 0x00;
    pub const TARGET_PORT: u8 = 0x10;
    pub const TARGET_DEVICE: u8 = 0x20;
}

const BINARY: u8 = 0x1;
const ASCII: u8 = 0x2;
const UTF_8: u8 = 0x3;
const NAME_STRING: u8 = 0x8;

/// Page 83h: what multipath software puts paths together by.
pub(super) fn device_identification(call: &mut Call) {
    const T10_VENDOR: u8 = 0x1;
    const NAA: u8 = 0x3;
    const RELATIVE_PORT: u8 = 0x4;
    const PORT_GROUP: u8 = 0x5;
    let (params, tag) = (call.unit.params(), call.nexus.port_group);
    let relative_port = call.unit.state().ports.relative_port(tag);
    designator(call.reply, BINARY, association::LOGICAL_UNIT | NAA, &params.naa);
    let serial = params.serial.as_bytes();
    let vendor_id: Vec<u8> = VENDOR.iter().chain(serial).copied().take(252).collect();
    designator(call.reply, ASCII, association::LOGICAL_UNIT | T10_VENDOR, &vendor_id);
    port_name(call.reply, params, tag);
    designator(call.reply, BINARY, association::TARGET_PORT | RELATIVE_PORT, &low_half(relative_port));
    designator(call.reply, BINARY, association::TARGET_PORT | PORT_GROUP, &low_half(tag));
    //= RFC 7143 section 4.4.2
    //# The SCSI device name is defined to be the iSCSI name of the node and
    //# MUST be used in the iSCSI protocol.
    designator(call.reply, UTF_8, association::TARGET_DEVICE | NAME_STRING, &name_string(&params.target_name));
}

/// Page 88h: every target port, by number and name.
pub(super) fn scsi_ports(call: &mut Call) {
    let params = call.unit.params();
    for port in call.unit.state().ports.all() {
        call.reply.put(&[0, 0]);
        call.reply.put(&port.relative_port.to_be_bytes());
        // No initiator port, so no TransportID.
        call.reply.put(&[0, 0, 0, 0]);
        let lengths = call.reply.data.len();
        call.reply.put(&[0; 4]);
        port_name(call.reply, params, port.tag);
        call.reply.patch_u16(lengths + 2, lengths + 4);
    }
}

/// The designation descriptor of a target port by its name (RFC 7143 section 4.2.7.1: the target's name, ",t,0x" and the
/// portal group tag).
fn port_name(reply: &mut Reply, params: &LuParams, tag: u16) {
    //= RFC 7143 section 4.4.2
    //# The SCSI port name MUST be used in iSCSI.
    //
    //= RFC 7143 section 4.4.2
    //# When used in SCSI parameter data, the SCSI port name MUST be encoded as:
    let port = format!("{},t,0x{tag:04x}", params.target_name);
    designator(reply, UTF_8, association::TARGET_PORT | NAME_STRING, &name_string(&port));
}

/// One designation descriptor. PIV and the protocol (iSCSI) go with ports and devices.
fn designator(reply: &mut Reply, code_set: u8, association_and_type: u8, bytes: &[u8]) {
    const PIV: u8 = 0x80;
    const ISCSI: u8 = 0x50;
    let of_unit = association_and_type & 0x30 == association::LOGICAL_UNIT;
    let (protocol, piv) = if of_unit { (0, 0) } else { (ISCSI, PIV) };
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    reply.put(&[protocol | code_set, piv | association_and_type, 0, len]);
    reply.put(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

/// A SCSI name string: NUL at its end, and padded with NULs to a multiple of four (SPC-4 clause 7.8.6.11).
fn name_string(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(251);
    bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
    bytes
}

fn low_half(value: u16) -> [u8; 4] {
    let [high, low] = value.to_be_bytes();
    [0, 0, high, low]
}
