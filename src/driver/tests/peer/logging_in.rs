//! How a peer logs in: all at once, bit by bit, and with a proof of who it is.

use super::super::TARGET;
use super::*;
use crate::initiator::chap::{self, Chap};
use crate::wire::{Isid, LoginRequest};

impl Peer {
    /// Sends a whole login; the status class and detail.
    pub fn try_login(&mut self, host: u8, tsih: u16, cid: u16, keys: &[&str]) -> u16 {
        self.ask_in(host, tsih, cid, &Peer::login_text(host, keys))
    }

    /// Sends a whole login for a session of its own, and does not wait for the answer.
    pub fn begin_login(&mut self, host: u8, keys: &[&str]) {
        self.request_login(0x87, (host, 0, 0), &Peer::login_text(host, keys));
    }

    /// The status class and detail of that answer.
    pub fn login_status(&mut self) -> u16 {
        let answer = self.next(Duration::from_secs(2));
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    fn login_text(host: u8, keys: &[&str]) -> String {
        let initiator = format!("InitiatorName=iqn.2001-04.com.example:host{host}");
        let target = format!("TargetName={TARGET}");
        let usual = [&initiator, &target, "SessionType=Normal", "ImmediateData=Yes", "InitialR2T=No"];
        usual.iter().chain(keys).map(|key| format!("{key}\0")).collect()
    }

    /// What a discovery session at this portal is told, pair by pair.
    pub fn discover(at: SocketAddr, host: u8, value: &str) -> Vec<String> {
        let mut peer = Peer::connect(at);
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0SessionType=Discovery\0");
        assert_eq!(peer.ask_in(host, 0, 0, &names), 0, "the login's status");
        peer.ask_text(0x80, None, &format!("SendTargets={value}\0"));
        let (answer, _) = peer.answer(peer.itt, Duration::from_secs(1));
        assert_eq!((answer.opcode, answer.bhs[1]), (Opcode::TEXT_RESPONSE, 0x80));
        let text = String::from_utf8(answer.data).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// A login as `user`, by CHAP with MD5; the status class and detail.
    pub fn try_chap(&mut self, host: u8, tsih: u16, cid: u16, user: (&str, &str)) -> u16 {
        match self.prove(host, tsih, cid, user) {
            0 => self.ask_in(host, tsih, cid, "MaxConnections=4\0"),
            status => status,
        }
    }

    /// The same up to the last request.
    pub fn prove(&mut self, host: u8, tsih: u16, cid: u16, user: (&str, &str)) -> u16 {
        self.offer_proof(host, tsih, cid, user);
        let answer = self.next(Duration::from_secs(2));
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    /// The same as far as the proof, for whose answer nobody waits.
    pub fn offer_proof(&mut self, host: u8, tsih: u16, cid: u16, (user, secret): (&str, &str)) {
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0TargetName={TARGET}\0AuthMethod=CHAP\0");
        self.say(0, (host, tsih, cid), &names);
        let challenge = self.say(0, (host, tsih, cid), "CHAP_A=5\0");
        let text = String::from_utf8(challenge.data).unwrap();
        let value = |key: &str| text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let own = chap::Account { name: user.into(), secret: secret.into() };
        let mut proof = Vec::new();
        Chap { own, targets: None }.prove(value, &mut proof).unwrap();
        self.request_login(0x81, (host, tsih, cid), std::str::from_utf8(&proof).unwrap());
    }

    /// The first request of a login that proves nothing; it stays in the operational stage.
    pub fn begin(&mut self, host: u8, tsih: u16, cid: u16, text: &str) {
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0{text}");
        let answer = self.say(0x04, (host, tsih, cid), &names);
        assert_eq!(answer.bhs[36..38], [0, 0], "the status");
    }

    /// The last request of a login, or the only one, with this text; the status class and detail.
    pub fn ask_in(&mut self, host: u8, tsih: u16, cid: u16, text: &str) -> u16 {
        let answer = self.say(0x87, (host, tsih, cid), text);
        self.tsih = u16::from_be_bytes([answer.bhs[14], answer.bhs[15]]);
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    /// A whole login, for whose answer nobody waits.
    pub fn offer_login(&mut self, host: u8, tsih: u16, cid: u16) {
        let text = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0TargetName={TARGET}\0MaxConnections=4\0");
        self.request_login(0x87, (host, tsih, cid), &text);
    }

    /// One Login Request; its answer. `flags`: T, CSG and NSG.
    fn say(&mut self, flags: u8, login: (u8, u16, u16), text: &str) -> Pdu {
        self.request_login(flags, login, text);
        self.next(Duration::from_secs(2))
    }

    fn request_login(&mut self, flags: u8, (host, tsih, cid): (u8, u16, u16), text: &str) {
        let request = LoginRequest {
            transit: flags & 0x80 != 0,
            cont: flags & 0x40 != 0,
            csg: flags >> 2 & 3,
            nsg: flags & 3,
            version_max: 0,
            version_min: 0,
            data_segment_len: 0,
            isid: Isid([0, 2, 0x3d, 0, 0, self.isid.unwrap_or(host)]),
            tsih: Tsih(tsih),
            itt: Itt(0),
            cid: Cid(cid),
            cmd_sn: self.window.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        };
        self.send(request, &[], text.as_bytes());
    }
}
