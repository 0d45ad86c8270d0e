//! The program itself on one core, with units of 1 MiB that hold the pattern of the scripts.

use ringsan::sim::target::NAME;
use ringsan::sim::tcp::Tcp;
use ringsan::sim::trace::pattern;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The first command of a nexus meets the unit attention of the power-on.
pub const READY: &str = "
    > 0 SCSI-Command F itt=100 cdb=00
    < 0 SCSI-Response itt=100 status=2
    ";

/// The configuration of a target with these LUNs, `[0, 1]`, each on a file of its own.
pub fn target(luns: &str) -> String {
    let mut text = format!("[[target]]\nname = \"{NAME}\"\n");
    for number in luns.trim_matches(['[', ']']).split(',').map(str::trim) {
        let _ = write!(text, "[[target.lun]]\nnumber = {number}\npath = \"disk{number}.img\"\n");
    }
    text
}

/// Ended when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Serves what the configuration says, on a free port.
    pub fn start(config: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1 << 20).map(|n| pattern(n % (64 << 10))).collect();
        for number in 0..2 {
            std::fs::write(dir.path().join(format!("disk{number}.img")), &bytes).unwrap();
        }
        let config = format!("cores = [0]\nlog = \"error\"\n[[portal]]\nlisten = \"127.0.0.1:0\"\n{config}");
        std::fs::write(dir.path().join("ringsan.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringsan"))
            .current_dir(dir.path())
            .args(["serve", "--config", "ringsan.toml"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ringsan starts");
        let mut address = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(at) = line.strip_prefix("ringsan: ready on ") {
                address = at.split(',').next().unwrap().parse().ok();
                break;
            }
        }
        Server { child, address: address.expect("ringsan says where it listens"), _dir: dir }
    }

    /// An initiator's side.
    pub fn peer(&self) -> Tcp {
        Tcp::new(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
