use super::*;
use crate::iscsi::login::MAX_RECV_LEN;
use ringsan::initiator::login::LoggedIn;
use ringsan::initiator::params::Params;
use ringsan::wire::{
    BHS_LEN, Bhs, CmdSn, DataIn, DataOut, DataSn, NopIn, NopOut, R2t, R2tSn, ScsiCommand, StatSn, Tsih, Ttt,
};

const AREA_LEN: usize = 65_536;

/// The target's side: emits PDUs with or without digests and numbers them.
struct Target {
    digests: bool,
    stat_sn: u32,
    out: Vec<u8>,
}

impl Target {
    fn new(digests: bool) -> Self {
        Self { digests, stat_sn: 100, out: Vec::new() }
    }

    fn push(&mut self, header: Bhs, data: &[u8]) {
        self.out.extend(header);
        if self.digests {
            self.out.extend(crc32c::crc32c(&header).to_le_bytes());
        }
        let mut data = data.to_vec();
        data.resize(data.len() + bhs::padding(data.len()), 0);
        self.out.extend(&data);
        if self.digests && !data.is_empty() {
            self.out.extend(crc32c::crc32c(&data).to_le_bytes());
        }
    }

    fn next_status(&mut self) -> StatSn {
        self.stat_sn += 1;
        StatSn(self.stat_sn - 1)
    }

    fn data_in(&mut self, itt: Itt, data_sn: u32, offset: u32, data: &[u8], last: bool) {
        let pdu = DataIn {
            is_final: last,
            acknowledge: false,
            overflow: false,
            underflow: false,
            has_status: last,
            status: 0,
            data_segment_len: data.len() as u32,
            lun: Lun::default(),
            itt,
            ttt: Ttt::RESERVED,
            stat_sn: if last { self.next_status() } else { StatSn(0) },
            exp_cmd_sn: CmdSn(1),
            max_cmd_sn: CmdSn(64),
            data_sn: DataSn(data_sn),
            buffer_offset: offset,
            residual_bytes: 0,
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.push(header, data);
    }

    fn response(&mut self, itt: Itt, status: u8, sense: &[u8]) {
        let pdu = ScsiResponse {
            bidi_overflow: false,
            bidi_underflow: false,
            overflow: false,
            underflow: false,
            response: 0,
            status,
            status_qualifier: 0,
            data_segment_len: sense.len() as u32,
            itt,
            snack_tag: 0,
            stat_sn: self.next_status(),
            exp_cmd_sn: CmdSn(1),
            max_cmd_sn: CmdSn(64),
            exp_data_sn: 0,
            bidi_residual_bytes: 0,
            residual_bytes: 0,
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.push(header, sense);
    }

    fn r2t(&mut self, itt: Itt, offset: u32, len: u32) {
        let pdu = R2t {
            lun: Lun::default(),
            itt,
            ttt: Ttt(7),
            stat_sn: StatSn(self.stat_sn),
            exp_cmd_sn: CmdSn(1),
            max_cmd_sn: CmdSn(64),
            r2t_sn: R2tSn(0),
            buffer_offset: offset,
            desired_len_bytes: len,
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.push(header, &[]);
    }

    fn nop_in(&mut self, itt: Itt, ttt: Ttt) {
        let stat_sn = if itt.is_reserved() { StatSn(self.stat_sn) } else { self.next_status() };
        let pdu = NopIn {
            data_segment_len: 3,
            lun: Lun::default(),
            itt,
            ttt,
            stat_sn,
            exp_cmd_sn: CmdSn(1),
            max_cmd_sn: CmdSn(64),
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.push(header, b"abc");
    }
}

fn client(digests: bool, params: Params) -> IscsiClient {
    let digests = Digests { header: digests, data: digests };
    let done = LoggedIn {
        cid: CID,
        tsih: Tsih(1),
        params: Params { digests, ..params },
        exp_stat_sn: StatSn(100),
        exp_cmd_sn: CmdSn(1),
        max_cmd_sn: CmdSn(8),
        portal_group_tag: None,
    };
    let mut receiver = Receiver::new(MAX_RECV_LEN);
    receiver.set_digests(digests);
    IscsiClient::new(Session::new(&done, CmdSn(1), 4), receiver, digests, Lun::flat(3), 512, 4, true)
}

fn sent(tx: &mut TxQueue, area: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(tx.flush(&mut bytes, area).unwrap());
    bytes
}

/// Feeds the stream in pieces of one size.
fn feed(
    client: &mut IscsiClient,
    stream: &[u8],
    piece: usize,
    verify: bool,
) -> (Result<(), Failure>, Vec<Done>, Vec<u8>) {
    let area = vec![0x5a; AREA_LEN];
    let (mut done, mut tx) = (Vec::new(), TxQueue::default());
    let mut context = Context { area: &area, verify, done: &mut done };
    let result = stream.chunks(piece).try_for_each(|bytes| client.receive(bytes, &mut context, &mut tx));
    (result, done, sent(&mut tx, &area))
}

fn io(operation: Operation, len: u32) -> Io {
    Io { operation, offset: 1 << 20, len, generation: 2 }
}

fn issue(client: &mut IscsiClient, slot: u32, io: &Io) -> (Itt, Vec<u8>) {
    let area = vec![0x5a; AREA_LEN];
    let mut tx = TxQueue::default();
    client.issue(slot, io, 0, &area, &mut tx);
    (client.session.itt(TaskIx(slot as u16)).unwrap(), sent(&mut tx, &area))
}

#[test]
fn a_read_in_two_pdus_whatever_the_pieces() {
    for digests in [false, true] {
        for piece in (1..60).chain([1000, 100_000]) {
            let mut client = client(digests, Params::default());
            let (itt, command) = issue(&mut client, 2, &io(Operation::Read, 4096));
            assert_eq!(command.len(), if digests { 52 } else { 48 });
            let mut data = vec![0; 4096];
            pattern::fill(&mut data, 1 << 20, 2);
            let mut target = Target::new(digests);
            target.data_in(itt, 0, 0, &data[..1001], false);
            target.nop_in(Itt::RESERVED, Ttt::RESERVED);
            target.data_in(itt, 1, 1001, &data[1001..], true);
            let (result, done, _) = feed(&mut client, &target.out, piece, true);
            assert_eq!(result, Ok(()), "digests {digests}, piece {piece}");
            assert_eq!(done, [Done { slot: 2, outcome: Outcome::Good }]);
            assert_eq!(client.window(), 63);
        }
    }
}

#[test]
fn every_flipped_byte_of_data_is_noticed() {
    let mut data = vec![0; 512];
    pattern::fill(&mut data, 1 << 20, 2);
    for (digests, verify) in [(true, false), (false, true)] {
        for flipped in 0..512 {
            let mut client = client(digests, Params::default());
            let (itt, _) = issue(&mut client, 0, &io(Operation::Read, 512));
            let mut target = Target::new(digests);
            target.data_in(itt, 0, 0, &data, true);
            let start = if digests { 52 } else { 48 };
            target.out[start + flipped] ^= 1;
            assert!(feed(&mut client, &target.out, 100, verify).0.is_err());
        }
    }
}

#[test]
fn what_does_not_belong_is_refused() {
    let data = [0; 512];
    let cases: [fn(&mut Target, Itt, &[u8]); 6] = [
        |target, itt, data| target.data_in(Itt(itt.0 ^ 0x1_0000), 0, 0, data, true),
        |target, itt, data| target.data_in(itt, 1, 0, data, true),
        |target, itt, data| target.data_in(itt, 0, 512, data, true),
        |target, itt, data| target.data_in(itt, 0, 0, &data[..100], true),
        |target, itt, _| target.response(itt, 0, &[]),
        |target, itt, _| target.r2t(itt, 0, 512),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut client = client(false, Params::default());
        let (itt, _) = issue(&mut client, 0, &io(Operation::Read, 512));
        let mut target = Target::new(false);
        case(&mut target, itt, &data);
        assert!(feed(&mut client, &target.out, 4096, false).0.is_err(), "case {number}");
    }
}

#[test]
fn a_write_goes_as_immediate_unsolicited_and_solicited_data() {
    let params =
        Params { target_max_recv_bytes: 1024, first_burst_bytes: 3072, initial_r2t: false, ..Params::default() };
    let mut client = client(false, params);
    let (itt, bytes) = issue(&mut client, 1, &io(Operation::Write, 8192));
    let headers: Vec<Bhs> = bytes.chunks(48 + 1024).map(|pdu| *pdu.first_chunk().unwrap()).collect();
    let command = ScsiCommand::parse(&headers[0]).unwrap();
    assert_eq!((command.is_final, command.data_segment_len, command.edtl_bytes), (false, 1024, 8192));
    assert_eq!(command.lun.number(), Some(3));
    let data_outs: Vec<_> = headers[1..].iter().map(|header| DataOut::parse(header).unwrap()).collect();
    let facts: Vec<_> = data_outs.iter().map(|p| (p.buffer_offset, p.data_sn.0, p.is_final, p.ttt)).collect();
    assert_eq!(facts, [(1024, 0, false, Ttt::RESERVED), (2048, 1, true, Ttt::RESERVED)]);

    let mut target = Target::new(false);
    target.r2t(itt, 3072, 1536);
    let (result, done, bytes) = feed(&mut client, &target.out, 4096, false);
    assert_eq!((result, done.len(), bytes.len()), (Ok(()), 0, 2 * 48 + 1536));
    let second = DataOut::parse(bytes[48 + 1024..].first_chunk().unwrap()).unwrap();
    assert_eq!((second.buffer_offset, second.data_segment_len, second.is_final), (4096, 512, true));
    assert_eq!((second.ttt, second.data_sn), (Ttt(7), DataSn(1)));

    let mut target = Target { stat_sn: 100, ..Target::new(false) };
    target.response(itt, status::GOOD, &[]);
    let (result, done, _) = feed(&mut client, &target.out, 10, false);
    assert_eq!((result, done), (Ok(()), vec![Done { slot: 1, outcome: Outcome::Good }]));
}

#[test]
fn sense_decides_between_again_and_never() {
    let sense = |key| [0, 18, 0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0];
    let mut client = client(true, Params::default());
    let (itt, _) = issue(&mut client, 0, &io(Operation::Read, 512));
    let mut target = Target::new(true);
    target.response(itt, status::CHECK_CONDITION, &sense(6));
    let (result, done, _) = feed(&mut client, &target.out, 7, false);
    assert_eq!((result, done), (Ok(()), vec![Done { slot: 0, outcome: Outcome::Retry }]));
    let (again, _) = issue(&mut client, 0, &io(Operation::Read, 512));
    assert_ne!(itt, again);
    target.out.clear();
    target.response(again, status::CHECK_CONDITION, &sense(3));
    let failure = feed(&mut client, &target.out, 7, false).0.unwrap_err();
    assert!(failure.0.contains("MEDIUM ERROR"), "{failure}");
}

#[test]
fn pings_both_ways() {
    let mut client = client(false, Params::default());
    let mut tx = TxQueue::default();
    client.ping(&mut tx);
    let out = sent(&mut tx, &[]);
    let ping = NopOut::parse(out.first_chunk().unwrap()).unwrap();
    assert!(ping.immediate_delivery && ping.ttt.is_reserved());
    let mut target = Target::new(false);
    target.nop_in(ping.itt, Ttt::RESERVED);
    target.nop_in(Itt::RESERVED, Ttt(0x55));
    let (result, done, bytes) = feed(&mut client, &target.out, 50, false);
    assert_eq!((result, done), (Ok(()), vec![Done { slot: 0, outcome: Outcome::Pong }]));
    let answer = NopOut::parse(bytes.first_chunk().unwrap()).unwrap();
    assert_eq!((answer.itt, answer.ttt, bytes.len()), (Itt::RESERVED, Ttt(0x55), 48));
}
