//! PDUs as lines for people: time, session and connection, direction, what the header says, the name of a command, and text.

use crate::fabric::look::{Note, command_name};
use crate::wire::pretty::Header;
use crate::wire::{Opcode, bhs};
use std::fmt::Write;

/// Bytes of a command's data that a line shows.
const SHOWN_BYTES: usize = 32;

/// Adds the line of a PDU, of a time in nanoseconds since 1970.
pub(super) fn pdu(at_ns: u64, note: &Note<'_>, out: &mut String) {
    let (seen, micros, second) = (&note.seen, at_ns / 1000 % 1_000_000, at_ns / 1_000_000_000);
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    let way = if seen.is_sent { '<' } else { '>' };
    let (tsih, cid) = (note.who.tsih, note.who.cid);
    let _ = write!(out, "{hour:02}:{minute:02}:{:02}.{micros:06} {tsih}:{cid} {way} {}", second % 60, Header(seen.bhs));
    match bhs::opcode(seen.bhs) {
        Opcode::SCSI_COMMAND => {
            if let Some(name) = command_name(&seen.bhs[32..]) {
                let _ = write!(out, " {name}");
            }
        }
        Opcode::LOGIN_REQUEST | Opcode::LOGIN_RESPONSE | Opcode::TEXT_REQUEST | Opcode::TEXT_RESPONSE => {
            // It is the peer's: nothing in it is to move the cursor.
            for pair in seen.data.split(|&byte| byte == 0).filter(|pair| !pair.is_empty()) {
                let _ = write!(out, " {}", String::from_utf8_lossy(pair).escape_debug());
            }
            return out.push('\n');
        }
        _ => {}
    }
    if seen.is_damaged {
        out.push_str(" DATA DIGEST WRONG");
    }
    if !seen.data.is_empty() {
        out.push_str(" data=");
        let shown = &seen.data[..seen.data.len().min(SHOWN_BYTES)];
        for byte in shown {
            let _ = write!(out, "{byte:02x}");
        }
        if bhs::data_segment_len(seen.bhs) > shown.len() {
            out.push_str("...");
        }
    }
    out.push('\n');
}

/// Adds the line of PDUs that were lost.
pub(super) fn lost(pdus: u64, out: &mut String) {
    let _ = writeln!(out, "{pdus} PDUs left out here: more than could be noted, or read");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::look::{Seen, Who};
    use crate::wire::{Cid, Tsih};

    fn line(is_sent: bool, change: impl Fn(&mut [u8; 48]), data: &[u8]) -> String {
        let mut bhs = [0; 48];
        change(&mut bhs);
        let address = "10.0.0.1:1".parse().unwrap();
        let who = Who { tsih: Tsih(3), cid: Cid(1), peer: address, local: address };
        let seen =
            Seen { is_sent, header_digest: false, data_digest: false, is_damaged: false, bhs: &bhs, ahs: &[], data };
        let mut out = String::new();
        pdu(1_700_000_000_123_456_789, &Note { at_ns: 0, who, seen }, &mut out);
        out
    }

    #[test]
    fn a_line_says_what_a_pdu_is() {
        let read = line(false, |bhs| (bhs[0], bhs[1], bhs[9], bhs[19], bhs[32]) = (1, 0xc1, 5, 7, 0x28), &[]);
        assert!(read.starts_with("22:13:20.123456 3:1 > SCSI Command itt=0x7 lun=5 cmd_sn=0"), "{read}");
        assert!(read.ends_with(" READ(10)\n"), "{read}");
        let text = line(true, |bhs| bhs[0] = 0x23, b"TargetAlias=a\x1b[2Jb\0X=1\0");
        assert!(text.contains(" 3:1 < Login Response ") && text.ends_with(" TargetAlias=a\\u{1b}[2Jb X=1\n"), "{text}");
        let data = line(true, |bhs| (bhs[0], bhs[7]) = (0x25, 3), b"\x01\x02");
        assert!(data.ends_with(" data=0102...\n"), "{data}");
    }
}
