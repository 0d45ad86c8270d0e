//! PDUs as somebody notes them who looks on: a buffer of bounded size, and what is in it.
//!
//! A buffer never grows: what finds no room is counted, and is lost. It is made, emptied and dropped by who looks on, and only
//! filled where PDUs come by.

use crate::wire::{BHS_LEN, Bhs, Cid, Tsih};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The connection of a PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The session; 0 while it is logging in.
    pub tsih: Tsih,
    /// Its number in the session.
    pub cid: Cid,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
}

/// What is known of a PDU where it comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// To the initiator.
    pub is_sent: bool,
    /// It has a header digest.
    pub header_digest: bool,
    /// Its data has a digest, where there is some.
    pub data_digest: bool,
    /// That of its data does not match.
    pub is_damaged: bool,
    /// Its header.
    pub bhs: &'a Bhs,
    /// Its additional header segments.
    pub ahs: &'a [u8],
    /// Its data, or the beginning of it.
    pub data: &'a [u8],
}

/// A PDU that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// When: the turn of its core, by the clock of all cores, nanoseconds.
    pub at_ns: u64,
    /// Its connection.
    pub who: Who,
    /// The PDU.
    pub seen: Seen<'a>,
}

const SENT: u8 = 1;
const HEADER_DIGEST: u8 = 2;
const DATA_DIGEST: u8 = 4;
const DAMAGED: u8 = 8;
const V6: u8 = 16;

/// Time, flags, TSIH, CID, bytes of additional headers and of data, two addresses, header.
const FIXED: usize = 8 + 1 + 2 + 2 + 2 + 4 + 2 * ADDRESS + BHS_LEN;
const ADDRESS: usize = 18;

/// PDUs that were noted, in order.
#[derive(Debug, Default)]
pub struct Notes {
    bytes: Vec<u8>,
    /// PDUs that found no room.
    pub dropped: u64,
}

impl Notes {
    /// None yet, with room for so many bytes.
    pub fn with_room(bytes: usize) -> Notes {
        Notes { bytes: Vec::with_capacity(bytes), dropped: 0 }
    }

    /// None any more, with the same room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.dropped = 0;
    }

    /// Bytes that they take.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that there is room for in all.
    pub fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Notes a PDU, with the data that is at hand. The data, as it was noted; `None`: there is no room, which is counted.
    pub fn push(&mut self, at_ns: u64, who: &Who, seen: &Seen<'_>) -> Option<&mut [u8]> {
        if self.bytes.capacity() - self.bytes.len() < FIXED + seen.ahs.len() + seen.data.len() {
            self.dropped += 1;
            return None;
        }
        let bits = [
            (seen.is_sent, SENT),
            (seen.header_digest, HEADER_DIGEST),
            (seen.data_digest, DATA_DIGEST),
            (seen.is_damaged, DAMAGED),
            (who.peer.is_ipv6(), V6),
        ];
        let flags = bits.iter().filter(|(on, _)| *on).fold(0, |flags, (_, bit)| flags | bit);
        let bytes = &mut self.bytes;
        bytes.extend_from_slice(&at_ns.to_ne_bytes());
        bytes.push(flags);
        bytes.extend_from_slice(&who.tsih.0.to_ne_bytes());
        bytes.extend_from_slice(&who.cid.0.to_ne_bytes());
        bytes.extend_from_slice(&(seen.ahs.len() as u16).to_ne_bytes());
        bytes.extend_from_slice(&(seen.data.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&address(who.peer));
        bytes.extend_from_slice(&address(who.local));
        bytes.extend_from_slice(seen.bhs);
        bytes.extend_from_slice(seen.ahs);
        let data_at = bytes.len();
        bytes.extend_from_slice(seen.data);
        bytes.get_mut(data_at..)
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.bytes }
    }
}

fn address(of: SocketAddr) -> [u8; ADDRESS] {
    let mut bytes = [0; ADDRESS];
    match of.ip() {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes[..16].copy_from_slice(&ip.octets()),
    }
    bytes[16..].copy_from_slice(&of.port().to_ne_bytes());
    bytes
}

/// Goes through PDUs that were noted.
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iter<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(array)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn address(&mut self, is_v6: bool) -> Option<SocketAddr> {
        let (ip, port) = (*self.array::<16>()?, u16::from_ne_bytes(*self.array()?));
        let v4 = || ip.first_chunk::<4>().map(|v4| IpAddr::V4(Ipv4Addr::from(*v4)));
        let ip = if is_v6 { IpAddr::V6(Ipv6Addr::from(ip)) } else { v4()? };
        Some(SocketAddr::new(ip, port))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let at_ns = u64::from_ne_bytes(*self.array()?);
        let [flags] = *self.array()?;
        let (tsih, cid) = (Tsih(u16::from_ne_bytes(*self.array()?)), Cid(u16::from_ne_bytes(*self.array()?)));
        let (ahs_len, data_len) = (u16::from_ne_bytes(*self.array()?), u32::from_ne_bytes(*self.array()?));
        let is = |bit| flags & bit != 0;
        let (peer, local) = (self.address(is(V6))?, self.address(is(V6))?);
        let who = Who { tsih, cid, peer, local };
        let (bhs, ahs) = (self.array()?, self.bytes(usize::from(ahs_len))?);
        let data = self.bytes(data_len as usize)?;
        let seen = Seen {
            is_sent: is(SENT),
            header_digest: is(HEADER_DIGEST),
            data_digest: is(DATA_DIGEST),
            is_damaged: is(DAMAGED),
            bhs,
            ahs,
            data,
        };
        Some(Note { at_ns, who, seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_comes_back_and_what_finds_no_room_is_counted() {
        let who = |ip: &str| Who {
            tsih: Tsih(7),
            cid: Cid(1),
            peer: format!("{ip}:4711").parse().unwrap(),
            local: format!("{ip}:3260").parse().unwrap(),
        };
        let header = |opcode| {
            let mut bhs = [0x11; BHS_LEN];
            bhs[0] = opcode;
            bhs
        };
        let (first, second) = (header(0x25), header(0x01));
        let sent = Seen {
            is_sent: true,
            header_digest: false,
            data_digest: true,
            is_damaged: false,
            bhs: &first,
            ahs: &[],
            data: b"data",
        };
        let received = Seen {
            is_sent: false,
            header_digest: true,
            data_digest: false,
            is_damaged: true,
            bhs: &second,
            ahs: b"additional!!",
            data: &[],
        };
        let mut notes = Notes::with_room(2 * FIXED + 4 + 12);
        assert_eq!(notes.push(5, &who("10.1.2.3"), &sent), Some(&mut b"data".to_owned()[..]));
        assert!(notes.push(6, &who("[2001:db8::5]"), &received).is_some());
        let room = notes.room();
        while notes.push(7, &who("10.1.2.3"), &sent).is_some() {}
        assert_eq!((notes.dropped, notes.room()), (1, room), "it does not grow");
        let back: Vec<_> = notes.iter().take(2).collect();
        assert_eq!(back[0], Note { at_ns: 5, who: who("10.1.2.3"), seen: sent });
        assert_eq!(back[1], Note { at_ns: 6, who: who("[2001:db8::5]"), seen: received });
        notes.clear();
        assert_eq!((notes.iter().count(), notes.len(), notes.dropped, notes.room()), (0, 0, 0, room));
    }
}
