//! The examples of RFC 7143 appendix A and the tables of its appendix E, as scripts. Appendix B (logins) is in
//! `session::login`, appendix C (SendTargets) in `session::text`, appendix A.4 (CRC) in `wire::digest`. Not here: A.3.3 takes
//! a bidirectional command, which no logical unit has.

use super::tests::{level, play, written};
use crate::session::login::negotiate::Offer;

const BLOCK: usize = super::target::BLOCK_BYTES as usize;

#[test]
fn appendix_a_1_read_operation() {
    play(
        level(1),
        "login 0 ErrorRecoveryLevel=1 MaxRecvDataSegmentLength=1024
         > 0 SCSI-Command F R itt=1 edtl=2560 cdb=28000000000000000500
         < 0 Data-In itt=1 offset=0 data=1024
         < 0 Data-In itt=1 offset=1024 data=1024
         < 0 Data-In F itt=1 offset=2048 data=512
         < 0 SCSI-Response itt=1 status=0",
    );
}

#[test]
fn appendix_a_2_write_operation() {
    let trace = play(
        Offer::default(),
        "login 0 InitialR2T=Yes ImmediateData=No MaxBurstLength=1024 MaxOutstandingR2T=1
         > 0 SCSI-Command F W itt=1 edtl=3072 cdb=2a000000020000000600
         < 0 R2T itt=1 ttt=$a offset=0 len=1024
         > 0 Data-Out F itt=1 ttt=$a datasn=0 offset=0 data=1024
         < 0 R2T itt=1 ttt=$b offset=1024 len=1024
         > 0 Data-Out F itt=1 ttt=$b datasn=0 offset=1024 data=1024
         < 0 R2T itt=1 ttt=$c offset=2048 len=1024
         > 0 Data-Out F itt=1 ttt=$c datasn=0 offset=2048 data=1024
         < 0 SCSI-Response itt=1 status=0",
    );
    assert_eq!(written(&trace.peer), [(0, 3072)]);
}

#[test]
fn appendix_a_3_1_output_data_datasn_r2tsn() {
    let trace = play(
        Offer::default(),
        "login 0 InitialR2T=Yes ImmediateData=No MaxBurstLength=1024 MaxOutstandingR2T=2
         > 0 SCSI-Command F W itt=1 edtl=2048 cdb=2a000000020000000400
         < 0 R2T itt=1 ttt=$a r2tsn=0 offset=0 len=1024
         < 0 R2T itt=1 ttt=$b r2tsn=1 offset=1024 len=1024
         > 0 Data-Out itt=1 ttt=$a datasn=0 offset=0 data=512
         > 0 Data-Out F itt=1 ttt=$a datasn=1 offset=512 data=512
         > 0 Data-Out F itt=1 ttt=$b datasn=0 offset=1024 data=1024
         < 0 SCSI-Response itt=1 status=0 expdatasn=0",
    );
    assert_eq!(written(&trace.peer), [(0, 2048)]);
}

#[test]
fn appendix_a_3_2_input_data_datasn() {
    play(
        level(1),
        "login 0 ErrorRecoveryLevel=1 MaxRecvDataSegmentLength=1024
         > 0 SCSI-Command F R itt=1 edtl=3072 cdb=28000000000000000600
         < 0 Data-In !F itt=1 datasn=0 offset=0 data=1024
         < 0 Data-In !F itt=1 datasn=1 offset=1024 data=1024
         < 0 Data-In F itt=1 datasn=2 offset=2048 data=1024
         < 0 SCSI-Response itt=1 status=0 expdatasn=3",
    );
}

#[test]
fn appendix_a_3_4_unsolicited_and_immediate_output_data() {
    let trace = play(
        Offer::default(),
        "login 0 InitialR2T=No ImmediateData=Yes FirstBurstLength=1024
         > 0 SCSI-Command W itt=1 edtl=2048 cdb=2a000000020000000400 data=512
         > 0 Data-Out F itt=1 datasn=0 offset=512 data=512
         < 0 R2T itt=1 ttt=$t r2tsn=0 offset=1024 len=1024
         > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=1024 data=1024
         < 0 SCSI-Response itt=1 status=0",
    );
    assert_eq!(written(&trace.peer), [(0, 2048)]);
}

/// Two connections with a write each that waits for its data: connection 0 has the "connection tasks" of appendix E, both
/// together are the "session tasks".
fn busy(keys: &str) -> String {
    format!(
        "login 0 cid=0 MaxConnections=4 InitialR2T=Yes ImmediateData=No {keys}
         login 1 cid=1
         > 0 SCSI-Command F W itt=1 edtl=1024 cdb=2a000000020000000200
         < 0 R2T itt=1 ttt=$t offset=0 len=1024
         > 1 SCSI-Command F W itt=2 edtl=512 cdb=2a000000020800000100
         < 1 R2T itt=2 ttt=$u offset=0 len=512
        "
    )
}

const LEVEL_2: &str = "ErrorRecoveryLevel=2 DefaultTime2Retain=5";
/// The session's other task is not affected: its data is taken.
const OTHER_GOES_ON: &str = "> 1 Data-Out F itt=2 ttt=$u datasn=0 offset=0 data=512
         < 1 SCSI-Response itt=2 status=0
        ";
/// The connection's task is gone.
const GONE: &str = "> 1 Task-Management I function=1 itt=8 ref=1 refcmdsn=1
         < 1 Task-Response itt=8 response=$gone
        ";
const OTHER_WRITE: (usize, usize) = (8 * BLOCK, 512);

/// The task of connection 0 is reassigned to `conn` and gets its data there.
fn goes_on(conn: usize) -> String {
    format!(
        "> {conn} Task-Management I function=8 itt=5 ref=1
         < {conn} Task-Response itt=5 response=0
         < {conn} R2T itt=1 ttt=$v offset=0 len=1024
         > {conn} Data-Out F itt=1 ttt=$v datasn=0 offset=0 data=1024
         < {conn} SCSI-Response itt=1 status=0
        "
    )
}

/// What a script has written, in the order of the disk.
fn played(of_level: u8, script: &str) -> Vec<(usize, usize)> {
    written(&play(level(of_level), script).peer)
}

#[test]
fn appendix_e_connection_failure_and_recovery_logout_clear_no_tasks() {
    let script = format!(
        "{}cut 0\nwait 250\n< 1 Async event=2 parameter1=0\n{OTHER_GOES_ON}
         > 1 Logout I reason=2 itt=4 cid=0\n< 1 Logout-Response itt=4 response=0\n{}",
        busy(LEVEL_2),
        goes_on(1)
    );
    assert_eq!(played(2, &script), [(0, 1024), OTHER_WRITE]);
}

#[test]
fn appendix_e_connection_state_timeout_clears_the_connections_tasks() {
    let script = format!(
        "{}cut 0\nwait 250\n< 1 Async event=2 parameter1=0\n{OTHER_GOES_ON}wait 9000
         > 1 Task-Management I function=8 itt=5 ref=1
         # The window of the task that is gone, then the answer.
         < 1 NOP-In itt=none\n< 1 Task-Response itt=5 response=1",
        busy(LEVEL_2)
    );
    assert_eq!(played(2, &script), [OTHER_WRITE]);
}

#[test]
fn appendix_e_connection_close_logout_clears_the_connections_tasks() {
    for (of_level, keys) in [(0, ""), (2, LEVEL_2)] {
        let script = format!(
            "{}> 1 Logout I reason=1 itt=4 cid=0\n< 1 Logout-Response itt=4 response=0\nclosed 0\n{GONE}{OTHER_GOES_ON}",
            busy(keys)
        );
        assert_eq!(played(of_level, &script), [OTHER_WRITE]);
    }
}

#[test]
fn appendix_e_session_closure_and_reinstatement_clear_all_tasks() {
    for (of_level, keys) in [(0, ""), (2, LEVEL_2)] {
        let closed = "> 1 Logout I reason=0 itt=4\n< 1 Logout-Response itt=4 response=0\nclosed 0\nclosed 1\n";
        assert_eq!(played(of_level, &format!("{}{closed}", busy(keys))), []);
        // A leading login of the same initiator port: StatSN and CmdSN begin anew.
        let again = "cmdsn 1000\nlogin 2 cid=0 tsih=0\nclosed 0\nclosed 1
             > 2 SCSI-Command F R itt=1 edtl=512 cdb=28000000000000000100
             < 2 Data-In F itt=1 expcmdsn=1001 data=512
            ";
        assert_eq!(played(of_level, &format!("{}{again}", busy(keys))), []);
    }
}

#[test]
fn appendix_e_session_failure_clears_no_tasks_of_what_can_be_continued() {
    // Both connections; the session is continued by a login on either.
    let script = format!("{}cut 0\ncut 1\nwait 1\nlogin 2 cid=0\n{}", busy(LEVEL_2), goes_on(2));
    assert_eq!(played(2, &script), [(0, 1024)]);
    let over = format!("{}cut 0\ncut 1\nwait 1\nlogin 2 cid=0 status=0x020a", busy(""));
    assert_eq!(played(0, &over), []);
}

#[test]
fn appendix_e_connection_reinstatement_clears_tasks_below_level_2() {
    // (11): "Y" only if it is a connection reinstatement and the operational ErrorRecoveryLevel is less than 2.
    let below = format!("{}login 2 cid=0\nclosed 0\n{GONE}{OTHER_GOES_ON}", busy(""));
    assert_eq!(played(0, &below), [OTHER_WRITE]);
    let at_2 = format!("{}login 2 cid=0\nclosed 0\n{OTHER_GOES_ON}{}", busy(LEVEL_2), goes_on(2));
    assert_eq!(played(2, &at_2), [(0, 1024), OTHER_WRITE]);
}

#[test]
fn appendix_e_resets_clear_all_tasks_of_the_unit() {
    // LOGICAL UNIT RESET, TARGET WARM RESET: tasks are gone when the response comes, connections stay. TARGET COLD RESET
    // is carried out by the server: see the tests of `shard`.
    for function in [5, 6] {
        let script = format!(
            "{}> 1 Task-Management I function={function} itt=4\nwait 1000\n< 1 Task-Response itt=4 response=0
             > 0 NOP-Out I itt=5\n< 0 NOP-In itt=5",
            busy("")
        );
        assert_eq!(played(0, &script), [], "function {function}");
    }
}
