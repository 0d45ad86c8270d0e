//! `ringsan trace`: what passes between initiators and a running server, on the terminal or in a capture.

use super::in_path;
use crate::cli::{Ask, Output, TraceArgs};
use ringsan::mgmt::client::ClientError;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Bytes of the front of a block of a capture: its kind, and how long it is.
const FRONT: usize = 8;
/// The kind of a block that is a packet, and of one that says how many were lost.
const PACKET: u32 = 6;
const STATISTICS: u32 = 5;

/// Runs until the server ends it, or whoever reads what is printed goes away.
///
/// # Errors
/// As the client's; also a file that cannot be written.
pub fn trace(args: &TraceArgs) -> Result<String, ClientError> {
    let client = Ask { socket: args.socket.clone(), elsewhere: args.elsewhere.clone(), output: Output::Table }.client();
    let mut query = vec![format!("data={}", args.data)];
    query.extend(args.session.map(|tsih| format!("session={tsih}")));
    query.extend(args.target.as_ref().map(|name| format!("target={}", in_path(name))));
    query.extend(args.lun.map(|lun| format!("lun={lun}")));
    query.extend(args.count.map(|count| format!("count={count}")));
    query.extend(args.seconds.map(|seconds| format!("seconds={seconds}")));
    let path = format!("/v1/trace?{}", query.join("&"));
    let Some(file) = &args.write else {
        client.stream(&path, "text/plain", |text| on(io::stdout().write_all(text)))?;
        return Ok(String::new());
    };
    let mut capture = Capture { left: Vec::new(), packets: 0, lost: 0 };
    let mut failed = None;
    let mut to: Box<dyn Write> = if file.as_os_str() == "-" {
        Box::new(io::stdout())
    } else {
        let wrong = |error: io::Error| ClientError::File { file: file.clone(), why: error.to_string() };
        Box::new(File::create(file).map_err(wrong)?)
    };
    client.stream(&path, "application/x-pcapng", |bytes| {
        on(capture.take(bytes, &mut *to).inspect_err(|error| failed = Some(error.to_string())))
    })?;
    match failed {
        // Who reads stdout may have had enough.
        Some(why) if file.as_os_str() != "-" => return Err(ClientError::File { file: file.clone(), why }),
        _ => {}
    }
    let (packets, lost) = (capture.packets, capture.lost);
    let _ =
        writeln!(io::stderr(), "ringsan: {packets} packets, {lost} PDUs left out: more than could be noted, or read");
    Ok(String::new())
}

fn on(done: io::Result<()>) -> ControlFlow<()> {
    // A line is to be seen when it has come.
    match done.and_then(|()| io::stdout().flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// A capture that is written block by block: wherever it is ended, its file can be read.
struct Capture {
    /// The beginning of a block.
    left: Vec<u8>,
    packets: u64,
    lost: u64,
}

impl Capture {
    fn take(&mut self, bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
        self.left.extend_from_slice(bytes);
        let mut whole = 0;
        while let Some(front) = self.left.get(whole..whole + FRONT) {
            let word = |at: usize| u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]]);
            let (kind, len) = (word(0), word(4) as usize);
            let Some(block) = self.left.get(whole..whole + len.max(FRONT)) else { break };
            self.packets += u64::from(kind == PACKET);
            // Its last option but the one that ends them: so many were lost.
            let lost = block.len().checked_sub(16).and_then(|at| block.get(at..)?.first_chunk());
            if let Some(lost) = lost.filter(|_| kind == STATISTICS) {
                self.lost = u64::from_le_bytes(*lost);
            }
            whole += len.max(FRONT);
        }
        to.write_all(&self.left[..whole])?;
        self.left.drain(..whole);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_are_written() {
        let block = |kind: u32, body: &[u8]| {
            let len = (12 + body.len() as u32).to_le_bytes();
            [&kind.to_le_bytes()[..], &len, body, &len].concat()
        };
        let lost = [&[0; 12][..], &7u64.to_le_bytes(), &[0; 4]].concat();
        let all = [block(PACKET, &[1; 40]), block(STATISTICS, &lost), block(PACKET, &[2; 8])].concat();
        let ends = [52, 52 + 36, 52 + 36 + 20];
        let (mut capture, mut file) = (Capture { left: Vec::new(), packets: 0, lost: 0 }, Vec::new());
        for (at, byte) in all.iter().enumerate() {
            capture.take(&[*byte], &mut file).unwrap();
            let whole = ends.iter().rfind(|end| **end <= at + 1).copied().unwrap_or(0);
            assert_eq!(file.len(), whole, "at {at}");
        }
        assert_eq!((file, capture.packets, capture.lost), (all, 2, 7));
    }
}
