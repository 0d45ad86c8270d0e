//! VPD page 8Fh, third-party copy (SPC-4 clause 7.8.17), and RECEIVE COPY OPERATING PARAMETERS (SPC-4 clause 6.21): what
//! the copy manager can do. Both say the same limits, from [`crate::limits`].

use super::call::{Call, Planned};
use super::cdb::be32;
use super::copy::{self, in_action, out_action};
use super::copy_request::IDENTIFICATION_DESCRIPTOR;
use super::params::LuParams;
use super::plan::Reply;
use super::tokens;
use crate::limits;

/// Descriptor type codes of CSCDs and segments that are supported, ascending.
const DESCRIPTOR_TYPES: [u8; 2] = [copy::BLOCK_TO_BLOCK, IDENTIFICATION_DESCRIPTOR];

/// The third-party copy descriptors of the page. Block device ROD limits come first: Windows looks for them there.
pub(super) fn third_party_copy(reply: &mut Reply, params: &LuParams) {
    let block_bytes = u64::from(params.block_bytes.max(1));
    descriptor(reply, 0x0000, |reply| {
        reply.put(&[0; 6]);
        reply.put(&(limits::ROD_RANGES as u16).to_be_bytes());
        reply.put(&limits::ROD_MAX_TIMEOUT_S.to_be_bytes());
        reply.put(&limits::ROD_DEFAULT_TIMEOUT_S.to_be_bytes());
        reply.put(&(limits::MAX_ROD_BYTES / block_bytes).to_be_bytes());
        reply.put(&(limits::OPTIMAL_ROD_BYTES / block_bytes).to_be_bytes());
    });
    descriptor(reply, 0x0001, supported_commands);
    descriptor(reply, 0x0004, |reply| {
        reply.put(&[0; 4]);
        reply.put(&(limits::COPY_CSCD_DESCRIPTORS as u16).to_be_bytes());
        reply.put(&(limits::COPY_SEGMENT_DESCRIPTORS as u16).to_be_bytes());
        reply.put(&(copy::MAX_DESCRIPTOR_BYTES as u32).to_be_bytes());
        reply.put(&[0; 16]);
    });
    descriptor(reply, 0x0008, |reply| {
        reply.put(&[DESCRIPTOR_TYPES.len() as u8]);
        reply.put(&DESCRIPTOR_TYPES);
    });
    descriptor(reply, 0x000c, |reply| {
        reply.put(&[0, 2]);
        reply.put(&copy::THIS_LOGICAL_UNIT.to_be_bytes());
    });
    descriptor(reply, 0x0106, rod_token_features);
    descriptor(reply, 0x0108, |reply| {
        let types = [(tokens::POINT_IN_TIME_CHANGE_VULNERABLE, TOKEN_IN | TOKEN_OUT), (tokens::ZERO, TOKEN_IN)];
        reply.put(&[0, 0]);
        reply.put(&(64 * types.len() as u16).to_be_bytes());
        for (rod_type, flags) in types {
            reply.put(&rod_type.to_be_bytes());
            reply.put(&[flags]);
            reply.put(&[0; 59]);
        }
    });
    descriptor(reply, 0x8001, |reply| {
        reply.put(&(limits::COPY_OPERATIONS as u32).to_be_bytes());
        reply.put(&(limits::COPY_OPERATIONS as u32).to_be_bytes());
        reply.put(&copy::MAX_SEGMENT_BYTES.to_be_bytes());
        reply.put(&[GRANULARITY_LOG2, 0]);
        reply.put(&[0; 18]);
    });
}

/// TIN: WRITE USING TOKEN takes tokens of the type.
const TOKEN_IN: u8 = 0x02;
/// TOUT: POPULATE TOKEN makes them.
const TOKEN_OUT: u8 = 0x01;
/// DATA SEGMENT GRANULARITY: segments are whole blocks, at least 512 bytes.
const GRANULARITY_LOG2: u8 = 9;

fn supported_commands(reply: &mut Reply) {
    let commands: [(u8, &[u8]); 2] = [
        (
            0x83,
            &[
                out_action::EXTENDED_COPY_LID1,
                out_action::POPULATE_TOKEN,
                out_action::WRITE_USING_TOKEN,
                out_action::COPY_OPERATION_ABORT,
            ],
        ),
        (
            0x84,
            &[
                in_action::RECEIVE_COPY_STATUS_LID1,
                in_action::RECEIVE_COPY_OPERATING_PARAMETERS,
                in_action::RECEIVE_COPY_FAILURE_DETAILS,
                in_action::RECEIVE_ROD_TOKEN_INFORMATION,
            ],
        ),
    ];
    let len: usize = commands.iter().map(|(_, actions)| 2 + actions.len()).sum();
    reply.put(&[len as u8]);
    for (opcode, actions) in commands {
        reply.put(&[opcode, actions.len() as u8]);
        reply.put(actions);
    }
}

/// Tokens are of use to this copy manager only (REMOTE TOKENS 0), and live as long as they are used.
fn rod_token_features(reply: &mut Reply) {
    const MINIMUM_LIFETIME_S: u32 = 1;
    reply.put(&[0; 12]);
    reply.put(&MINIMUM_LIFETIME_S.to_be_bytes());
    reply.put(&u32::MAX.to_be_bytes());
    reply.put(&limits::ROD_MAX_TIMEOUT_S.to_be_bytes());
    reply.put(&[0; 18]);
    reply.put(&48u16.to_be_bytes());
    // Block devices.
    reply.put(&[0, 0, 0, 44, 0, 0, 0, 0]);
    for bytes in
        [limits::MAX_ROD_BYTES, limits::OPTIMAL_ROD_BYTES, limits::OPTIMAL_ROD_BYTES, limits::OPTIMAL_ROD_BYTES]
    {
        reply.put(&bytes.to_be_bytes());
    }
    reply.put(&[0; 8]);
}

/// A third-party copy descriptor: type, length, and what `body` writes, padded to a multiple of four.
fn descriptor(reply: &mut Reply, kind: u16, body: impl FnOnce(&mut Reply)) {
    let start = reply.data.len();
    reply.put(&kind.to_be_bytes());
    reply.put(&[0, 0]);
    body(reply);
    let padded = reply.data.len().next_multiple_of(4);
    reply.data.resize(padded, 0);
    reply.patch_u16(start + 2, start + 4);
}

/// RECEIVE COPY OPERATING PARAMETERS. SNLID: EXTENDED COPY may do without a list identifier.
pub(super) fn operating_parameters(call: &mut Call) -> Planned {
    const SNLID: u8 = 0x01;
    let reply = &mut *call.reply;
    reply.put(&[0, 0, 0, 0, SNLID, 0, 0, 0]);
    reply.put(&(limits::COPY_CSCD_DESCRIPTORS as u16).to_be_bytes());
    reply.put(&(limits::COPY_SEGMENT_DESCRIPTORS as u16).to_be_bytes());
    reply.put(&(copy::MAX_DESCRIPTOR_BYTES as u32).to_be_bytes());
    reply.put(&copy::MAX_SEGMENT_BYTES.to_be_bytes());
    // No inline data, no held data, no stream devices.
    reply.put(&[0; 14]);
    reply.put(&(limits::COPY_OPERATIONS as u16).to_be_bytes());
    reply.put(&[limits::COPY_OPERATIONS as u8, GRANULARITY_LOG2, 0, 0, 0, 0, 0]);
    reply.put(&[DESCRIPTOR_TYPES.len() as u8]);
    reply.put(&DESCRIPTOR_TYPES);
    reply.patch_u32(0, 4);
    reply.finish(be32(call.cdb, 10) as usize)
}
