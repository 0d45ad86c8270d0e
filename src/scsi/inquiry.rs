//! INQUIRY (SPC-4 clause 6.6; MMC-6): standard data here, vital product data in [`super::vpd`].

use super::call::{Call, Planned};
use super::cdb::be16;
use super::identity::VENDOR;
use super::plan::{Command, Reply};
use super::sense::Outcome;
use super::vpd;

/// First byte of INQUIRY data: peripheral qualifier and device type of a direct access block device.
pub(super) const DIRECT_ACCESS: u8 = 0x00;
/// First byte of INQUIRY data of a CD-ROM or DVD-ROM.
pub(super) const CD_DVD: u8 = 0x05;
/// PERIPHERAL QUALIFIER 001b: the unit is asked by way of a port that is unavailable (SPC-4 clause 5.15.2.4.5).
const NOT_REACHED: u8 = 0x20;
/// First byte of INQUIRY data of the REPORT LUNS well-known logical unit.
pub(super) const WELL_KNOWN: u8 = 0x1e;
/// First byte of INQUIRY data of a LUN where no logical unit can be: qualifier 011b, unknown device type.
pub(super) const NOTHING: u8 = 0x7f;

/// PRODUCT IDENTIFICATION: the same for all disks, because hosts decide by it which units are of one array.
const DISK: &[u8; 16] = b"VIRTUAL-DISK    ";
const CDROM: &[u8; 16] = b"VIRTUAL-CDROM   ";
/// PRODUCT REVISION LEVEL: the version's first two numbers.
const REVISION: &str = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// Version descriptors (SPC-4 table 142): SAM-5 and SPC-4, which the VERSION field says too, and SBC-3 or MMC-6. "No version
/// claimed": what is done here is not held to one revision of a standard.
const VERSIONS: [u16; 2] = [0x00a0, 0x0460];
const SBC_3: u16 = 0x04c0;
const MMC_6: u16 = 0x04e0;
/// The version descriptor of iSCSI at iSCSIProtocolLevel 0.
const ISCSI: u16 = 0x0960;

pub(super) fn inquiry(call: &mut Call) -> Planned {
    let params = call.unit.params();
    let device_type = if params.cdrom { CD_DVD } else { DIRECT_ACCESS };
    let peripheral = if call.nexus.port_is_unavailable() { device_type | NOT_REACHED } else { device_type };
    match (call.cdb[1] & 0x01 != 0, call.cdb[2]) {
        (false, 0) => standard(call.reply, peripheral, params.removable, call.command),
        (false, _) => return Err(Outcome::invalid_cdb_field(2, 7)),
        (true, page) => vpd::page(call, peripheral, page)?,
    }
    call.reply.finish(usize::from(be16(call.cdb, 3)))
}

/// Standard INQUIRY data: 96 bytes.
pub(super) fn standard(reply: &mut Reply, peripheral: u8, removable: bool, command: &Command) {
    const RMB: u8 = 0x80;
    const SPC_4: u8 = 0x06;
    const HISUP: u8 = 0x10;
    const RESPONSE_DATA_FORMAT: u8 = 0x02;
    const CMDQUE: u8 = 0x02;
    const TPGS_IMPLICIT_AND_EXPLICIT: u8 = 0x30;
    const TOTAL_BYTES: usize = 96;
    const THIRD_PARTY_COPY: u8 = 0x08;
    let device_type = peripheral & !NOT_REACHED;
    let tpgs = match device_type {
        DIRECT_ACCESS => TPGS_IMPLICIT_AND_EXPLICIT | THIRD_PARTY_COPY,
        CD_DVD => TPGS_IMPLICIT_AND_EXPLICIT,
        _ => 0,
    };
    let is_cdrom = device_type == CD_DVD;
    let rmb = if removable { RMB } else { 0 };
    reply.put(&[peripheral, rmb, SPC_4, HISUP | RESPONSE_DATA_FORMAT, (TOTAL_BYTES - 5) as u8, tpgs, 0, CMDQUE]);
    reply.put(VENDOR);
    reply.put(if is_cdrom { CDROM } else { DISK });
    reply.put_padded(REVISION.as_bytes(), 4, b' ');
    reply.put(&[0; 22]);
    //= RFC 7144 section 4.2
    //# If the SCSI device server returns an iSCSI version descriptor in the
    //# standard INQUIRY data, then the value returned in that iSCSI version
    //# descriptor MUST be set to the sum of the base value (0960h) plus the
    //# negotiated value of the iSCSIProtocolLevel key.
    let iscsi = ISCSI + u16::from(command.protocol_level & 0x1f);
    let command_set = if is_cdrom { MMC_6 } else { SBC_3 };
    for version in VERSIONS.into_iter().chain([command_set, iscsi]) {
        reply.put(&version.to_be_bytes());
    }
    reply.data.resize(TOTAL_BYTES, 0);
}
