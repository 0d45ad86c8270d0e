//! The scripted initiator against the target of this process.

use super::target::Target;
use super::trace::Trace;
use crate::session::login::negotiate::Offer;

/// A script against a fresh target.
pub fn play(offer: Offer, script: &str) -> Trace<Target> {
    let mut trace = Trace::new(Target::new(offer, 1024, 1));
    let pattern = (0..trace.peer.disk.len()).map(|n| super::trace::pattern(n % (64 << 10))).collect();
    trace.peer.disk = pattern;
    trace.play(script);
    trace
}

#[test]
fn a_session_reads_like_a_packet_trace() {
    let trace = play(
        Offer::default(),
        "login 0 InitialR2T=Yes ImmediateData=No
         > 0 SCSI-Command F R itt=1 edtl=1024 cdb=28000000000000000200
         < 0 Data-In F S itt=1 datasn=0 offset=0 data=1024 status=0
         > 0 SCSI-Command F W itt=2 edtl=1024 cdb=2a000000000000000200
         < 0 R2T itt=2 ttt=$t r2tsn=0 offset=0 len=1024
         > 0 Data-Out itt=2 ttt=$t datasn=0 offset=0 data=512
         > 0 Data-Out F itt=2 ttt=$t datasn=1 offset=512 data=512
         < 0 SCSI-Response itt=2 status=0 !U !O
         > 0 SCSI-Command F itt=3 cdb=ff
         < 0 SCSI-Response itt=3 status=2
         sense 5 0x20 0
         > 0 Logout I reason=0 itt=4
         < 0 Logout-Response itt=4 response=0
         closed 0",
    );
    assert_eq!(trace.peer.writes, [(0, 1024)]);
}
