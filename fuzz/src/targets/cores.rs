//! A whole server on one core, two initiators that do any wild thing, and a third one who only wants to work: after each
//! round it writes and reads back its own blocks, and nothing that the others did may have touched them, or keep it waiting.

use super::input::Input;
use ringsan::config;
use ringsan::initiator::login::{Identity, Login, Security};
use ringsan::initiator::params::Offer;
use ringsan::sim::target::NAME;
use ringsan::sim::tcp::Tcp;
use ringsan::sim::{By, Packet, Peer};
use ringsan::wire::{BHS_LEN, Bhs, Cid, CmdSn, Isid, Opcode, Tsih, bhs};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// How long the third initiator waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the wild ones wait for it: more would be nearly all that a round does.
const WILD_PATIENCE: Duration = Duration::from_millis(1);
/// Actions of a round.
const ACTIONS: usize = 48;
/// CDBs that exist, to begin with: each with what it means for the flags.
const CDBS: [&[u8]; 26] = [
    &[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    &[0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    &[0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0],
    &[0x28, 0, 0, 0, 0, 0, 0, 2, 0, 0],
    &[0x2a, 0, 0, 0, 0, 0, 0, 2, 0, 0],
    &[0x2f, 0, 0, 0, 0, 0, 0, 2, 0, 0],
    &[0x2f, 2, 0, 0, 0, 0, 0, 0, 8, 0],
    &[0x2e, 2, 0, 0, 0, 0, 0, 0, 8, 0],
    &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x35, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x41, 0, 0, 0, 0, 0, 0, 2, 0, 0],
    &[0x41, 8, 0, 0, 0, 0, 0, 1, 0, 0],
    &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0],
    &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    &[0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0],
    &[0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0],
    &[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    &[0x83, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0],
    &[0x84, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0],
    &[0x5f, 0, 1, 0, 0, 0, 0, 0, 24, 0],
    &[0x5e, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    &[0x12, 0, 0, 0, 255, 0],
    &[0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    &[0x15, 0x10, 0, 0, 24, 0],
    &[0x00, 0, 0, 0, 0, 0],
];

fn configuration() -> String {
    let mut text = "cores = [0]\nlog = \"error\"\n[[portal]]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    text += &format!("[[target]]\nname = \"{NAME}\"\n");
    for number in 0..2 {
        text += &format!("[[target.lun]]\nnumber = {number}\nkind = \"ram\"\nsize = \"1MiB\"\n");
    }
    text += "[[target]]\nname = \"iqn.2001-04.com.example:own\"\n";
    text + "[[target.lun]]\nnumber = 0\nkind = \"ram\"\nsize = \"1MiB\"\n"
}

/// One server for all rounds of this process; it ends with it.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        let serve = move || {
            let folder = tempfile::tempdir().expect("a folder");
            let mut snapshot = config::from_text(&configuration(), Path::new("ringsan.toml")).expect("right").snapshot;
            snapshot.state = folder.path().to_owned();
            let served = ringsan::serve::serve(snapshot, None, None, |at, _| tell.send(at[0]).expect("somebody waits"));
            panic!("the server has ended: {served:?}");
        };
        std::thread::spawn(serve);
        told.recv().expect("the server starts")
    })
}

fn put(header: &mut Bhs, at: usize, value: u32) {
    header[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

struct Host {
    number: u8,
    target: &'static str,
    tcp: Tcp,
    cmd_sn: u32,
    itt: u32,
    tsih: u16,
    /// Transfer tags that it was told.
    tags: [u32; 3],
}

impl Host {
    fn new(number: u8, target: &'static str, patience: Duration) -> Host {
        let tcp = Tcp::new(server()).with_patience(patience);
        Host { number, target, tcp, cmd_sn: 1, itt: 1, tsih: 0, tags: [u32::MAX; 3] }
    }

    fn log_in(&mut self, conn: usize, keys: &str) {
        self.tcp.open(conn);
        if conn == 0 {
            self.cmd_sn = 1;
        }
        let identity = Identity {
            initiator: format!("iqn.2001-04.com.example:host{}", self.number),
            target: Some(self.target.into()),
            isid: Isid([0, 2, 0x3d, 0, 0, self.number]),
            tsih: Tsih(if conn > 0 { self.tsih } else { 0 }),
            cid: Cid(conn as u16),
            cmd_sn: CmdSn(self.cmd_sn),
        };
        let others = keys.split_terminator('\0').map(str::to_owned).collect();
        let offer = Offer { initial_r2t: Some(false), immediate_data: Some(true), others, ..Offer::default() };
        Login::new(identity, offer, Security::Skipped).begin(&mut By(&mut self.tcp, conn));
    }

    fn listen(&mut self) {
        for packet in self.tcp.receive() {
            match bhs::opcode(&packet.bhs) {
                Opcode::LOGIN_RESPONSE if packet.bhs[36] == 0 => {
                    self.tsih = u16::from_be_bytes([packet.bhs[14], packet.bhs[15]]);
                }
                Opcode::R2T | Opcode::NOP_IN => {
                    self.tags.rotate_right(1);
                    self.tags[0] = u32::from_be_bytes(packet.bhs[20..24].try_into().expect("four bytes"));
                }
                _ => {}
            }
        }
    }

    fn wild(&mut self, input: &mut Input<'_>) {
        let conn = usize::from(input.byte() % 2);
        if self.tcp.is_closed(conn) {
            let keys = input.one_of(&[
                "MaxConnections=4\0",
                "MaxConnections=4\0ErrorRecoveryLevel=2\0DefaultTime2Retain=1\0",
                "MaxConnections=4\0MaxRecvDataSegmentLength=512\0",
                "MaxConnections=4\0ErrorRecoveryLevel=1\0InitialR2T=Yes\0ImmediateData=No\0",
            ]);
            self.log_in(conn, keys);
            return self.listen();
        }
        match input.byte() {
            250.. => self.tcp.cut(conn),
            240..250 => self.listen(),
            220..240 => self.request(input, conn),
            180..220 => self.data_out(input, conn),
            _ => self.command(input, conn),
        }
    }

    fn header(&mut self, opcode: u8, flags: u8, immediate: bool) -> Bhs {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1]) = (opcode | u8::from(immediate) << 6, flags);
        self.itt = self.itt.wrapping_add(1);
        put(&mut header, 16, self.itt);
        put(&mut header, 24, self.cmd_sn);
        self.cmd_sn = self.cmd_sn.wrapping_add(u32::from(!immediate));
        header
    }

    fn command(&mut self, input: &mut Input<'_>, conn: usize) {
        let flags = input.one_of(&[0xc0, 0xa0, 0xe0, 0x20, 0x80, 0xa1, 0xc2]);
        let mut header = self.header(0x01, flags, input.byte().is_multiple_of(8));
        header[9] = input.byte() % 3;
        let edtl = input.one_of(&[0, 24, 200, 512, 700, 4096, 65536, 262_144, 1 << 20]);
        put(&mut header, 20, edtl);
        let cdb = input.one_of(&CDBS);
        header[32..32 + cdb.len()].copy_from_slice(cdb);
        for _ in 0..input.byte() % 4 {
            let at = 33 + usize::from(input.byte()) % 15;
            header[at] = input.byte();
        }
        let len = if flags & 0x20 == 0 { 0 } else { input.one_of(&[0, 24, 512, 4096, 8192]).min(edtl as usize) };
        let some = input.byte();
        let mut data = input.bytes(usize::from(some % 64).min(len)).to_vec();
        data.resize(len, some);
        self.tcp.send(Packet::new(conn, &header, data));
    }

    fn data_out(&mut self, input: &mut Input<'_>, conn: usize) {
        let mut header = self.header(0x05, input.one_of(&[0x80, 0]), true);
        header[0] = 0x05;
        header[9] = input.byte() % 3;
        put(&mut header, 16, self.itt.wrapping_sub(1 + u32::from(input.byte() % 4)));
        put(&mut header, 20, input.one_of(&[u32::MAX, self.tags[0], self.tags[1]]));
        put(&mut header, 36, u32::from(input.byte() % 3));
        put(&mut header, 40, u32::from(input.byte()) * 512);
        let len = input.one_of(&[512, 4096, 65_536, 262_144, 1, 0]);
        self.tcp.send(Packet::new(conn, &header, vec![input.byte(); len]));
    }

    fn request(&mut self, input: &mut Input<'_>, conn: usize) {
        let opcode = input.one_of(&[0x00, 0x02, 0x04, 0x06, 0x10]);
        let flags = match opcode {
            0x02 => 0x80 | input.one_of(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
            0x06 | 0x10 => 0x80 | (input.byte() % 4),
            _ => 0x80,
        };
        let mut header = self.header(opcode, flags, !input.byte().is_multiple_of(4));
        put(
            &mut header,
            20,
            if opcode == 0x02 { self.itt.wrapping_sub(u32::from(input.byte() % 6)) } else { u32::MAX },
        );
        let data = match opcode {
            0x00 => vec![7; input.one_of(&[0, 100, 4096])],
            0x04 => b"SendTargets=All\0".to_vec(),
            _ => Vec::new(),
        };
        self.tcp.send(Packet::new(conn, &header, data));
    }

    /// Sends a command and waits for its end: the status and the data.
    fn ask(&mut self, cdb: &[u8], flags: u8, edtl: u32, data: &[u8]) -> Option<(u8, Vec<u8>)> {
        let mut header = self.header(0x01, flags, false);
        put(&mut header, 20, edtl);
        header[32..32 + cdb.len()].copy_from_slice(cdb);
        let itt = self.itt;
        self.tcp.send(Packet::new(0, &header, data.to_vec()));
        let (begun, mut read) = (Instant::now(), Vec::new());
        while begun.elapsed() < PATIENCE && !self.tcp.is_closed(0) {
            for packet in self.tcp.receive() {
                let tag = u32::from_be_bytes(packet.bhs[16..20].try_into().expect("four bytes"));
                match bhs::opcode(&packet.bhs) {
                    Opcode::NOP_IN if tag == u32::MAX => self.pong(&packet.bhs),
                    Opcode::SCSI_DATA_IN if tag == itt => {
                        read.extend_from_slice(&packet.data);
                        if packet.bhs[1] & 1 == 1 {
                            return Some((packet.bhs[3], read));
                        }
                    }
                    Opcode::SCSI_RESPONSE if tag == itt => return Some((packet.bhs[3], read)),
                    _ => {}
                }
            }
        }
        None
    }

    fn pong(&mut self, ping: &Bhs) {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1]) = (0x40, 0x80);
        put(&mut header, 16, u32::MAX);
        header[20..24].copy_from_slice(&ping[20..24]);
        put(&mut header, 24, self.cmd_sn);
        self.tcp.send(Packet::new(0, &header, Vec::new()));
    }

    /// Writes its own blocks, and reads them.
    fn work(&mut self, round: u8) {
        if self.tcp.is_closed(0) {
            self.log_in(0, "");
            self.listen();
            self.ask(&[0; 6], 0x80, 0, &[]).expect("an answer to the first command");
        }
        let data: Vec<u8> = (0..8192usize).map(|n| (n as u8).wrapping_mul(31) ^ round).collect();
        let written = self.ask(&[0x2a, 0, 0, 0, 0, 8, 0, 0, 16, 0], 0xa0, 8192, &data);
        assert_eq!(written.expect("a write is answered").0, 0, "the status of a write");
        let (status, read) =
            self.ask(&[0x28, 0, 0, 0, 0, 8, 0, 0, 16, 0], 0xc0, 8192, &[]).expect("a read is answered");
        assert_eq!(status, 0, "the status of a read");
        assert!(read == data, "what was read is not what was written");
    }
}

/// See the module.
pub fn run(data: &[u8]) {
    static VICTIM: Mutex<Option<(Host, u8)>> = Mutex::new(None);
    let mut input = Input(data);
    let mut victim = VICTIM.lock().expect("rounds come one after the other");
    let (victim, round) = victim.get_or_insert_with(|| (Host::new(9, "iqn.2001-04.com.example:own", PATIENCE), 0));
    let mut hosts = [1, 2].map(|number| Host::new(number, NAME, WILD_PATIENCE));
    for _ in 0..ACTIONS {
        if input.is_empty() {
            break;
        }
        let which = usize::from(input.byte() % 2);
        hosts[which].wild(&mut input);
    }
    *round = round.wrapping_add(1);
    victim.work(*round);
}
