//! Recovery against a server that is running, over TCP: what `session` and `sim` prove without sockets goes through the
//! shard, its ring and a file here.

use super::server::{self, Server};
use ringsan::sim::trace::Trace;

fn play(script: &str) {
    let server = Server::start(&server::target("[0]"));
    Trace::new(server.peer()).play(script);
}

const READY: &str = server::READY;

#[test]
fn read_data_is_sent_again() {
    play(&format!(
        "login 0 cid=0 ErrorRecoveryLevel=1 MaxRecvDataSegmentLength=1024
         {READY}
         hold
         > 0 SCSI-Command F R itt=1 edtl=4096 cdb=28000000000000000800
         < 0 Data-In itt=1 datasn=0 offset=0 data=1024
         < 0 Data-In itt=1 datasn=1 offset=1024 data=1024
         < 0 Data-In itt=1 datasn=2 offset=2048 data=1024
         < 0 Data-In F itt=1 datasn=3 offset=3072 data=1024
         < 0 SCSI-Response itt=1 status=0 statsn=$s expdatasn=4
         > 0 SNACK type=0 itt=1 begrun=1 runlength=2
         < 0 Data-In itt=1 datasn=1 offset=1024 data=1024
         < 0 Data-In itt=1 datasn=2 offset=2048 data=1024
         > 0 SNACK type=1 itt=none begrun=$s runlength=1
         < 0 SCSI-Response itt=1 status=0 statsn=$s"
    ));
}

#[test]
fn a_task_goes_on_another_connection() {
    play(&format!(
        "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 MaxConnections=4 InitialR2T=Yes ImmediateData=No
         {READY}
         login 1 cid=1
         > 0 SCSI-Command F W itt=1 edtl=1024 cdb=2a000000000000000200
         < 0 R2T itt=1 ttt=$t offset=0 len=1024
         > 0 Data-Out itt=1 ttt=$t datasn=0 offset=0 data=512
         wait 50
         cut 0
         < 1 Async event=2 parameter1=0
         > 1 Logout I reason=2 itt=4 cid=0
         < 1 Logout-Response itt=4 response=0
         > 1 Task-Management I function=8 itt=5 ref=1
         < 1 Task-Response itt=5 response=0
         < 1 R2T itt=1 ttt=$t offset=512 len=512
         > 1 Data-Out F itt=1 ttt=$t datasn=0 offset=512 data=512
         < 1 SCSI-Response itt=1 status=0
         login 2 cid=1
         wait 50
         closed 1
         > 2 SCSI-Command F R itt=6 edtl=1024 cdb=28000000000000000200
         < 2 Data-In F itt=6 data=1024
         < 2 SCSI-Response itt=6 status=0"
    ));
}
