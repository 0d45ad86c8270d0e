//! The scripted initiator against the target of this process.

use super::target::{BLOCK_BYTES, Target};
use super::trace::{Trace, pattern};
use crate::session::login::negotiate::Offer;

/// Where scripts write: from there on the disk is blank, block 0x200. What is before that is to be read.
const BLANK: u64 = 0x200 * BLOCK_BYTES as u64;
/// Bytes that are blank.
const BLANK_BYTES: usize = 64 << 10;

/// A script against a fresh target.
pub fn play(offer: Offer, script: &str) -> Trace<Target> {
    let mut target = Target::new(offer, 1024, 1);
    target.fill(0, &(0..64 << 10).map(pattern).collect::<Vec<_>>());
    let mut trace = Trace::new(target);
    trace.play(script);
    trace
}

/// What was written to the blank part of the disk, in the order of the disk: where it begins there, and its length, bytes.
/// It is what scripts write, each from its beginning.
pub fn written(target: &Target) -> Vec<(usize, usize)> {
    let (blank, block) = (target.read(BLANK, BLANK_BYTES), BLOCK_BYTES as usize);
    let mut found: Vec<(usize, usize)> = Vec::new();
    for at in (0..BLANK_BYTES).step_by(block).filter(|at| blank[*at..][..block].iter().any(|byte| *byte != 0)) {
        match found.last_mut() {
            Some((from, len)) if *from + *len == at => *len += block,
            _ => found.push((at, block)),
        }
    }
    for (from, len) in &found {
        assert!(
            blank[*from..][..*len].iter().enumerate().all(|(n, byte)| *byte == pattern(n)),
            "{len} bytes at {from}"
        );
    }
    found
}

#[test]
fn a_session_reads_like_a_packet_trace() {
    //= RFC 7143 section 7.1.5
    //# Implementations MUST support error recovery level "0", while the rest
    //# are OPTIONAL to implement.
    let trace = play(
        Offer::default(),
        "login 0 InitialR2T=Yes ImmediateData=No
         > 0 SCSI-Command F R itt=1 edtl=1024 cdb=28000000000000000200
         < 0 Data-In F S itt=1 datasn=0 offset=0 data=1024 status=0
         > 0 SCSI-Command F W itt=2 edtl=1024 cdb=2a000000020000000200
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
    assert_eq!(written(&trace.peer), [(0, 1024)]);
}

/// At this ErrorRecoveryLevel, with up to four connections and FastAbort.
pub fn level(error_recovery_level: u8) -> Offer {
    let base = Offer { max_connections: 4, protocol_level: 2, fast_abort: true, ..Offer::default() };
    Offer { error_recovery_level, time2retain_s: 20, ..base }
}

#[test]
fn item_63_a_data_digest_error_is_answered_with_a_recovery_r2t() {
    //= RFC 7143 section 7.3
    //# When a data PDU is rejected and its DataSN can be ascertained, a target
    //# MUST advance the ExpDataSN for the current data burst if a recovery R2T
    //# is being generated.
    //= RFC 7143 section 7.8
    //# If the discarded PDU is a solicited or unsolicited iSCSI data PDU (for
    //# immediate data in a command PDU, the non-data PDU rule below applies),
    //# the target MUST do one of the following:
    //= RFC 7143 section 11.16
    //# R2T(s)requested by SNACK MUST also carry the current value of the
    //# StatSN.
    //= RFC 7143 section 7.8
    //# a) Request retransmission with a recovery R2T.
    let trace = play(
        level(1),
        "login 0 ErrorRecoveryLevel=1 InitialR2T=Yes ImmediateData=No DataDigest=CRC32C
         > 0 SCSI-Command F W itt=1 edtl=2048 cdb=2a000000020000000400
         < 0 R2T itt=1 ttt=$t r2tsn=0 offset=0 len=2048
         > 0 Data-Out itt=1 ttt=$t datasn=0 offset=0 data=512
         > 0 Data-Out itt=1 ttt=$t datasn=1 offset=512 data=512 corrupt
         < 0 Reject reason=2
         > 0 Data-Out itt=1 ttt=$t datasn=2 offset=1024 data=512
         < nothing
         > 0 Data-Out F itt=1 ttt=$t datasn=3 offset=1536 data=512
         < 0 R2T itt=1 ttt=$t r2tsn=1 offset=512 len=1536 statsn=3
         > 0 NOP-Out I itt=2
         < 0 NOP-In itt=2 statsn=3
         # Lost on the way: asked for by SNACK, a replica but for its StatSN.
         > 0 SNACK type=0 itt=1 begrun=1 runlength=1
         < 0 R2T itt=1 ttt=$t r2tsn=1 offset=512 len=1536 statsn=4
         > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=512 data=1536
         < 0 SCSI-Response itt=1 status=0",
    );
    assert_eq!(written(&trace.peer), [(0, 2048)]);
}

#[test]
fn data_that_does_not_come_is_asked_for_again() {
    //= RFC 7143 section 7.1.4.1
    //# b) Sequence reception timeout (no data or partial-data-and-no-
    //# F-bit) - considered an implicit sequence error and dealt with
    //# as specified in Section 7.9, using the option of a recovery R2T
    play(
        level(1),
        "login 0 ErrorRecoveryLevel=1 InitialR2T=No
         > 0 SCSI-Command W itt=1 edtl=1024 cdb=2a000000020000000200
         wait 2600
         < 0 R2T itt=1 ttt=$t r2tsn=0 offset=0 len=1024
         wait 2600
         < 0 R2T itt=1 ttt=$t r2tsn=1 offset=0 len=1024
         > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=0 data=1024
         < 0 SCSI-Response itt=1 status=0
         # The answer to the first one: here already.
         > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=0 data=1024
         < 0 Reject reason=9",
    );
}

#[test]
fn item_67_snack_gets_data_and_status_again() {
    //= RFC 7143 section 7.8
    //# In response to the SNACK, the target MUST either resend the data PDU or
    //# reject the SNACK with a Reject PDU with a reason code of "SNACK reject",
    //# in which case:
    //= RFC 7143 section 11.4.9
    //# In the case of responses sent due to a retransmission request, the
    //# StatSN MUST be the same as the first time the PDU was sent, unless the
    //# connection has since been restarted.
    //= RFC 7143 section 11.7.4
    //# On incoming data, the Target Transfer Tag and LUN MUST be provided by
    //# the target if the A bit is set to 1; otherwise, they are reserved.
    //= RFC 7143 section 11.16
    //# The numbered response(s) or R2T(s) requested by a SNACK MUST be
    //# delivered as exact replicas of the ones that the target transmitted
    //# originally, except for the fields ExpCmdSN, MaxCmdSN, and ExpDataSN,
    //# which MUST carry the current values.
    //= RFC 7143 section 11.16
    //# The numbered Data-In PDUs requested by a Data SNACK MUST be delivered as
    //# exact replicas of the ones that the target transmitted originally,
    //# except for the fields ExpCmdSN and MaxCmdSN, which MUST carry the
    //# current values; and except for resegmentation (see Section 11.16.3).
    //= RFC 7143 section 11.16
    //# Any SNACK that requests a numbered response, data, or R2T that was not
    //# sent by the target or was already acknowledged by the initiator MUST be
    //# rejected with a reason code of "Protocol Error".
    //= RFC 7143 section 11.16.3
    //# A target that has received a R-Data SNACK MUST return a SCSI Response
    //# that contains a copy of the SNACK Tag field from the R-Data SNACK in the
    //# SCSI Response SNACK Tag field as its last or only Response.
    //= RFC 7143 section 11.16.5
    //# This value MUST be copied by the iSCSI target in the last or only SCSI
    //# Response PDU it issues for the command.
    //= RFC 7143 section 11.16
    //# If the implementation supports ErrorRecoveryLevel greater than zero,
    //# it MUST support all SNACK types.
    play(
        level(1),
        "login 0 ErrorRecoveryLevel=1 MaxRecvDataSegmentLength=512 MaxBurstLength=1024 FirstBurstLength=1024
         hold
         > 0 SCSI-Command F R itt=1 edtl=2048 cdb=28000000000000000400
         < 0 Data-In !F !A itt=1 datasn=0 offset=0 data=512
         < 0 Data-In F A itt=1 datasn=1 offset=512 data=512 ttt=$t
         < 0 Data-In !F !A !S itt=1 datasn=2 offset=1024 data=512
         < 0 Data-In F !A !S itt=1 datasn=3 offset=1536 data=512
         < 0 SCSI-Response itt=1 status=0 statsn=$s expdatasn=4
         > 0 SNACK type=0 itt=1 begrun=1 runlength=2
         < 0 Data-In F A itt=1 datasn=1 offset=512 data=512 ttt=$t
         < 0 Data-In !F itt=1 datasn=2 offset=1024 data=512
         > 0 SNACK type=2 itt=none ttt=$t begrun=2
         < nothing
         > 0 SNACK type=0 itt=1
         < 0 Data-In !F itt=1 datasn=2 offset=1024 data=512
         < 0 Data-In F itt=1 datasn=3 offset=1536 data=512
         > 0 SNACK type=0 itt=1 begrun=1 runlength=1
         < 0 Reject reason=4
         > 0 SNACK type=1 itt=none begrun=$s runlength=1
         < 0 SCSI-Response itt=1 status=0 statsn=$s
         > 0 SNACK type=3 itt=1 ttt=77
         < 0 Data-In !F itt=1 datasn=2 offset=1024 data=512
         < 0 Data-In F itt=1 datasn=3 offset=1536 data=512
         < 0 SCSI-Response itt=1 status=0 statsn=$s snacktag=77
         ack
         > 0 SNACK type=1 itt=none begrun=$s runlength=1
         < 0 SCSI-Response itt=1 statsn=$s
         > 0 NOP-Out I itt=9
         < 0 NOP-In itt=9
         > 0 SNACK type=1 itt=none begrun=$s runlength=1
         < 0 Reject reason=4",
    );
}

#[test]
fn a_task_is_reassigned_after_its_connection_was_lost() {
    //= RFC 7143 section 7.2.2
    //# In reassigning connection allegiance for a command, the target SHOULD
    //# continue the command from its current state.
    //
    //= RFC 7143 section 7.1.4.3
    //# TCP connection failure: The target MUST close the connection and, if
    //# more than one connection is available, the target SHOULD send an
    //# Asynchronous Message that indicates that it has dropped the connection.
    //= RFC 7143 section 7.2.2
    //# This might possibly involve retransmission of data/R2T/status PDUs as
    //# necessary but MUST involve the (re)transmission of the status PDU.
    //= RFC 7143 section 7.2.2
    //# If allegiance reassignment is supported by the target but the task is
    //# still allegiant to a different connection, or a successful recovery
    //# Logout of the previously allegiant connection was not performed, the
    //# target MUST respond with a task management response code of "Task still
    //# allegiant".
    //= RFC 7143 section 11.5.1
    //# TASK REASSIGN MUST ONLY be received by the target after the connection
    //# on which the command was previously executing has been successfully
    //# logged out.
    //= RFC 7143 section 11.5.1
    //# The task management response MUST be issued before the reassignment
    //# becomes effective.
    //= RFC 7143 section 11.6
    //# For TASK REASSIGN, the new connection allegiance MUST ONLY become
    //# effective at the target after the target issues the task management
    //# response.
    //= RFC 7143 section 7.2.2
    //# If allegiance reassignment is supported by the target, the task
    //# management response to the reassignment request MUST be issued before
    //# the reassignment becomes effective.
    play(
        level(2),
        "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 MaxConnections=4 InitialR2T=Yes ImmediateData=No
         login 1 cid=1
         > 0 SCSI-Command F W itt=1 edtl=1024 cdb=2a000000020000000200
         < 0 R2T itt=1 ttt=$t r2tsn=0 offset=0 len=1024
         > 0 Data-Out itt=1 ttt=$t datasn=0 offset=0 data=512
         > 0 SCSI-Command F R itt=2 edtl=1024 cdb=28000000000000000200
         cut 0
         wait 250
         < 1 Async event=2 parameter1=0 parameter3=20
         > 1 Task-Management I function=8 itt=3 ref=1
         < 1 Task-Response itt=3 response=3
         > 1 Logout I reason=2 itt=4 cid=0
         < 1 Logout-Response itt=4 response=0 retain=20
         > 1 Task-Management I function=8 itt=5 ref=1
         < 1 Task-Response itt=5 response=0
         < 1 R2T itt=1 ttt=$t offset=512 len=512
         > 1 Data-Out F itt=1 ttt=$t datasn=0 offset=512 data=512
         < 1 SCSI-Response itt=1 status=0
         > 1 Task-Management I function=8 itt=6 ref=2
         < 1 Task-Response itt=6 response=0
         < 1 Data-In F itt=2 datasn=0 offset=0 data=1024
         < 1 SCSI-Response itt=2 status=0 expdatasn=1
         > 1 Task-Management I function=8 itt=7 ref=99
         < 1 Task-Response itt=7 response=1",
    );
}

#[test]
fn a_session_without_connections_is_continued_or_times_out() {
    let open = "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 InitialR2T=Yes ImmediateData=No
         > 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100
         < 0 R2T itt=1 ttt=$t
         cut 0
         wait 5000
        ";
    let again = "login 0 cid=0
         > 0 Task-Management I function=8 itt=2 ref=1
         < 0 Task-Response itt=2 response=0
         < 0 R2T itt=1 ttt=$t offset=0 len=512
         > 0 Data-Out F itt=1 ttt=$t offset=0 data=512
         < 0 SCSI-Response itt=1 status=0";
    assert_eq!(play(level(2), &format!("{open}{again}")).peer.sessions(), 1);
    let trace = play(level(2), &format!("{open}wait 30000\nlogin 0 cid=0 status=0x020a"));
    assert_eq!((trace.peer.sessions(), written(&trace.peer)), (0, vec![]));
}

#[test]
fn item_44_the_response_to_a_reset_waits_for_all_that_was_said_before() {
    //= RFC 7143 section 4.2.2.3.2
    //# Whenever the Response Fence behavior is required for a SCSI response
    //# message, the target iSCSI layer MUST ensure that the following
    //# conditions are met in delivering the response message to the initiator
    //# iSCSI layer:
    //= RFC 7143 section 4.2.2.3.2
    //# A response with a Response Fence MUST be delivered chronologically after
    //# all the "preceding" responses on the I_T_L nexus, if the preceding
    //# responses are delivered at all, to the initiator iSCSI layer.
    //= RFC 7143 section 4.2.2.3.2
    //# A response with a Response Fence MUST be delivered chronologically prior
    //# to all the "following" responses on the I_T_L nexus.
    //= RFC 7143 section 4.2.2.3.3
    //# Whenever the TaskReporting key (Section 13.23) is negotiated to
    //# ResponseFence or FastAbort for an iSCSI session and the Response Fence
    //# behavior is required for a SCSI response message, the target iSCSI layer
    //# MUST perform the actions described in this section for that session.
    //= RFC 7143 section 4.2.2.3.3
    //# The fence MUST be considered cleared only after receiving the
    //# acknowledgment.
    //= RFC 7143 section 4.2.2.3.3
    //# If any new responses for the I_T_L nexus are received from the SCSI
    //# layer before the fence is cleared, those Response PDUs MUST be held and
    //# queued at the iSCSI layer until the fence is cleared.
    //= RFC 7143 section 4.2.3.3
    //# MUST provide the Response Fence behavior for the TMF Response on the
    //# issuing session as specified in Section 4.2.2.3.2.
    //= RFC 7143 section 4.2.3.3
    //# The TMF Response MUST NOT be sent by the target iSCSI layer before the
    //# end of Step d) and MAY be sent at the end of Step d) despite these
    //# outstanding data transfers until after Step e).
    //= RFC 7143 section 11.6.1
    //# The response to ABORT TASK SET and CLEAR TASK SET MUST only be issued by
    //# the target after all of the commands affected have been received by the
    //# target, the corresponding task management functions have been executed
    //# by the SCSI target, and the delivery of all responses delivered until
    //# the task management function completion has been confirmed (acknowledged
    //# through the ExpStatSN) by the initiator on all connections of this
    //# session.
    //= RFC 7143 section 4.2.2.3.3
    //# The SCSI Response PDU
    //# requiring the Response Fence behavior MUST NOT be sent to the
    //# initiator before acknowledgments are received for each of the
    //# unacknowledged StatSNs.
    // ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET WARM RESET.
    for function in [2, 4, 5, 6] {
        play(
            level(0),
            &format!(
                "login 0 cid=0 MaxConnections=4 TaskReporting=ResponseFence
                 login 1 cid=1
                 hold
                 > 1 SCSI-Command F itt=1 cdb=00
                 < 1 SCSI-Response itt=1 statsn=2
                 > 0 Task-Management I function={function} itt=2
                 < 1 NOP-In itt=none ttt=$p
                 < nothing
                 > 0 SCSI-Command F itt=3 cdb=00
                 < nothing
                 > 1 NOP-Out I itt=none ttt=$p expstatsn=3
                 < 0 Task-Response itt=2 response=0 statsn=2
                 < 0 NOP-In itt=none ttt=$q
                 < nothing
                 > 0 NOP-Out I itt=none ttt=$q expstatsn=3
                 < 0 SCSI-Response itt=3"
            ),
        );
    }
}

#[test]
fn item_70_a_reset_waits_for_the_data_of_its_r2ts() {
    //= RFC 7143 section 4.2.3.3
    //# All iSCSI implementations MUST support the protocol behavior defined in
    //# this section as the default behavior.
    //= RFC 7143 section 11.5.1
    //# The target for its part MUST wait for responses on all affected Target
    //# Transfer Tags before acting on either of these two task management
    //# requests.
    //= RFC 7143 section 4.2.3.3
    //# a) MUST wait for responses on currently valid Target Transfer Tags
    //# of the affected tasks from the issuing initiator.
    let open = "login 0 InitialR2T=Yes ImmediateData=No
         > 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100
         < 0 R2T itt=1 ttt=$t
         > 0 Task-Management I function=2 itt=2
         < nothing
        ";
    play(level(0), &format!("{open}> 0 Data-Out F itt=1 ttt=$t data=512\n< 0 Task-Response itt=2 response=0"));
    play(level(0), &format!("{open}wait 1000\n< 0 Task-Response itt=2 response=0"));
}

#[test]
fn fast_abort_tells_the_other_connections() {
    //= RFC 7143 section 4.2.3.4
    //# However, protocol behavior defined in this section MUST be exhibited by
    //# iSCSI implementations on an iSCSI session when they negotiate the
    //# TaskReporting (Section 13.23) key to "FastAbort" on that session.
    //= RFC 7143 section 13.23
    //# defined in Section 4.2.3.4 MUST be
    //= RFC 7143 section 4.2.3.4
    //# MUST propagate the TMF Request to, and receive the response from, the
    //# target SCSI layer.
    //= RFC 7143 section 4.2.3.4
    //# MUST leave all active "affected TTTs" (i.e., active TTTs associated with
    //# affected tasks) valid.
    //= RFC 7143 section 4.2.3.4
    //# MUST address the Response Fence flag on the TMF Response on the issuing
    //# session as defined in Section 4.2.2.3.3.
    //= RFC 7143 section 4.2.3.4
    //# MUST free up the affected TTTs (and STags for iSER, if applicable) and
    //# the corresponding buffers, if any, once it receives each associated
    //# NOP-Out acknowledgment that the initiator generated in response to each
    //# Async Message.
    //= RFC 7143 section 4.2.3.4
    //# A TMF Response MUST NOT be sent by the target iSCSI layer before the end
    //# of Step e) and MAY be sent at the end of Step e) despite these
    //# outstanding Data transfers until Step g).
    //= RFC 7143 section 4.2.3.4
    //# 2) each connection except the issuing connection of the issuing
    //# session that has at least one allegiant affected task.
    play(
        level(0),
        "login 0 cid=0 MaxConnections=4 TaskReporting=FastAbort InitialR2T=Yes ImmediateData=No
         login 1 cid=1
         > 1 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100
         < 1 R2T itt=1 ttt=$t
         > 0 Task-Management I function=2 itt=2
         < 1 Async event=5 lun=0 statsn=$a
         < 1 NOP-In itt=none ttt=$p
         < nothing
         > 1 Data-Out itt=1 ttt=$t data=256 expstatsn=$a
         < nothing
         > 1 NOP-Out I itt=none ttt=$p
         < 0 Task-Response itt=2 response=0
         < 0 NOP-In itt=none
         > 1 Data-Out F itt=1 ttt=$t offset=256 data=256
         < 1 Reject reason=9",
    );
}

#[test]
fn the_functions_of_rfc_7144() {
    //= RFC 7144 section 4.1
    //# The iSCSIProtocolLevel operational text key (see Section 7.1.1)
    //# containing a value of "2" MUST be negotiated to enable the use of
    //# features described in this RFC.
    //= RFC 7144 section 4.1
    //# In contrast, if the key is negotiated to "2", an iSCSI implementation
    //# MUST NOT reject a Task Management Function Request PDU that requests one
    //# of the new task management functions (as such a reject would report an
    //# iSCSI protocol error).
    //= RFC 7144 section 6.3
    //# For all of the task management functions detailed in this section, the
    //# Task Management Function Response MUST be returned as detailed in
    //# Section 6.4.
    //= RFC 7144 section 6.5
    //# If an iSCSI implementation supports the I_T NEXUS RESET function, it
    //# MUST also support the protocol behavior as defined in those sections and
    //# follow the sequence of actions as described in those sections when
    //# processing the I_T NEXUS RESET function.
    //= RFC 7144 section 7.1.1
    //# If the negotiation answer is ignored by the acceptor, or the answer from
    //# the remote iSCSI end point is key=NotUnderstood, then the features
    //# defined in this RFC, and the features defined in any RFC requiring a key
    //# value greater than "2", MUST NOT be used.
    //= RFC 7144 section 6.4.2
    //# For the QUERY TASK SET function, if there is any command present in
    //# the task set from the specified I_T_L nexus, then the logical unit
    //# returns a Response value of "Function succeeded".
    play(
        level(0),
        "login 0 iSCSIProtocolLevel=2 InitialR2T=Yes ImmediateData=No
         > 0 Task-Management I function=10 itt=1
         < 0 Task-Response itt=1 response=0
         > 0 SCSI-Command F W itt=2 edtl=512 cdb=2a000000020000000100
         < 0 R2T itt=2 ttt=$t
         > 0 Task-Management I function=10 itt=3
         < 0 Task-Response itt=3 response=7
         > 0 Task-Management I function=9 itt=4 ref=2
         < 0 Task-Response itt=4 response=7
         > 0 Task-Management I function=9 itt=5 ref=88
         < 0 Task-Response itt=5 response=0
         > 0 Task-Management I function=12 itt=6
         < 0 Task-Response itt=6 response=0
         > 0 Task-Management I function=11 itt=7
         < nothing
         > 0 Data-Out F itt=2 ttt=$t data=512
         < 0 Task-Response itt=7 response=0
         closed 0",
    );
    let none = "login 0 iSCSIProtocolLevel=1
         > 0 Task-Management I function=10 itt=1
         < 0 Task-Response itt=1 response=5";
    play(level(0), none);
}

fn seeds(level: u8, faults: super::world::Faults, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut world = super::world::World::new(seed, level, faults);
        let result = world.run();
        let once = world.answers().all(|n| n == 1);
        if result.is_err() || !once {
            let log = world.log.join("\n");
            let answers: Vec<u32> = world.answers().collect();
            panic!("level {level}, seed {seed}: {result:?}, {answers:?}\n{log}");
        }
    }
}

/// The seeds at each level: `RINGSAN_SEED` of the environment, so many as `RINGSAN_SEEDS` says, or a thousand for all three.
fn chosen() -> std::ops::Range<u64> {
    let said = |name| std::env::var(name).ok().map(|n| n.parse().expect("a number"));
    said("RINGSAN_SEED").map_or_else(|| 0..said("RINGSAN_SEEDS").unwrap_or(334), |seed| seed..seed + 1)
}

const CALM: super::world::Faults = super::world::Faults { damaged: 0, lost: 0, cut: 0 };
const ROUGH: super::world::Faults = super::world::Faults { damaged: 10, lost: 10, cut: 100 };

#[test]
fn seeds_without_faults() {
    (0..3).for_each(|level| seeds(level, CALM, 0..3));
}

#[test]
fn seeds_at_level_0() {
    seeds(0, super::world::Faults { damaged: 1, lost: 1, cut: 100 }, chosen());
}

#[test]
fn seeds_at_level_1() {
    //= RFC 7143 section 7.1.5
    //# When a defined value of ErrorRecoveryLevel is returned by a responder in
    //# a text negotiation, the responder MUST support the functionality
    //# corresponding to the ErrorRecoveryLevel it is accepting.
    seeds(1, super::world::Faults { cut: 0, ..ROUGH }, chosen());
}

#[test]
fn seeds_at_level_2() {
    //= RFC 7143 section 7.1.5
    //# When a defined value of ErrorRecoveryLevel is returned by a responder in
    //# a text negotiation, the responder MUST support the functionality
    //# corresponding to the ErrorRecoveryLevel it is accepting.
    seeds(2, ROUGH, chosen());
}

#[test]
fn read_data_is_continued_where_the_initiator_says() {
    let script = |exp_data_sn: u32, offset: u32, rest: u32| {
        format!(
            "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 MaxConnections=4 MaxRecvDataSegmentLength=512
             login 1 cid=1 MaxRecvDataSegmentLength=8192
             hold
             > 0 SCSI-Command F R itt=1 edtl=2048 cdb=28000000000000000400
             < 0 Data-In itt=1 datasn=0 data=512
             < 0 Data-In itt=1 datasn=1 data=512
             < 0 Data-In itt=1 datasn=2 data=512
             < 0 Data-In F itt=1 datasn=3 data=512
             < 0 SCSI-Response itt=1 status=0
             # The status is to carry this tag, until there is a new connection.
             > 0 SNACK type=3 itt=1 ttt=77
             < 0 Data-In itt=1 datasn=0
             < 0 Data-In itt=1 datasn=1
             < 0 Data-In itt=1 datasn=2
             < 0 Data-In F itt=1 datasn=3
             < 0 SCSI-Response itt=1 snacktag=77
             > 1 Logout I reason=2 itt=4 cid=0
             < 1 Logout-Response itt=4 response=0
             > 1 Task-Management I function=8 itt=5 ref=1 expdatasn={exp_data_sn}
             < 1 Task-Response itt=5 response=0
             < 1 Data-In F itt=1 datasn={} offset={offset} data={rest}
             < 1 SCSI-Response itt=1 status=0 snacktag=0",
            if offset > 0 { exp_data_sn } else { 0 }
        )
    };
    //= RFC 7143 section 11.5.6
    //# The initiator MUST discard any data PDUs from the previous execution
    //# that it did not acknowledge, and the target MUST transmit all Data-In
    //# PDUs (if any) starting with the data acknowledgment reference number.
    //= RFC 7143 section 7.2.2
    //# If a SCSI command that involves data input is reassigned, any SNACK Tag
    //# it holds for a final response from the original connection is deleted,
    //# and the default value of 0 MUST be used instead.
    //= RFC 7143 section 7.2.2
    //# For example, when reassigning read commands, the target SHOULD take
    //# advantage of the ExpDataSN field provided by the Task Management
    //# Function Request (which must be set to 0 if there was no data transfer)
    //# and bring the read command to completion by sending the remaining data
    //# and sending (or resending) the status.
    play(level(2), &script(0, 0, 2048));
    play(level(2), &script(3, 1536, 512));
    //= RFC 7143 section 11.5.6
    //# Any other value MUST be ignored by the target.
    play(level(2), &script(99, 0, 2048));
}

#[test]
fn item_79_a_recovery_logout_discards_what_was_not_acknowledged() {
    //= RFC 7143 section 11.14
    //# When receiving a Logout Request with the reason code "remove the
    //# connection for recovery", the target MUST discard all requests not yet
    //# acknowledged via the ExpCmdSN that were issued on the specified
    //# connection and suspend all data/status/R2T transfers on behalf of
    //# pending commands on the specified connection.
    let trace = play(
        level(2),
        "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 MaxConnections=4 InitialR2T=Yes ImmediateData=No
         login 1 cid=1
         > 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100 cmdsn=1
         < 0 R2T itt=1 ttt=$t
         # Waits for number 2, which is lost.
         > 0 SCSI-Command F itt=3 cdb=00 cmdsn=3
         < nothing
         > 1 Logout I reason=2 itt=4 cid=0 cmdsn=2
         < 1 Logout-Response itt=4 response=0 expcmdsn=2
         closed 0
         > 0 Data-Out F itt=1 ttt=$t data=512
         > 1 SCSI-Command F itt=2 cdb=00 cmdsn=2
         < 1 SCSI-Response itt=2 expcmdsn=3
         < nothing
         > 1 SCSI-Command F itt=3 cdb=00 cmdsn=3
         < 1 SCSI-Response itt=3 expcmdsn=4
         < nothing",
    );
    assert_eq!(written(&trace.peer), []);
}

#[test]
fn a_snack_is_for_the_connection_of_its_command() {
    //= RFC 7143 section 4.2.5.1
    //# Retransmission requests (SNACK PDUs), and the data and status that they
    //# generate, MUST also use the same connection.
    play(
        level(1),
        "login 0 cid=0 ErrorRecoveryLevel=1 MaxConnections=4
         login 1 cid=1
         hold
         > 0 SCSI-Command F R itt=1 edtl=512 cdb=28000000000000000100
         < 0 Data-In F itt=1 datasn=0 data=512
         < 0 SCSI-Response itt=1 statsn=$s
         > 1 SNACK type=0 itt=1 begrun=0 runlength=1
         < 1 Reject reason=4
         > 0 SNACK type=0 itt=1 begrun=0 runlength=1
         < 0 Data-In F itt=1 datasn=0 data=512
         > 0 SNACK type=1 itt=none begrun=$s runlength=1
         < 0 SCSI-Response itt=1 statsn=$s
         < nothing",
    );
}

#[test]
fn a_reset_of_the_nexus_ends_the_session_at_once() {
    //= RFC 7144 section 6.3
    //# For the I_T NEXUS RESET function, the target device MUST respond to the
    //# function as defined in [SAM5].
    //= RFC 7144 section 6.3
    //# The target device MUST drop all connections in the session over which
    //# this function is received.
    //= RFC 7144 section 6.3
    //# Independent of the DefaultTime2Wait and DefaultTime2Retain values
    //# applicable to the session over which this function is received, the
    //# target device MUST consider each participating connection in the session
    //# to have immediately timed out, leading to FREE state.
    let trace = play(
        level(2),
        "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 MaxConnections=4 iSCSIProtocolLevel=2 InitialR2T=Yes
         login 1 cid=1
         > 1 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100
         < 1 R2T itt=1 ttt=$t
         > 0 Task-Management I function=11 itt=2
         wait 600
         < 0 Task-Response itt=2 response=0
         closed 0
         closed 1
         # No Time2Retain: there is nothing to come back to.
         login 2 cid=0 status=0x020a",
    );
    assert_eq!(written(&trace.peer), []);
}
