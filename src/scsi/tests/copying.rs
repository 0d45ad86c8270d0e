//! Third-party copies: parameter lists of EXTENDED COPY, what is made of them among several logical units, and what tests of
//! the token commands (`copying/tokens.rs`) share with that.

mod tokens;

use super::super::copy_begin::{Begun, CopyStep, CopyWork, Peer, Scene, begin};
use super::*;
use crate::model::MediumFault;
use proptest::collection::vec;
use proptest::prelude::*;

/// A target with three logical units, the last with longer blocks, and one of another target.
struct Array {
    units: Vec<LogicalUnit>,
    foreign: LogicalUnit,
}

/// One initiator's nexuses with all of them.
struct Fabric<'a> {
    array: &'a Array,
    nexuses: Vec<LuNexus>,
    port: InitiatorPort,
    reply: Reply,
    now: Now,
    seed: u8,
}

const OTHER: &str = "iqn.2026-01.org.example:other";

impl Array {
    fn new() -> Array {
        let unit = |lun: u16, block_bytes, name: &str| {
            let naa = identity::naa(name, lun, None);
            LogicalUnit::new(LuParams { naa, block_bytes, blocks: 10_000, physical_block_bytes: 4096, ..params() })
        };
        let units = vec![unit(0, 512, TARGET), unit(1, 512, TARGET), unit(2, 4096, TARGET)];
        Array { units, foreign: unit(0, 512, OTHER) }
    }

    fn host(&self, number: u8) -> Fabric<'_> {
        let id = NexusId(u64::from(number));
        let nexuses = self.units.iter().map(|unit| LuNexus::new(id, unit)).collect();
        let now = NOW;
        let mut host = Fabric { array: self, nexuses, port: port(number), reply: Reply::default(), now, seed: number };
        for lun in 0..self.units.len() {
            assert_eq!(sense_of(host.plan(lun, &[0x00], &[])), (6, 0x2900));
        }
        host
    }
}

impl Fabric<'_> {
    fn plan(&mut self, lun: usize, cdb: &[u8], list: &[u8]) -> Plan {
        let cdb = padded(cdb);
        let command = Command {
            cdb: &cdb,
            lun: Lun::flat(lun as u16),
            initiator: &self.port,
            protocol_level: 1,
            luns: &[0, 1, 2],
            now: self.now,
        };
        let unit = &self.array.units[lun];
        match unit.plan(&mut self.nexuses[lun], &command, &mut self.reply) {
            Plan::Parameters { .. } => unit.parameters(&mut self.nexuses[lun], &command, list, &mut self.reply),
            plan => plan,
        }
    }

    /// Sends a command that copies.
    fn copy(&mut self, lun: usize, cdb: &[u8], list: &[u8]) -> Begun {
        match self.plan(lun, cdb, list) {
            Plan::Medium(MediumOp::Copy(request)) => {
                let peers = self.array.units.iter().zip(&mut self.nexuses);
                let seed = &mut self.seed;
                let scene = Scene {
                    peers: peers.map(|(unit, nexus)| Peer { unit, nexus }).collect(),
                    here: lun,
                    initiator: &self.port,
                    now_ms: self.now.ms,
                };
                match begin(&request, scene) {
                    Begun::Make(work) => {
                        let mut random = |bytes: &mut [u8]| {
                            *seed = seed.wrapping_add(1);
                            bytes.fill(*seed);
                        };
                        Begun::Done(work.make(&self.array.units[lun], self.now.ms, &mut random))
                    }
                    begun => begun,
                }
            }
            Plan::Done(outcome) => Begun::Done(outcome),
            other => panic!("{other:?}"),
        }
    }

    fn extended_copy(&mut self, lun: usize, list: &[u8]) -> Begun {
        self.copy(lun, &cdb(0x00, 0, list), list)
    }

    fn data(&mut self, lun: usize, cdb: &[u8]) -> Vec<u8> {
        assert_eq!(self.plan(lun, cdb, &[]), Plan::Done(Outcome::GOOD), "{cdb:02x?}");
        self.reply.data.clone()
    }

    /// POPULATE TOKEN, and the token.
    fn token(&mut self, lun: usize, id: u32, ranges: &[(u64, u32)]) -> Vec<u8> {
        let list = populate_list(0, ranges);
        assert_eq!(outcome(self.copy(lun, &cdb(0x10, id, &list), &list)), Outcome::GOOD);
        let data = self.information(lun, id);
        assert_eq!(data[4..6], [0x10, 1]);
        assert_eq!(data[32..38], [0, 0, 2, 2, 0, 0], "one descriptor");
        assert_eq!(data.len(), 38 + 512);
        data[38..].to_vec()
    }

    fn information(&mut self, lun: usize, id: u32) -> Vec<u8> {
        let mut cdb = [0x84, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
        cdb[2..6].copy_from_slice(&id.to_be_bytes());
        let data = self.data(lun, &cdb);
        assert_eq!(data[..4], (data.len() as u32 - 4).to_be_bytes());
        data
    }

    fn write_token(&mut self, lun: usize, id: u32, token: &[u8], offset: u64, ranges: &[(u64, u32)]) -> Begun {
        let list = write_list(0, token, offset, ranges);
        self.copy(lun, &cdb(0x11, id, &list), &list)
    }
}

/// A CDB of operation code 83h.
fn cdb(action: u8, id: u32, list: &[u8]) -> [u8; 16] {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1]) = (0x83, action);
    cdb[6..10].copy_from_slice(&id.to_be_bytes());
    cdb[10..14].copy_from_slice(&(list.len() as u32).to_be_bytes());
    cdb
}

fn cscd(unit: &LogicalUnit) -> [u8; 32] {
    let mut bytes = [0; 32];
    (bytes[0], bytes[4], bytes[5], bytes[7]) = (0xe4, 1, 3, 16);
    bytes[8..24].copy_from_slice(&unit.params().naa);
    bytes[28..].copy_from_slice(&unit.block_bytes().to_be_bytes());
    bytes
}

/// A segment: CSCD indexes, number of blocks, LBAs.
fn segment(source: u16, destination: u16, blocks: u16, from: u64, to: u64) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 24];
    bytes.extend_from_slice(&source.to_be_bytes());
    bytes.extend_from_slice(&destination.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&blocks.to_be_bytes());
    bytes.extend_from_slice(&from.to_be_bytes());
    bytes.extend_from_slice(&to.to_be_bytes());
    bytes
}

fn extended_list(id: u8, cscds: &[[u8; 32]], segments: &[Vec<u8>]) -> Vec<u8> {
    let mut list = vec![id, 0];
    list.extend_from_slice(&(cscds.len() as u16 * 32).to_be_bytes());
    list.extend_from_slice(&[0; 4]);
    list.extend_from_slice(&(segments.iter().map(Vec::len).sum::<usize>() as u32).to_be_bytes());
    list.extend_from_slice(&[0; 4]);
    list.extend(cscds.iter().flatten());
    list.extend(segments.iter().flatten());
    list
}

fn put_ranges(list: &mut Vec<u8>, ranges: &[(u64, u32)]) {
    list.extend_from_slice(&(ranges.len() as u16 * 16).to_be_bytes());
    for (lba, blocks) in ranges {
        list.extend_from_slice(&lba.to_be_bytes());
        list.extend_from_slice(&blocks.to_be_bytes());
        list.extend_from_slice(&[0; 4]);
    }
    let len = (list.len() - 2) as u16;
    list[..2].copy_from_slice(&len.to_be_bytes());
}

fn populate_list(timeout: u32, ranges: &[(u64, u32)]) -> Vec<u8> {
    let mut list = vec![0; 4];
    list.extend_from_slice(&timeout.to_be_bytes());
    list.extend_from_slice(&[0; 6]);
    put_ranges(&mut list, ranges);
    list
}

fn write_list(flags: u8, token: &[u8], offset: u64, ranges: &[(u64, u32)]) -> Vec<u8> {
    let mut list = vec![0, 0, flags, 0, 0, 0, 0, 0];
    list.extend_from_slice(&offset.to_be_bytes());
    list.extend_from_slice(token);
    list.extend_from_slice(&[0; 6]);
    put_ranges(&mut list, ranges);
    list
}

fn zero_token() -> Vec<u8> {
    let mut token = vec![0; 512];
    token[..8].copy_from_slice(&[0xff, 0xff, 0, 1, 0, 0, 1, 0xf8]);
    token
}

fn outcome(begun: Begun) -> Outcome {
    match begun {
        Begun::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn sense(begun: Begun) -> Sense {
    outcome(begun).sense.expect("sense")
}

fn codes(begun: Begun) -> (u8, u16) {
    let sense = sense(begun);
    (sense.key, sense.asc_ascq)
}

fn work(begun: Begun) -> CopyWork {
    match begun {
        Begun::Run(work) => work,
        other => panic!("{other:02x?}"),
    }
}

fn moves(source: (usize, u64), destination: (usize, u64), bytes: u64) -> CopyStep {
    CopyStep { source: Some(source), destination, bytes }
}

#[test]
fn segments_become_steps() {
    let array = Array::new();
    let mut host = array.host(1);
    let cscds = [cscd(&array.units[0]), cscd(&array.units[1]), cscd(&array.units[2])];
    let mut counted = segment(0, 2, 2, 0, 5);
    counted[1] = 2;
    let segments = [segment(0, 1, 100, 8, 9900), segment(0xffff, 0, 1, 0, 1), segment(0, 2, 16, 8, 9998), counted];
    let steps = work(host.extended_copy(1, &extended_list(7, &cscds, &segments))).steps.clone();
    assert_eq!(
        steps,
        [
            moves((0, 4096), (1, 9900 * 512), 51200),
            moves((1, 0), (0, 512), 512),
            moves((0, 4096), (2, 9998 * 4096), 8192),
            moves((0, 0), (2, 5 * 4096), 8192),
        ]
    );
    assert_eq!(host.plan(0, &cdb(0, 0, &[]), &[]), Plan::Done(Outcome::GOOD), "no list is no error");
}

/// CVE-2020-28374 and its like: what the nexus does not see, does not exist.
#[test]
fn no_other_logical_unit_is_reached() {
    let array = Array::new();
    let mut host = array.host(1);
    let foreign = extended_list(1, &[cscd(&array.units[0]), cscd(&array.foreign)], &[segment(1, 0, 8, 0, 0)]);
    let why = sense(host.extended_copy(0, &foreign));
    assert_eq!((why.key, why.asc_ascq, why.command_specific), (0xa, 0x0804, Some(0)));
    assert_eq!(why.specific, Some([0x8f, 0, 16 + 32 + 4]), "the designator in the list");
    let foreign = extended_list(1, &[cscd(&array.units[0]), cscd(&array.foreign)], &[segment(0, 1, 8, 0, 0)]);
    assert_eq!(codes(host.extended_copy(0, &foreign)), (0xa, 0x0804));
    let mut prefix = cscd(&array.units[1]);
    prefix[7] = 8;
    let prefix = extended_list(1, &[prefix], &[segment(0, 0, 8, 0, 8)]);
    assert_eq!(codes(host.extended_copy(0, &prefix)), (0xa, 0x0804), "a designator cut short");
    let naa = array.units[0].params().naa;
    let mut token = host.token(0, 1, &[(0, 8)]);
    let at = token.windows(16).position(|bytes| bytes == naa).expect("the creator");
    token[at..at + 16].copy_from_slice(&array.foreign.params().naa);
    assert_eq!(codes(host.write_token(1, 2, &token, 0, &[(0, 8)])), (5, 0x2304));
}

#[test]
fn discs_take_no_part_in_copies() {
    let mut array = Array::new();
    array.units[2] = LogicalUnit::new(LuParams { naa: identity::naa(TARGET, 2, None), ..cdrom() });
    let mut host = array.host(1);
    let cscds = [cscd(&array.units[0]), cscd(&array.units[2])];
    for (from, to) in [(0, 1), (1, 0)] {
        let list = extended_list(1, &cscds, &[segment(from, to, 8, 0, 0)]);
        assert_eq!(codes(host.extended_copy(0, &list)), (0xa, 0x0d03), "{from} to {to}");
    }
    let list = populate_list(0, &[(0, 8)]);
    assert_eq!(codes(host.copy(2, &cdb(0x10, 1, &list), &list)), (5, 0x2000), "nor has one a copy manager");
}

#[test]
fn wrong_lists_are_refused() {
    let array = Array::new();
    let mut host = array.host(1);
    let one = cscd(&array.units[0]);
    let good = extended_list(1, &[one], &[segment(0, 0, 8, 0, 100)]);
    let mut refused = |change: &dyn Fn(&mut Vec<u8>), expected: (u8, u16), pointer: Option<u16>| {
        let mut list = good.clone();
        change(&mut list);
        let why = sense(host.extended_copy(0, &list));
        assert_eq!((why.key, why.asc_ascq), expected);
        assert_eq!(why.specific.map(|bytes| u16::from_be_bytes([bytes[1], bytes[2]])), pointer, "{expected:x?}");
    };
    refused(&|list| list[1] = 0x08, (5, 0x2600), Some(1));
    refused(&|list| list[1] = 0x18, (5, 0x2600), Some(0));
    refused(&|list| list[1] = 0x80, (5, 0x2600), Some(1));
    refused(&|list| list[3] = 31, (5, 0x1a00), None);
    refused(&|list| list.truncate(15), (5, 0x1a00), None);
    refused(&|list| list.truncate(16 + 31), (5, 0x1a00), None);
    refused(&|list| list.truncate(16 + 32 + 27), (5, 0x1a00), None);
    refused(&|list| list[8..12].fill(0xff), (5, 0x1a00), None);
    refused(&|list| list[15] = 1, (5, 0x260b), Some(12));
    refused(&|list| list[16] = 0xe0, (5, 0x2607), Some(16));
    refused(&|list| list[16 + 32] = 3, (5, 0x2609), Some(48));
    refused(&|list| list[16 + 32 + 3] = 20, (5, 0x2600), Some(50));
    refused(&|list| list[16 + 1] = 1, (0xa, 0x0d03), Some(17));
    refused(&|list| list[16 + 30] = 8, (5, 0x2600), Some(45));
    refused(&|list| list[16 + 32 + 7] = 1, (0xa, 0x0d02), Some(6));
    refused(&|list| list[16 + 32 + 12] = 1, (0xa, 0x0000), Some(12));
    refused(&|list| list[16 + 32 + 20] = 0xff, (0xa, 0x0000), Some(20));
    let many = vec![one; limits_of().0 + 1];
    assert_eq!(codes(host.extended_copy(0, &extended_list(1, &many, &[segment(0, 0, 8, 0, 100)]))), (5, 0x2606));
    let many = vec![segment(0, 0, 8, 0, 100); limits_of().1 + 1];
    assert_eq!(codes(host.extended_copy(0, &extended_list(1, &[one], &many))), (5, 0x2608));
    let inexact = extended_list(1, &[one, cscd(&array.units[2])], &[segment(0, 1, 7, 0, 0)]);
    assert_eq!(codes(host.extended_copy(0, &inexact)), (0xa, 0x260a));
}

fn limits_of() -> (usize, usize) {
    (crate::limits::COPY_CSCD_DESCRIPTORS, crate::limits::COPY_SEGMENT_DESCRIPTORS)
}

#[test]
fn protection_and_reservations_of_every_unit_count() {
    let mut array = Array::new();
    array.units[1] = LogicalUnit::new(LuParams { readonly: true, ..array.units[1].params().clone() });
    let mut host = array.host(1);
    let mut other = array.host(2);
    let cscds = [cscd(&array.units[0]), cscd(&array.units[1])];
    let onto_readonly = extended_list(1, &cscds, &[segment(0, 1, 8, 0, 0)]);
    assert_eq!(codes(host.extended_copy(0, &onto_readonly)), (7, 0x2700));
    let from_readonly = extended_list(1, &cscds, &[segment(0, 0, 8, 0, 8), segment(1, 0, 8, 0, 0)]);
    work(host.extended_copy(0, &from_readonly));
    assert_eq!(other.plan(1, &[0x16, 0, 0, 0, 0, 0], &[]), Plan::Done(Outcome::GOOD), "RESERVE(6)");
    let why = sense(host.extended_copy(0, &from_readonly));
    assert_eq!((why.key, why.asc_ascq, why.command_specific), (0xa, 0x0d01, Some(1)), "the second segment");
    work(other.extended_copy(0, &from_readonly));
    assert_eq!(host.plan(1, &cdb(0, 0, &from_readonly), &from_readonly), Plan::Done(Outcome::RESERVATION_CONFLICT));
}

#[test]
fn status_and_failure_details() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut other = array.host(2);
    let status = [0x84, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let details = [0x84, 4, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(sense_of(host.plan(0, &status, &[])), (5, 0x2400), "no such list identifier");
    let list = extended_list(9, &[cscd(&array.units[0])], &[segment(0, 0, 8, 0, 100), segment(0, 0, 8, 0, 200)]);
    let running = work(host.extended_copy(0, &list));
    running.advance(4096);
    running.steps_done(1);
    assert_eq!(host.data(0, &status), [0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0x10, 0]);
    assert_eq!(sense_of(other.plan(0, &status, &[])), (5, 0x2400), "another nexus's");
    assert_eq!(sense_of(host.plan(1, &status, &[])), (5, 0x2400), "another logical unit's");
    assert_eq!(codes(host.extended_copy(0, &list)), (5, 0x0016), "in use");
    assert_eq!(sense_of(host.plan(0, &details, &[])), (5, 0x2400), "not over");
    work(other.extended_copy(0, &list));
    let failed = running.failed(1, false, MediumFault::Read, 3);
    running.finish(&array.units[0], failed);
    drop(running);
    assert_eq!(host.data(0, &status)[4], 2);
    let data = host.data(0, &details);
    assert_eq!(data[..4], (data.len() as u32 - 4).to_be_bytes());
    assert_eq!(data[56..60], [2, 0, 0, 18]);
    assert_eq!(data[60..76], [0xf0, 0, 0xa, 0, 0, 0, 3, 10, 0, 0, 0, 1, 0x0d, 1, 0, 0]);
    assert_eq!(sense_of(host.plan(0, &details, &[])), (5, 0x2400), "told once");
    let done = work(host.extended_copy(0, &list));
    assert_eq!(done.finish(&array.units[0], Outcome::GOOD), Outcome::GOOD);
    assert_eq!(host.data(0, &status)[4], 1);
    assert_eq!(sense_of(host.plan(0, &status, &[])), (5, 0x2400), "told once");
    drop(work(host.extended_copy(0, &list)));
    assert_eq!(host.data(0, &status)[4], 2, "aborted");
    let mut unnamed = list.clone();
    unnamed[..2].copy_from_slice(&[0, 0x18]);
    let running: Vec<_> = (0..crate::limits::COPY_OPERATIONS / 2).map(|_| host.extended_copy(0, &unnamed)).collect();
    assert_eq!(outcome(host.extended_copy(0, &unnamed)), Outcome::BUSY);
    assert!(running.iter().all(|begun| matches!(begun, Begun::Run(work) if work.interrupted().is_none())));
    array.units[0].reset();
    assert!(running.iter().all(|begun| matches!(begun, Begun::Run(work) if work.interrupted().is_some())));
}

/// Also when it goes on only after that: what it has read is not to come back.
#[test]
fn a_copy_ends_when_one_of_its_units_is_erased() {
    for erased in 0..2 {
        let array = Array::new();
        let mut host = array.host(1);
        // Sent to the second unit, from the first one.
        let list = extended_list(1, &[cscd(&array.units[0]), cscd(&array.units[1])], &[segment(0, 1, 8, 0, 100)]);
        let running = work(host.extended_copy(1, &list));
        assert_eq!(running.interrupted(), None);
        array.units[erased].begin_erase(Erasure::Format, 0).unwrap();
        array.units[erased].erase_done(true);
        assert!(running.interrupted().is_some(), "{erased}");
    }
}

/// One nexus has neither all places for copies under way, nor the place of another's that waits for its end to be told.
#[test]
fn places_for_copies_are_shared() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut other = array.host(2);
    let list = |id: u8| extended_list(id, &[cscd(&array.units[0])], &[segment(0, 0, 8, 0, 100)]);
    let status = |id: u8| [0x84, 0, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    drop(work(other.extended_copy(0, &list(1))));
    let places = crate::limits::COPY_OPERATIONS as u8;
    for id in 0..2 * places {
        drop(work(host.extended_copy(0, &list(id))));
    }
    assert_eq!(other.data(0, &status(1))[4], 2, "aborted, and still told of");
    let running: Vec<_> = (0..places).map(|id| host.extended_copy(0, &list(id))).collect();
    let count = running.iter().filter(|begun| matches!(begun, Begun::Run(_))).count();
    assert_eq!(count, usize::from(places) / 2);
    work(other.extended_copy(0, &list(1)));
}

#[test]
fn abort_and_nexus_loss_stop_a_copy() {
    let array = Array::new();
    let mut host = array.host(1);
    let zero = zero_token();
    let list = write_list(1, &zero, 0, &[(0, 8)]);
    let background = work(host.copy(0, &cdb(0x11, 5, &list), &list));
    assert!(background.is_immediate());
    assert_eq!(background.steps, [CopyStep { source: None, destination: (0, 0), bytes: 4096 }]);
    assert_eq!(host.information(0, 5)[4..6], [0x11, 0x12]);
    assert_eq!(host.plan(0, &[0x83, 0x1c, 0, 0, 0, 5], &[]), Plan::Done(Outcome::GOOD));
    let why = background.interrupted().expect("cancelled");
    background.finish(&array.units[0], why);
    let data = host.information(0, 5);
    assert_eq!((data[5], data[12], data[13]), (2, 2, 18));
    assert_eq!(sense_of(host.plan(0, &[0x83, 0x1c, 0, 0, 0, 5], &[])), (5, 0x2400), "over");
    let background = work(host.copy(0, &cdb(0x11, 6, &list), &list));
    array.units[0].nexus_lost(NexusId(1));
    assert!(background.interrupted().is_some());
}

#[test]
fn third_party_copy_page() {
    let array = Array::new();
    let mut host = array.host(1);
    let page = host.data(0, &[0x12, 1, 0x8f, 4, 0]);
    let [high, low] = ((page.len() - 4) as u16).to_be_bytes();
    assert_eq!(page[..4], [0, 0x8f, high, low]);
    let mut kinds = Vec::new();
    let mut rest = &page[4..];
    while !rest.is_empty() {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        assert_eq!(len % 4, 0);
        kinds.push(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[4 + len..];
    }
    assert_eq!(kinds, [0, 1, 4, 8, 0x0c, 0x0106, 0x0108, 0x8001]);
    assert_eq!(page[4..8], [0, 0, 0, 32]);
    assert_eq!(page[40..57], [0, 1, 0, 16, 12, 0x83, 4, 0, 0x10, 0x11, 0x1c, 0x84, 4, 0, 3, 4, 7]);
    assert_eq!(host.data(0, &[0x12, 0, 0, 0, 96])[5] & 0x08, 8, "3PC");
    let parameters = host.data(0, &[0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(parameters[..12], [0, 0, 0, 42, 1, 0, 0, 0, 0, 16, 0, 64]);
    assert_eq!(parameters[34..], [0, 64, 64, 9, 0, 0, 0, 0, 0, 2, 0x02, 0xe4]);
}

/// What becomes of any request: inside every medium, whole blocks, and only if nothing is wrong.
fn check(array: &Array, begun: &Begun) {
    let Begun::Run(work) = begun else { return };
    assert!(work.steps.len() <= 2 * crate::limits::ROD_RANGES);
    for step in &work.steps {
        for (peer, offset) in step.source.into_iter().chain([step.destination]) {
            let unit = &array.units[peer];
            let block = u64::from(unit.block_bytes());
            assert!(offset % block == 0 && step.bytes % block == 0, "{step:?}");
            assert!(offset.checked_add(step.bytes).is_some_and(|end| end <= unit.blocks() * block), "{step:?}");
        }
    }
}

fn lbas() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_001u64, 9_990..10_010u64, any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_extended_copy(
        cscds in vec(0..5usize, 0..5),
        segments in vec((prop_oneof![0..5u16, Just(0xffffu16)], 0..5u16, any::<u16>(), lbas(), lbas(), any::<u8>()), 0..6),
        here in 0..3usize,
        mutations in vec((0..300usize, any::<u8>()), 0..4),
        cut in prop_oneof![3 => Just(usize::MAX), 1 => 0..300usize],
    ) {
        let array = Array::new();
        let mut host = array.host(1);
        let cscds: Vec<_> = cscds
            .iter()
            .map(|which| array.units.get(*which).map_or([0xe4; 32], cscd))
            .collect();
        let segments: Vec<_> = segments
            .iter()
            .map(|&(source, destination, blocks, from, to, flags)| {
                let mut bytes = segment(source, destination, blocks, from, to);
                bytes[1] = flags;
                bytes
            })
            .collect();
        let mut list = extended_list(1, &cscds, &segments);
        for (at, value) in mutations {
            if let Some(byte) = list.get_mut(at) {
                *byte = value;
            }
        }
        list.truncate(cut);
        check(&array, &host.extended_copy(here, &list));
    }

    #[test]
    fn any_bytes(action in prop_oneof![Just(0u8), Just(0x10), Just(0x11)], list in vec(any::<u8>(), 16..1200)) {
        let array = Array::new();
        let mut host = array.host(1);
        check(&array, &host.copy(0, &cdb(action, 1, &list), &list));
    }
}
