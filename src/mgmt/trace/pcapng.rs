//! PDUs as a capture that Wireshark reads (pcapng, draft-ietf-opsawg-pcapng): each PDU is a TCP segment of its own between the
//! addresses of its connection, with IP and no frame around it.
//!
//! Sequence numbers are made up, and have no gap: what was not noted is as if it had never been sent. Of data that was not noted
//! the packet says how long it was, as one that was cut by the capture; IP knows no packet of more than 64 KiB, so a longer PDU
//! goes on in packets of which nothing was captured. (Tried with the dissectors of Wireshark 4.0: a length of zero, which stands
//! for a packet that the card will cut up, is understood for IPv4 alone.) Digests are computed anew, unless data is left out.

use crate::fabric::look::{Note, Seen};
use crate::limits::TRACE_CONNECTIONS;
use crate::wire::{bhs, digest};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Packets begin with IP, version 4 or 6.
const LINKTYPE_RAW: u16 = 101;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const TCP: u8 = 6;
const TCP_LEN: usize = 20;
/// No packet has more of TCP's payload: IP has 16 bits for a length.
const MOST_BYTES: usize = 65_000;

/// The capture, as far as the next packet depends on it.
pub(super) struct Capture {
    /// The next sequence numbers of a connection, from the initiator and to it; and when it was last heard of.
    connections: BTreeMap<(SocketAddr, SocketAddr), ([u32; 2], u64)>,
    packets: u64,
    dropped: u64,
    /// What was not said yet of those.
    untold: u64,
    last_ns: u64,
}

impl Capture {
    /// An empty one, whose beginning is put to `out`.
    pub(super) fn begin(out: &mut Vec<u8>) -> Capture {
        // Byte order, version 1.0, a section of unknown length.
        let mut body = Vec::new();
        body.extend_from_slice(&0x1A2B_3C4D_u32.to_le_bytes());
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        // The program (shb_userappl).
        option(&mut body, 4, concat!("ringsan ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_options(&mut body);
        block(out, SECTION_HEADER, &body);
        body.clear();
        body.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        // Reserved; packets are as long as may be.
        body.extend_from_slice(&[0; 6]);
        // Its name; nanoseconds (if_tsresol).
        option(&mut body, 2, b"ringsan");
        option(&mut body, 9, &[9]);
        end_options(&mut body);
        block(out, INTERFACE, &body);
        Capture { connections: BTreeMap::new(), packets: 0, dropped: 0, untold: 0, last_ns: 0 }
    }

    /// So many PDUs were lost before the next one.
    pub(super) fn lost(&mut self, pdus: u64) {
        self.dropped += pdus;
        self.untold += pdus;
    }

    /// Adds a PDU, of a time in nanoseconds since 1970.
    pub(super) fn pdu(&mut self, at_ns: u64, note: &Note<'_>, out: &mut Vec<u8>) {
        let (captured, whole) = segment(&note.seen);
        let key = (note.who.peer, note.who.local);
        if !self.connections.contains_key(&key) {
            self.make_room();
        }
        let ((seq, heard), last) = (self.connections.entry(key).or_insert(([1; 2], 0)), self.packets);
        *heard = last;
        let own = usize::from(note.seen.is_sent);
        let mut numbers = (seq[own], seq[1 - own]);
        let ends = if note.seen.is_sent { (note.who.local, note.who.peer) } else { (note.who.peer, note.who.local) };
        let mut at = 0;
        while at < whole {
            let len = (whole - at).min(MOST_BYTES);
            let part = &captured[at.min(captured.len())..(at + len).min(captured.len())];
            let mut body = Vec::with_capacity(96 + part.len());
            // The interface, and the time.
            body.extend_from_slice(&[0; 4]);
            put_time(&mut body, at_ns);
            let head = if ends.0.is_ipv4() { 20 } else { 40 };
            body.extend_from_slice(&((head + TCP_LEN + part.len()) as u32).to_le_bytes());
            body.extend_from_slice(&((head + TCP_LEN + len) as u32).to_le_bytes());
            ip(&mut body, ends, (TCP_LEN + len) as u16);
            let tcp_at = body.len();
            tcp(&mut body, ends, numbers);
            body.extend_from_slice(part);
            if part.len() == len {
                let sum = tcp_checksum(ends, &body[tcp_at..]);
                body[tcp_at + 16..tcp_at + 18].copy_from_slice(&sum.to_be_bytes());
            }
            pad(&mut body);
            // Which way it went (epb_flags), and what was lost before it (epb_dropcount).
            option(&mut body, 2, &(1 + u32::from(note.seen.is_sent)).to_le_bytes());
            if self.untold > 0 {
                option(&mut body, 4, &std::mem::take(&mut self.untold).to_le_bytes());
            }
            end_options(&mut body);
            block(out, PACKET, &body);
            numbers.0 = numbers.0.wrapping_add(len as u32);
            at += len;
        }
        seq[own] = numbers.0;
        self.packets += 1;
        self.last_ns = at_ns;
    }

    /// Adds what there was, and what was lost, so far.
    pub(super) fn statistics(&self, out: &mut Vec<u8>) {
        let mut body = vec![0; 4];
        put_time(&mut body, self.last_ns);
        option(&mut body, 4, &(self.packets + self.dropped).to_le_bytes());
        option(&mut body, 5, &self.dropped.to_le_bytes());
        end_options(&mut body);
        block(out, STATISTICS, &body);
    }

    /// Forgets the connection that was heard of longest ago, if there are as many as there may be.
    fn make_room(&mut self) {
        if self.connections.len() >= TRACE_CONNECTIONS {
            let oldest = self.connections.iter().min_by_key(|(_, (_, heard))| *heard).map(|(key, _)| *key);
            oldest.map(|key| self.connections.remove(&key));
        }
    }
}

/// What is at hand of a PDU as it was sent, from its beginning, and how long it was in all.
fn segment(seen: &Seen<'_>) -> (Vec<u8>, usize) {
    let data_len = bhs::data_segment_len(seen.bhs);
    let mut bytes = Vec::with_capacity(64 + seen.ahs.len() + seen.data.len());
    bytes.extend_from_slice(seen.bhs);
    bytes.extend_from_slice(seen.ahs);
    if seen.header_digest {
        bytes.extend_from_slice(&digest::header_digest(seen.bhs, seen.ahs));
    }
    let digest_len = if seen.data_digest && data_len > 0 { digest::DIGEST_LEN } else { 0 };
    let whole = bytes.len() + data_len + bhs::padding(data_len) + digest_len;
    bytes.extend_from_slice(seen.data);
    if seen.data.len() == data_len {
        bytes.resize(bytes.len() + bhs::padding(data_len), 0);
        if digest_len > 0 {
            let [first, rest @ ..] = digest::data_digest(seen.data);
            bytes.push(if seen.is_damaged { !first } else { first });
            bytes.extend_from_slice(&rest);
        }
    }
    (bytes, whole)
}

fn ip(out: &mut Vec<u8>, (from, to): (SocketAddr, SocketAddr), payload_len: u16) {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut head = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, TCP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            head[2..4].copy_from_slice(&(payload_len + 20).to_be_bytes());
            head[12..16].copy_from_slice(&from.octets());
            head[16..].copy_from_slice(&to.octets());
            let sum = checksum(sum_of(&head));
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            out.extend_from_slice(&head);
        }
        (from, to) => {
            let v6 = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&payload_len.to_be_bytes());
            out.extend_from_slice(&[TCP, 64]);
            out.extend_from_slice(&v6(from).octets());
            out.extend_from_slice(&v6(to).octets());
        }
    }
}

/// The sum of 16-bit words that the checksums of IP and TCP are made of (RFC 1071).
fn sum_of(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))).sum()
}

fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of a segment that is there in whole, in which it is 0 yet.
fn tcp_checksum((from, to): (SocketAddr, SocketAddr), segment: &[u8]) -> u16 {
    let of_ip = |ip| match ip {
        IpAddr::V4(ip) => sum_of(&ip.octets()),
        IpAddr::V6(ip) => sum_of(&ip.octets()),
    };
    checksum(of_ip(from.ip()) + of_ip(to.ip()) + u64::from(TCP) + segment.len() as u64 + sum_of(segment))
}

/// Of a segment that tells nothing new about itself: ACK and PSH, the largest window.
fn tcp(out: &mut Vec<u8>, (from, to): (SocketAddr, SocketAddr), (seq, ack): (u32, u32)) {
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&ack.to_be_bytes());
    out.extend_from_slice(&[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
}

/// A time, as blocks have it: the upper half first.
fn put_time(out: &mut Vec<u8>, at_ns: u64) {
    out.extend_from_slice(&((at_ns >> 32) as u32).to_le_bytes());
    out.extend_from_slice(&(at_ns as u32).to_le_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// All values here are short: none is nearly as long as its 16 bits can say.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    pad(out);
}

fn end_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (12 + body.len()) as u32;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::look::Who;
    use crate::wire::{Bhs, Cid, Tsih};

    fn who(ip: &str) -> Who {
        let at = |port| format!("{ip}:{port}").parse().unwrap();
        Who { tsih: Tsih(1), cid: Cid(0), peer: at(0x1234), local: at(3260) }
    }

    fn header(opcode: u8, data_len: usize) -> Bhs {
        let mut header = [0; 48];
        header[0] = opcode;
        bhs::set_data_segment_len(&mut header, data_len);
        header
    }

    fn seen<'a>(is_sent: bool, bhs: &'a Bhs, data: &'a [u8]) -> Seen<'a> {
        Seen { is_sent, header_digest: false, data_digest: false, is_damaged: false, bhs, ahs: &[], data }
    }

    /// The packets of a capture: captured bytes, and how long each was.
    fn packets(capture: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap()) as usize;
        let (mut at, mut found) = (0, Vec::new());
        while at < capture.len() {
            let len = word(at + 4);
            assert_eq!((len % 4, word(at + len - 4)), (0, len));
            if word(at) == PACKET as usize {
                let captured = word(at + 20);
                found.push((capture[at + 28..at + 28 + captured].to_vec(), word(at + 24)));
            }
            at += len;
        }
        found
    }

    #[test]
    fn a_capture_byte_for_byte() {
        let mut out = Vec::new();
        let mut capture = Capture::begin(&mut out);
        let begins = [
            "0a0d0d0a340000004d3c2b1a01000000ffffffffffffffff04000d0072696e6773616e20",
            &hex(env!("CARGO_PKG_VERSION").as_bytes()),
            "0000000000000034000000",
            "010000002c000000650000000000000002000700",
            "72696e6773616e000900010009000000000000002c000000",
        ];
        assert_eq!(hex(&out), begins.concat());
        out.clear();
        capture.lost(3);
        let bhs = header(0x40, 0);
        let note = Note { at_ns: 0, who: who("10.0.0.1"), seen: seen(false, &bhs, &[]) };
        capture.pdu(0x0102_0304_0506_0708, &note, &mut out);
        let packet = [
            "06000000900000000000000004030201080706055800000058000000",
            "45000058000040004006269f",
            "0a0000010a000001",
            "12340cbc00000001000000015018ffff3ca90000",
            &hex(&bhs),
            "0200040001000000",
            "040008000300000000000000",
            "00000000",
            "90000000",
        ]
        .concat();
        assert_eq!(hex(&out), packet);
        out.clear();
        capture.statistics(&mut out);
        let statistics = [
            "0500000034000000000000000403020108070605",
            "040008000400000000000000050008000300000000000000",
            "0000000034000000",
        ];
        assert_eq!(hex(&out), statistics.concat());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn numbers_have_no_gap_and_what_is_left_out_is_said() {
        for (ip, head) in [("10.0.0.1", 20), ("[2001:db8::1]", 40)] {
            let mut out = Vec::new();
            let mut capture = Capture::begin(&mut out);
            let (whole, cut, long) = (header(0x25, 5), header(0x25, 4096), header(0x05, 200_000));
            let steps = [
                seen(true, &whole, b"12345"),
                seen(true, &cut, b""),
                seen(false, &long, b"123"),
                seen(true, &whole, b""),
            ];
            for (at, seen) in steps.iter().enumerate() {
                capture.pdu(at as u64, &Note { at_ns: 0, who: who(ip), seen: *seen }, &mut out);
            }
            let found = packets(&out);
            let lengths: Vec<_> = found.iter().map(|(bytes, len)| (bytes.len() - head - 20, len - head - 20)).collect();
            let rest = 200_048 - 3 * MOST_BYTES;
            let most = MOST_BYTES;
            assert_eq!(lengths, [(56, 56), (48, 4144), (51, most), (0, most), (0, most), (0, rest), (48, 56)]);
            let number = |packet: &[u8], at| u32::from_be_bytes(packet[head + at..head + at + 4].try_into().unwrap());
            let numbers: Vec<_> = found.iter().map(|(packet, _)| (number(packet, 4), number(packet, 8))).collect();
            let most = most as u32;
            let expected = [
                (1, 1),
                (57, 1),
                (1, 4201),
                (1 + most, 4201),
                (1 + 2 * most, 4201),
                (1 + 3 * most, 4201),
                (4201, 200_049),
            ];
            assert_eq!(numbers, expected, "{ip}");
        }
    }

    #[test]
    fn digests_are_there_unless_data_is_left_out() {
        let bhs = header(0x25, 5);
        let with = |data| Seen { header_digest: true, data_digest: true, ..seen(true, &bhs, data) };
        let (bytes, whole) = segment(&with(b"12345"));
        assert_eq!((bytes.len(), whole), (48 + 4 + 8 + 4, 64));
        assert_eq!(bytes[48..52], digest::header_digest(&bhs, &[]));
        assert_eq!(bytes[60..], digest::data_digest(b"12345"));
        let (damaged, _) = segment(&Seen { is_damaged: true, ..with(b"12345") });
        assert_ne!(damaged[60..], bytes[60..]);
        let (cut, whole) = segment(&with(b"123"));
        assert_eq!((cut.len(), whole), (48 + 4 + 3, 64));
    }

    #[test]
    fn only_so_many_connections_are_known() {
        let mut capture = Capture::begin(&mut Vec::new());
        let bhs = header(0, 0);
        for number in 0..TRACE_CONNECTIONS as u32 + 10 {
            let peer = SocketAddr::new(std::net::Ipv4Addr::from(number).into(), 1);
            let note = Note { at_ns: 0, who: Who { peer, ..who("10.0.0.1") }, seen: seen(false, &bhs, &[]) };
            capture.pdu(0, &note, &mut Vec::new());
        }
        assert_eq!(capture.connections.len(), TRACE_CONNECTIONS);
        assert!(!capture.connections.keys().any(|(peer, _)| peer.ip() == std::net::Ipv4Addr::from(9)));
    }
}
