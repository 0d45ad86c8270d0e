//! A core that panics, in a process of its own: this test, run again with `AGAIN` set.

use super::peer::Peer;
use super::{Message, Server};
use crate::backend::FaultPlan;
use crate::panics;
use std::process::Command;
use std::time::Duration;

const AGAIN: &str = "RINGSAN_TEST_CORE_PANICS";

#[test]
fn a_core_says_what_it_did_last() {
    if std::env::var_os(AGAIN).is_some() {
        return panic_after_a_read();
    }
    let name = "driver::tests::panics::a_core_says_what_it_did_last";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args(["--exact", name, "--nocapture"]).env(AGAIN, "1").output().unwrap();
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.success(), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ringsan: ")).collect();
    assert_eq!(lines[0], "ringsan: the last events of core 0, the newest last:", "{said}");
    let at = |what: &str| lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {said}"));
    let read = at("lun=1 cdb=28");
    assert!(at(": Login Request itt=") < read && lines[read].contains(": SCSI Command itt="), "{said}");
    assert!(lines.last().unwrap().ends_with("message Panic"), "{said}");
}

fn panic_after_a_read() {
    std::panic::set_hook(Box::new(|_| {
        let mut text = String::new();
        panics::hear_witness(&mut text);
        eprint!("{text}");
    }));
    let mut server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let itt = peer.read(1, 0, 1);
    assert_eq!(peer.end(itt, Duration::from_secs(20)).status, 0);
    server.mesh.post(0, Message::Panic);
    assert!(server.cores.remove(0).join().is_err());
}
