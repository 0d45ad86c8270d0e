use super::cores::Cores;
use super::target::NAME;
use super::{Packet, Peer, Rng};
use crate::initiator::login::{Identity, Login, Security, Step};
use crate::initiator::outbox::{Digests, Outgoing, Payload, encode};
use crate::initiator::params::Offer;
use crate::initiator::receive::{Arrived, Receiver};
use crate::model::*;
use crate::shard::World;
use crate::wire::*;

struct Real {
    cores: Cores,
    rng: Rng,
    lines: Vec<(usize, Receiver)>,
    out: Vec<Packet>,
}

impl Real {
    fn settle(&mut self) {
        for _ in 0..50 {
            for core in 0..self.cores.count() {
                self.cores.turn(core, &mut |_, _, _| Some(-libc::ETIME), &mut self.rng);
            }
            self.cores.see_ends();
            self.cores.pass(20);
            for (conn, (line, receiver)) in self.lines.iter_mut().enumerate() {
                let mut bytes = Vec::new();
                self.cores.receive(*line, &mut bytes);
                let mut chunk = &bytes[..];
                while let Ok(Some(Arrived { bhs, ahs, data, data_digest_ok: intact })) = receiver.whole(&mut chunk) {
                    self.out.push(Packet { conn, bhs, ahs, data, intact });
                }
            }
        }
    }
}

impl Peer for Real {
    fn open(&mut self, _: usize) {
        let at = "127.0.0.1:3260".parse().unwrap();
        let line = self.cores.connect("192.0.2.1:1000".parse().unwrap(), at, 0);
        self.lines.push((line, Receiver::new(1 << 24)));
    }
    fn cut(&mut self, conn: usize) {
        let line = self.lines[conn].0;
        self.cores.wire(line).cut();
    }
    fn send(&mut self, packet: Packet) {
        let (mut bytes, payload) = (Vec::new(), Payload::Bytes(&packet.data));
        let mut pdu = Outgoing::new(Cid(0), packet.bhs, &packet.ahs, payload);
        pdu.bhs = packet.bhs;
        encode(&pdu, &packet.data, Digests::default(), &mut bytes);
        let line = self.lines[packet.conn].0;
        self.cores.send(line, &bytes, &mut self.rng);
        self.settle();
    }
    fn pass(&mut self, ms: u64) {
        self.cores.pass(ms * 1000);
        self.settle();
    }
    fn receive(&mut self) -> Vec<Packet> {
        self.settle();
        std::mem::take(&mut self.out)
    }
    fn is_closed(&self, _: usize) -> bool {
        false
    }
}

#[test]
fn smoke() {
    let lun = LunSpec { size_bytes: Some(1 << 20), ..LunSpec::new(0, LunKind::Ram) };
    let target = TargetSpec::new(IscsiName::new(NAME).unwrap(), None, vec![lun]);
    let portals = vec![Portal { listen: "127.0.0.1:3260".parse().unwrap(), advertise: None, group_tag: 1 }];
    let snapshot = Snapshot { portals, targets: vec![target], ..Snapshot::default() };
    let (world, _keeper) = World::open(snapshot, 2).unwrap();
    let mut real = Real { cores: Cores::new(world, 2).unwrap(), rng: Rng(1), lines: Vec::new(), out: Vec::new() };
    let _ = (Security::Skipped, Offer::default(), Step::Done as fn(_) -> _);
    let _ = Identity {
        initiator: String::new(),
        target: None,
        isid: Isid::default(),
        tsih: Tsih(0),
        cid: Cid(0),
        cmd_sn: CmdSn(1),
    };
    let _: Option<Login> = None;
    let mut trace = super::trace::Trace::new(real);
    trace.play(
        "login 0
         > 0 SCSI-Command F W itt=1 edtl=1024 cdb=2a000000000000000200
         < 0 R2T itt=1 ttt=$t offset=0 len=1024
         > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=0 data=1024
         < 0 SCSI-Response itt=1 status=0",
    );
}
