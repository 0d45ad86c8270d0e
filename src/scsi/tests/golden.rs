//! Responses byte by byte, as `sg_inq`, `sg_vpd`, `sg_readcap`, `sg_modes` and the Linux kernel read them.

use super::*;

fn inquiry(host: &mut Host, page: u8) -> Vec<u8> {
    host.data(&[0x12, 1, page, 0xff, 0xff])
}

#[test]
fn standard_inquiry() {
    let unit = LogicalUnit::new(params());
    let data = Host::new(&unit, 1).data(&[0x12, 0, 0, 0, 255]);
    assert_eq!(data.len(), 96);
    // TPGS 11b and 3PC in byte 5.
    assert_eq!(data[..8], [0, 0, 6, 0x12, 91, 0x38, 0, 2]);
    assert_eq!(&data[8..36], b"RINGSAN VIRTUAL-DISK    0.1 ");
    assert_eq!(data[58..66], [0, 0xa0, 4, 0x60, 4, 0xc0, 9, 0x61]);
    assert!(data[36..58].iter().chain(&data[66..]).all(|byte| *byte == 0));
}

#[test]
fn item_94_version_descriptors_say_what_was_negotiated() {
    //= RFC 7144 section 4.2
    //# If the SCSI device server returns an iSCSI version descriptor in the
    //# standard INQUIRY data, then the value returned in that iSCSI version
    //# descriptor MUST be set to the sum of the base value (0960h) plus the
    //# negotiated value of the iSCSIProtocolLevel key.
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let cdb = padded(&[0x12, 0, 0, 0, 96]);
    for (level, expected) in [(0, 0x0960u16), (1, 0x0961), (2, 0x0962), (31, 0x097f)] {
        let command = Command {
            cdb: &cdb,
            lun: Lun::flat(0),
            initiator: &host.port,
            protocol_level: level,
            luns: &[0],
            now: NOW,
        };
        unit.plan(&mut host.nexus, &command, &mut host.reply);
        let data = &host.reply.data;
        let versions: Vec<_> = data[58..74].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!(data[2], 6, "SPC-4, as its descriptor says");
        assert_eq!(versions, [0x00a0, 0x0460, 0x04c0, expected, 0, 0, 0, 0]);
        absent(&Command { lun: Lun::flat(7), ..command }, &mut host.reply);
        assert_eq!(host.reply.data[64..66], expected.to_be_bytes(), "where there is no logical unit, too");
    }
}

#[test]
fn item_93_inquiry_allocation_length_truncates() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let whole = host.data(&[0x12, 0, 0, 1, 4]);
    for len in 0..=255 {
        assert_eq!(host.data(&[0x12, 0, 0, 0, len]), whole[..usize::from(len).min(96)]);
    }
    assert_eq!(host.failure(&[0x12, 0, 0x80, 0, 255]), (5, 0x2400), "page code without EVPD");
    assert_eq!(host.failure(&[0x12, 1, 0x42, 0, 255]), (5, 0x2400), "no such page");
}

#[test]
fn item_93_vpd_pages_are_sorted_and_exact() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let list = inquiry(&mut host, 0);
    assert_eq!(usize::from(list[3]), list.len() - 4);
    assert!(list[4..].is_sorted());
    for page in 0..=0xff {
        if list[4..].contains(&page) {
            let data = inquiry(&mut host, page);
            assert_eq!(data[..2], [0, page]);
            assert_eq!(usize::from(u16::from_be_bytes([data[2], data[3]])), data.len() - 4, "page {page:02x}");
        } else {
            assert_eq!(host.failure(&[0x12, 1, page, 0, 255]), (5, 0x2400), "page {page:02x}");
        }
    }
}

#[test]
fn serial_and_designators() {
    //= RFC 7143 section 4.4.2
    //# The SCSI device name is defined to be the iSCSI name of the node and
    //# MUST be used in the iSCSI protocol.
    //
    //= RFC 7143 section 4.4.2
    //# The SCSI port name MUST be used in iSCSI.
    //
    //= RFC 7143 section 4.4.2
    //# When used in SCSI parameter data, the SCSI port name MUST be encoded as:
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(&inquiry(&mut host, 0x80)[4..], b"0123456789abcdef");
    let data = inquiry(&mut host, 0x83);
    assert_eq!(data[4..8], [0x01, 0x03, 0, 16]);
    assert_eq!(data[8..24], unit.params().naa);
    let (mut kinds, mut names) = (Vec::new(), Vec::new());
    let mut rest = &data[4..];
    while let [code_set, kind, _, len, tail @ ..] = rest {
        kinds.push((code_set & 0x0f, kind & 0x3f));
        assert_eq!(kind & 0x80 != 0, code_set & 0xf0 == 0x50, "PIV goes with the protocol");
        let (body, after) = tail.split_at(usize::from(*len));
        if *kind & 0x0f == 8 {
            assert_eq!(body.len() % 4, 0);
            assert_eq!(body.last(), Some(&0));
            names.push(std::str::from_utf8(body).unwrap().trim_end_matches('\0'));
        }
        rest = after;
    }
    assert!(rest.is_empty());
    assert_eq!(kinds, [(1, 0x03), (2, 0x01), (3, 0x18), (1, 0x14), (1, 0x15), (3, 0x28)]);
    let text = String::from_utf8_lossy(&data);
    assert_eq!(names, ["iqn.2026-01.org.example:disk,t,0x0001", "iqn.2026-01.org.example:disk"], "port, then device");
    assert!(text.contains("RINGSAN 0123456789abcdef"));
}

#[test]
fn mode_page_policy_and_ports() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(inquiry(&mut host, 0x87), [0, 0x87, 0, 4, 0x3f, 0xff, 0, 0], "all pages are shared");
    let ports = inquiry(&mut host, 0x88);
    assert_eq!(ports[4..12], [0, 0, 0, 1, 0, 0, 0, 0]);
    let descriptors = usize::from(u16::from_be_bytes([ports[14], ports[15]]));
    assert_eq!(ports.len(), 16 + descriptors);
    assert_eq!(ports[16..18], [0x53, 0x98], "a name string of an iSCSI target port");
    assert!(inquiry(&mut host, 0x83).windows(descriptors).any(|part| part == &ports[16..]), "as in page 83h");
    let extended = inquiry(&mut host, 0x86);
    assert_eq!(usize::from(extended[13]), sense::MAX_SENSE_BYTES);
}

#[test]
fn block_limits() {
    let unit = LogicalUnit::new(params());
    let data = Host::new(&unit, 1).data(&[0x12, 1, 0xb0, 0, 255]);
    let u32_at = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    assert_eq!(data.len(), 64);
    assert_eq!(data[4..6], [1, 255], "WSNZ");
    assert_eq!(data[6..8], [0, 8]);
    assert_eq!(u32_at(8), 65536, "32 MiB");
    assert_eq!(u32_at(12), 2048, "1 MiB");
    assert_eq!(u32_at(20), 1 << 20);
    assert_eq!(u32_at(24), 256);
    assert_eq!(u32_at(28), 8);
    assert_eq!(u32_at(32), 1 << 31);
    assert_eq!(data[36..44], (1u64 << 21).to_be_bytes());
    assert_eq!(u32_at(44), 512, "MAXIMUM ATOMIC TRANSFER LENGTH");
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    let data = Host::new(&thick, 1).data(&[0x12, 1, 0xb0, 0, 255]);
    assert_eq!(data[4], 0, "no WSNZ");
    assert!(data[20..36].iter().all(|byte| *byte == 0), "no UNMAP");
}

#[test]
fn unmap_granularity_is_at_most_1_mib_and_a_physical_block() {
    for (blocks, expected) in [(0u32, 8u32), (1, 8), (64, 64), (1 << 20, 2048)] {
        let unit = LogicalUnit::new(LuParams { unmap_granularity_blocks: blocks, ..params() });
        let data = Host::new(&unit, 1).data(&[0x12, 1, 0xb0, 0, 255]);
        assert_eq!(data[28..32], expected.to_be_bytes());
    }
}

#[test]
fn provisioning_pages() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(inquiry(&mut host, 0xb1)[..8], [0, 0xb1, 0, 60, 0, 1, 0, 0x40]);
    assert_eq!(inquiry(&mut host, 0xb2), [0, 0xb2, 0, 4, 0, 0xe4, 2, 0]);
    assert_eq!(inquiry(&mut host, 0x86)[..7], [0, 0x86, 0, 60, 0, 7, 1]);
}

#[test]
fn capacity() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.data(&[0x25]), [0, 3, 0x1f, 0xff, 0, 0, 2, 0]);
    let long = host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32]);
    assert_eq!(long[..16], [0, 0, 0, 0, 0, 3, 0x1f, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0]);
    assert_eq!(long.len(), 32);
    for len in 0..16 {
        assert_eq!(host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len]), long[..usize::from(len)]);
    }
    let big = LogicalUnit::new(LuParams { blocks: 1 << 33, ..params() });
    let mut host = Host::new(&big, 1);
    assert_eq!(host.data(&[0x25]), [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
    big.resize(1 << 34);
    assert_eq!(host.failure(&[0x25]), (6, 0x2a09));
    assert_eq!(host.data(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8])[3], 3);
}

#[test]
fn report_luns() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let ask = |select, len| [0xa0, 0, select, 0, 0, 0, 0, 0, 0, len];
    let list = host.data(&ask(0, 255));
    assert_eq!(list[..8], [0, 0, 0, 24, 0, 0, 0, 0]);
    assert_eq!(list[8..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x41, 44, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.data(&ask(1, 255)), [0, 0, 0, 8, 0, 0, 0, 0, 0xc1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.data(&ask(2, 255)).len(), 40);
    assert_eq!(host.data(&ask(0x10, 255)), [0; 8]);
    assert_eq!(host.data(&ask(0x11, 255)), list);
    assert_eq!(host.data(&ask(0, 16)), list[..16], "LUN LIST LENGTH stays that of the whole list");
    assert_eq!(host.failure(&ask(3, 255)), (5, 0x2400));
}

#[test]
fn item_99_mode_pages_tell_the_truth() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let all = host.data(&[0x1a, 0, 0x3f, 0, 255]);
    assert_eq!(all[..12], [67, 0, 0x10, 8, 0, 3, 0x20, 0, 0, 0, 2, 0]);
    assert_eq!(all.len(), 12 + 12 + 20 + 12 + 12);
    assert_eq!(all[24..28], [0x88, 0x12, 0x04, 0], "PS, WCE");
    assert_eq!(all[44..48], [0x8a, 0x0a, 0x02, 0x10]);
    let subpages = host.data(&[0x1a, 0, 0x3f, 0xff, 255]);
    assert_eq!((&subpages[12..56], &subpages[88..100]), (&all[12..56], &all[56..]), "and the subpages");
    assert_eq!(subpages[56..61], [0x4a, 1, 0, 28, 7], "control extension");
    assert_eq!(host.data(&[0x1a, 8, 0x08, 0, 255])[..6], [23, 0, 0x10, 0, 0x88, 0x12]);
    assert_eq!(host.data(&[0x1a, 8, 0x08, 0, 4]), [23, 0, 0x10, 0]);
    let changeable = host.data(&[0x1a, 8, 0x4a, 0, 255]);
    assert_eq!(changeable[4..], [0x8a, 0x0a, 4, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.failure(&[0x1a, 8, 0x0a, 5, 255]), (5, 0x2400), "the subpage that Linux asks for");
    assert_eq!(host.failure(&[0x1a, 8, 0x02, 0, 255]), (5, 0x2400), "no such page");
    assert_eq!(host.data(&[0x1a, 8, 0xca, 0, 255]), host.data(&[0x1a, 8, 0x8a, 0, 255]), "saved: the default");
    let long = host.data(&[0x5a, 0x10, 0x1c, 0, 0, 0, 0, 1, 0]);
    assert_eq!(long[..8], [0, 34, 0, 0x10, 1, 0, 0, 16]);
    assert_eq!(long[8..24], [0, 0, 0, 0, 0, 3, 0x20, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(long[24..27], [0x1c, 0x0a, 0x08]);
    let readonly = LogicalUnit::new(LuParams { readonly: true, volatile_cache: false, ..params() });
    let data = Host::new(&readonly, 1).data(&[0x1a, 8, 0x08, 0, 255]);
    assert_eq!((data[2], data[4], data[6]), (0x90, 0x08, 0), "WP, no WCE, nothing to save");
}

#[test]
fn item_99_mode_select() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let mut other = Host::new(&unit, 2);
    let select = [0x15, 0x10, 0, 0, 16];
    let list = |d_sense: u8, swp: u8| [0, 0, 0, 0, 0x0a, 0x0a, 2 | d_sense, 0x10, swp, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(host.send_list(&select, &list(0, 8)), Plan::Done(Outcome::GOOD));
    assert_eq!(host.failure(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]), (7, 0x2702), "software write protected");
    assert_eq!(host.data(&[0x1a, 8, 0x0a, 0, 255])[8], 8);
    assert_eq!(host.data(&[0x1a, 8, 0x8a, 0, 255])[8], 0, "the default");
    assert_eq!(other.failure(&[0x00]), (6, 0x2a01));
    assert_eq!(host.send_list(&select, &list(4, 0)), Plan::Done(Outcome::GOOD));
    let Plan::Done(Outcome { sense: Some(sense), .. }) = host.send(&[0x28, 0, 0xff, 0, 0, 0, 0, 0, 1]) else {
        panic!("out of range");
    };
    assert!(sense.descriptor_format);
    assert_eq!(sense_of(host.send_list(&select, &list(8, 0))), (5, 0x2600), "RLEC or the like is not changeable");
    assert_eq!(sense_of(host.send_list(&[0x15, 0x10, 0, 0, 15], &list(0, 0)[..15])), (5, 0x1a00));
    assert_eq!(sense_of(host.send_list(&[0x15, 0x10, 0, 0, 3], &[0, 0, 0])), (5, 0x1a00));
    let with_descriptor = [0, 0, 0, 8, 0, 3, 0x20, 0, 0, 0, 2, 0];
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 12], &with_descriptor), Plan::Done(Outcome::GOOD));
    let other_blocks = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0];
    assert_eq!(sense_of(host.send_list(&[0x15, 0x10, 0, 0, 12], &other_blocks)), (5, 0x2600));
    unit.reset();
    assert_eq!(host.failure(&[0x00]), (6, 0x2903));
    assert_eq!(host.data(&[0x1a, 8, 0x0a, 0, 255])[6], 2, "a reset returns to the default");
}
