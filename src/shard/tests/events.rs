//! What a nexus learns of commands that its own connections have cleared, and what QUERY ASYNCHRONOUS EVENT says of it.

use super::Server;
use super::peer::Peer;
use crate::backend::FaultPlan;
use crate::sim::tcp::Tcp;
use crate::sim::trace::Trace;

/// A session at ErrorRecoveryLevel 0 or 2 with the connections 0 and 1, their power-on unit attentions taken.
fn two(server: &Server, level: u8) -> Trace<Tcp> {
    // A script has less patience than a core may take to begin.
    Peer::login(server.at, 9, &[]).logout(0, 0);
    let mut trace = Trace::new(Tcp::new(server.at));
    trace.play(&format!(
        "login 0 ErrorRecoveryLevel={level} DefaultTime2Wait=0 DefaultTime2Retain=1 MaxConnections=4 InitialR2T=Yes \
         ImmediateData=No iSCSIProtocolLevel=2
         > 0 SCSI-Command F itt=101 cdb=00
         < 0 SCSI-Response itt=101 status=2
         > 0 SCSI-Command F itt=102 lun=0x0001000000000000 cdb=00
         < 0 SCSI-Response itt=102 status=2
         sense 6 0x29 0
         login 1 cid=1",
    ));
    trace
}

/// A write on connection 1 that waits for its data.
const OPEN: &str = "> 1 SCSI-Command F W itt=1 edtl=512 cdb=2a000000000000000100\n< 1 R2T itt=1";

/// The session is told at LUN 0, once, and not at LUN 1.
const TOLD: &str = "
    > 0 Task-Management I function=12 itt=20
    < 0 Task-Response itt=20 response=7 info=0x16477f
    > 0 Task-Management I function=12 itt=21 lun=0x0001000000000000
    < 0 Task-Response itt=21 response=0 info=0
    > 0 SCSI-Command F itt=22 cdb=00
    < 0 SCSI-Response itt=22 status=2
    sense 6 0x47 0x7f
    > 0 Task-Management I function=12 itt=23
    < 0 Task-Response itt=23 response=0 info=0
    > 0 SCSI-Command F itt=24 cdb=00
    < 0 SCSI-Response itt=24 status=0
    > 0 SCSI-Command F itt=25 lun=0x0001000000000000 cdb=00
    < 0 SCSI-Response itt=25 status=0";

#[test]
fn item_81_a_connection_that_is_closed_clears_commands() {
    //= RFC 7143 section 11.14.5
    //# After the
    //# tasks are terminated, the target MUST report a Unit Attention
    //# condition on the next command processed on any connection for each
    //# affected I_T_L nexus with the status of CHECK CONDITION, the ASC/ASCQ
    //# value of 47h/7Fh ("SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT"),
    //# etc.; see [SPC3].
    //= RFC 7144 section 6.4.2
    //# For the QUERY ASYNCHRONOUS EVENT, if there is a unit attention
    //# condition or deferred error pending for the specified I_T_L nexus,
    //# then the logical unit returns a Response value of "Function
    //# succeeded", and additional response information is returned as
    //# specified in [SAM5].
    let server = Server::new(1, FaultPlan::new());
    for end in [
        "> 0 Logout I reason=1 itt=9 cid=1\n< 0 Logout-Response itt=9 response=0",
        "cut 1\nwait 100\n< 0 Async event=2",
    ] {
        let mut trace = two(&server, 0);
        trace.play(OPEN);
        trace.play(end);
        trace.play(TOLD);
        trace.play("> 0 Logout I reason=0 itt=30\n< 0 Logout-Response itt=30 response=0");
    }
}

#[test]
fn item_81_a_connection_that_nobody_recovers_clears_commands() {
    let server = Server::new(1, FaultPlan::new());
    for end in [
        "> 0 Logout I reason=2 itt=9 cid=1\n< 0 Logout-Response itt=9 response=0",
        "cut 1\nwait 100\n< 0 Async event=2",
    ] {
        let mut trace = two(&server, 2);
        trace.play(OPEN);
        trace.play(end);
        trace.play("> 0 SCSI-Command F itt=10 cdb=00\n< 0 SCSI-Response itt=10 status=0\nwait 1700\n< 0 NOP-In itt=none ttt=none");
        trace.play(TOLD);
        trace.play("> 0 Logout I reason=0 itt=30\n< 0 Logout-Response itt=30 response=0");
    }
}
