//! Rules whose code is in the shard, against a server that is running: what begins before the login, and what reaches
//! beyond one session.

use super::server::{READY, Server, target};
use ringsan::sim::target::NAME;
use ringsan::sim::tcp::Tcp;
use ringsan::sim::trace::Trace;

/// A server with two initiator ports that are logged in, each with its power-on unit attention taken.
fn two() -> (Server, Trace<Tcp>, Trace<Tcp>) {
    let server = Server::start(&target("[0]"));
    let (mut a, mut b) = (Trace::new(server.peer()), Trace::new(server.peer()));
    a.play(&format!("login 0 iSCSIProtocolLevel=2 InitialR2T=Yes ImmediateData=No\n{READY}"));
    b.play(&format!("login 0 isid=2 InitialR2T=Yes ImmediateData=No\n{READY}"));
    (server, a, b)
}

#[test]
fn item_07_a_pdu_before_the_login_ends_the_connection() {
    let server = Server::start(&target("[0]"));
    //= RFC 7143 section 4.2.4
    //# On any connection, the Login Phase MUST immediately follow TCP
    //# connection establishment, and a subsequent Login Phase MUST NOT occur
    //# before tearing down the connection.
    //= RFC 7143 section 4.2.4
    //# A target receiving any PDU except a Login Request before the Login Phase
    //# is started MUST immediately terminate the connection on which the PDU
    //# was received.
    for pdu in ["NOP-Out I itt=1", "SCSI-Command F itt=1 cdb=00", "Text I F itt=1 text=SendTargets=All", "SNACK type=1"]
    {
        let mut trace = Trace::new(server.peer());
        trace.play(&format!("open 0\n> 0 {pdu}\n< nothing\nclosed 0"));
    }
}

#[test]
fn item_07_a_pdu_between_login_requests_is_refused() {
    let server = Server::start(&target("[0]"));
    //= RFC 7143 section 4.2.4
    //# Once the Login Phase has started, if the target receives any PDU except
    //# a Login Request, it MUST send a Login reject (with Status "invalid
    //# during login") and then disconnect.
    //= RFC 7143 section 7.1.4
    //# The use of within-connection and within-command recovery classes MUST
    //# NOT be attempted before the connection is in the Full Feature Phase.
    for pdu in ["NOP-Out I itt=7", "SNACK type=1 itt=7", "SCSI-Command F itt=7 cdb=00"] {
        let name = ringsan::sim::target::NAME;
        Trace::new(server.peer()).play(&format!(
            "open 0
             > 0 Login I T=0 isid=1 text=InitiatorName=iqn.2001-04.com.example:host,TargetName={name},SessionType=Normal
             < 0 Login-Response status=0 !T
             > 0 {pdu}
             < 0 Login-Response itt=7 status=0x020b
             < nothing
             closed 0"
        ));
    }
}

#[test]
fn item_72_resets_and_cleared_commands_are_told_to_the_others() {
    //= RFC 7143 section 11.5.1
    //# For the LOGICAL UNIT RESET function, the target MUST behave as dictated
    //# by the Logical Unit Reset function in [SAM2].
    let (_server, mut a, mut b) = two();
    let open = "> 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000000000000100
         < 0 R2T itt=1 ttt=$t
        ";
    b.play(open);
    a.play("> 0 Task-Management I function=5 itt=2\n< 0 Task-Response itt=2 response=0");
    // Nothing of the aborted command: what comes opens the window again.
    b.play(
        "wait 100
         < 0 NOP-In itt=none ttt=none
         < nothing
         > 0 SCSI-Command F itt=3 cdb=00
         < 0 SCSI-Response itt=3 status=2
         sense 6 0x29 3
         > 0 SCSI-Command F itt=4 cdb=00
         < 0 SCSI-Response itt=4 status=0",
    );
    // CLEAR TASK SET: only those whose commands it may have cleared are told.
    a.play("> 0 SCSI-Command F itt=3 cdb=00\n< 0 SCSI-Response itt=3 status=2\nsense 6 0x29 3");
    b.play("> 0 SCSI-Command F W itt=5 edtl=512 cdb=2a000000000000000100\n< 0 R2T itt=5");
    a.play(
        "> 0 Task-Management I function=4 itt=4
         < 0 Task-Response itt=4 response=0
         > 0 SCSI-Command F itt=5 cdb=00
         < 0 SCSI-Response itt=5 status=0",
    );
    b.play(
        "wait 100
         < 0 NOP-In itt=none ttt=none
         > 0 SCSI-Command F itt=6 cdb=00
         < 0 SCSI-Response itt=6 status=2
         sense 6 0x2f 0",
    );
}

#[test]
fn item_74_a_cold_reset_closes_all_connections_and_a_warm_one_none() {
    //= RFC 7143 section 11.5.1
    //# Additionally, the target MUST treat the TARGET COLD RESET function as a
    //# power-on event, thus terminating all of its TCP connections to all
    //# initiators (all sessions are terminated).
    //= RFC 7143 section 11.6.1
    //# For the TARGET COLD RESET function, the target MUST then close all of
    //# its TCP connections to all initiators (terminates all sessions).
    let (_server, mut a, mut b) = two();
    a.play("> 0 Task-Management I function=6 itt=1\n< 0 Task-Response itt=1 response=0\n< nothing");
    for trace in [&mut a, &mut b] {
        trace.play("> 0 SCSI-Command F itt=2 cdb=00\n< 0 SCSI-Response itt=2 status=2\nsense 6 0x29 3");
    }
    a.play("> 0 Task-Management I function=7 itt=3\n< 0 Task-Response itt=3 response=0\n< nothing\nclosed 0");
    b.play("< nothing\nclosed 0");
    for (isid, trace) in [(1, &mut a), (2, &mut b)] {
        trace.play(&format!(
            "login 0 tsih=0 isid={isid}
             > 0 SCSI-Command F itt=1 cdb=00
             < 0 SCSI-Response itt=1 status=2
             sense 6 0x29 0"
        ));
    }
}

#[test]
fn item_73_a_reset_of_units_that_are_hidden_is_not_authorized() {
    //= RFC 7143 section 11.5.1
    //# When authorization fails at the target, the appropriate response as
    //# described in Section 11.6.1 MUST be returned by the target.
    let group = "[[target.group]]\ninitiators = [\"iqn.2001-04.com.example:*\"]\nluns = [0]\n";
    let server = Server::start(&format!("{}{group}", target("[0, 1]")));
    Trace::new(server.peer()).play(&format!(
        "login 0
         {READY}
         > 0 Task-Management I function=6 itt=1
         < 0 Task-Response itt=1 response=6
         > 0 Task-Management I function=7 itt=2
         < 0 Task-Response itt=2 response=6
         < nothing
         > 0 Task-Management I function=5 itt=3 lun=0x0001000000000000
         < 0 Task-Response itt=3 response=2
         > 0 Task-Management I function=5 itt=4
         < 0 Task-Response itt=4 response=0"
    ));
}

/// What the loss of a nexus clears is gone, for each way to lose it: RESERVE(6), and the tasks of the session.
#[test]
fn item_100_what_the_end_of_a_session_clears() {
    //= RFC 7144 section 6.3
    //# Each logical unit accessible via the receiving I_T NEXUS MUST behave as
    //# dictated by the I_T nexus loss function in [SAM5] for the I_T nexus on
    //# which the task management function was received.
    //= RFC 7143 section 7.15
    //# A target MUST also be prepared to handle a session reinstatement request
    //# from the initiator that may be addressing session errors.
    for end in [
        "> 0 Logout I reason=0 itt=9\n< 0 Logout-Response itt=9 response=0",
        "> 0 Logout I reason=1 itt=9 cid=0\n< 0 Logout-Response itt=9 response=0",
        "login 1 tsih=0",
        "cut 0",
        "> 0 Task-Management I function=11 itt=9\n> 0 Data-Out F itt=2 ttt=$t data=512\n< 0 Task-Response itt=9 response=0",
    ] {
        let (_server, mut a, mut b) = two();
        a.play(
            "> 0 SCSI-Command F itt=1 cdb=16
             < 0 SCSI-Response itt=1 status=0
             > 0 SCSI-Command F W itt=2 edtl=512 cdb=2a000000000000000100
             < 0 R2T itt=2 ttt=$t",
        );
        b.play("> 0 SCSI-Command F itt=1 cdb=00\n< 0 SCSI-Response itt=1 status=0x18");
        a.play(end);
        b.play(
            "wait 200
             > 0 SCSI-Command F itt=2 cdb=00
             < 0 SCSI-Response itt=2 status=0
             > 0 SCSI-Command F R itt=3 edtl=512 cdb=28000000000000000100
             < 0 Data-In itt=3 data=512",
        );
    }
}

/// A session at ErrorRecoveryLevel 0 or 2 with the connections 0 and 1, their power-on unit attentions taken.
fn two_connections(server: &Server, level: u8) -> Trace<Tcp> {
    let mut trace = Trace::new(server.peer());
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
    let server = Server::start(&target("[0, 1]"));
    for end in [
        "> 0 Logout I reason=1 itt=9 cid=1\n< 0 Logout-Response itt=9 response=0",
        "cut 1\nwait 100\n< 0 Async event=2",
    ] {
        let mut trace = two_connections(&server, 0);
        trace.play(OPEN);
        trace.play(end);
        trace.play(TOLD);
        trace.play("> 0 Logout I reason=0 itt=30\n< 0 Logout-Response itt=30 response=0");
    }
}

#[test]
fn item_81_a_connection_that_nobody_recovers_clears_commands() {
    let server = Server::start(&target("[0, 1]"));
    for end in [
        "> 0 Logout I reason=2 itt=9 cid=1\n< 0 Logout-Response itt=9 response=0",
        "cut 1\nwait 100\n< 0 Async event=2",
    ] {
        let mut trace = two_connections(&server, 2);
        trace.play(OPEN);
        trace.play(end);
        trace.play("> 0 SCSI-Command F itt=10 cdb=00\n< 0 SCSI-Response itt=10 status=0\nwait 1700\n< 0 NOP-In itt=none ttt=none");
        trace.play(TOLD);
        trace.play("> 0 Logout I reason=0 itt=30\n< 0 Logout-Response itt=30 response=0");
    }
}

#[test]
fn item_11_the_session_handle_comes_with_the_last_response() {
    //= RFC 7143 section 11.13.3
    //# For a new session, the target MUST
    //# generate a non-zero TSIH and ONLY return it in the Login
    //# Final-Response (see Section 6.3).
    let server = Server::start(&target("[0]"));
    Trace::new(server.peer()).play(&format!(
        "open 0
         > 0 Login I T=0 csg=0 isid=1 text=InitiatorName=iqn.2001-04.com.example:host,TargetName={NAME}
         < 0 Login-Response status=0 !T tsih=0
         > 0 Login I T csg=0 nsg=1 isid=1
         < 0 Login-Response status=0 T tsih=0
         > 0 Login I T=0 csg=1 isid=1
         < 0 Login-Response status=0 !T tsih=0
         > 0 Login I T csg=1 nsg=3 isid=1
         < 0 Login-Response status=0 T tsih=1"
    ));
}

#[test]
fn item_09_a_login_that_fails_ends_the_connection() {
    //= RFC 7143 section 11.13.5
    //# If the Status-Class is not 0, the initiator and target MUST close the
    //# TCP connection.
    let server = Server::start(&target("[0]"));
    let mut trace = Trace::new(server.peer());
    let name = "InitiatorName=iqn.2001-04.com.example:host";
    for (text, status) in [
        (format!("{name},TargetName=iqn.2001-04.com.example:none"), "0x0203"),
        (format!("{name},TargetName={NAME},MaxConnections=0"), "0x0200"),
        (format!("TargetName={NAME}"), "0x0207"),
    ] {
        trace.play(&format!(
            "open 0
             > 0 Login I T csg=1 nsg=3 isid=1 text={text}
             < 0 Login-Response status={status}
             < nothing
             closed 0"
        ));
    }
    // Also one that is refused when it is to be placed.
    trace.play("login 0 tsih=77 status=0x020a\n< nothing\nclosed 0");
}
