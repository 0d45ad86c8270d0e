//! [`Peer`] over TCP: scripts and initiators speak to a server that is running. Without digests.

use super::{Packet, Peer};
use crate::wire::{Frame, Framer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long [`Peer::receive`] waits for the first byte, milliseconds.
const PATIENCE_MS: u64 = 300;

struct Line {
    socket: TcpStream,
    framer: Framer,
    /// A PDU whose data is coming in.
    partial: Option<Packet>,
    closed: bool,
}

/// See the module.
pub struct Tcp {
    address: SocketAddr,
    lines: Vec<Option<Line>>,
}

impl Tcp {
    /// To the portal at `address`; nothing is connected yet.
    pub fn new(address: SocketAddr) -> Tcp {
        Tcp { address, lines: Vec::new() }
    }
}

impl Line {
    /// Takes what has come in; false: nothing has.
    fn read(&mut self, conn: usize, packets: &mut Vec<Packet>) -> bool {
        let mut bytes = [0; 65536];
        let mut chunk = match self.socket.read(&mut bytes) {
            Ok(0) => {
                self.closed = true;
                return false;
            }
            Ok(n) => &bytes[..n],
            Err(e) => {
                self.closed |= !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                return false;
            }
        };
        loop {
            match self.framer.next(&mut chunk) {
                Ok(Frame::NeedMore) => return true,
                Ok(Frame::Whole { bhs, ahs, data, data_digest_ok }) => packets.push(Packet {
                    conn,
                    bhs: *bhs,
                    ahs: ahs.to_vec(),
                    data: data.to_vec(),
                    intact: data_digest_ok,
                }),
                Ok(Frame::Begin { bhs, ahs, .. }) => {
                    self.partial = Some(Packet { conn, bhs: *bhs, ahs: ahs.to_vec(), data: Vec::new(), intact: true });
                }
                Ok(Frame::Data(bytes)) => {
                    if let Some(partial) = &mut self.partial {
                        partial.data.extend_from_slice(bytes);
                    }
                }
                Ok(Frame::End { data_digest_ok }) => {
                    let partial = self.partial.take();
                    packets.extend(partial.map(|packet| Packet { intact: data_digest_ok, ..packet }));
                }
                Err(_) => {
                    self.closed = true;
                    return false;
                }
            }
        }
    }
}

impl Peer for Tcp {
    fn open(&mut self, conn: usize) {
        while self.lines.len() <= conn {
            self.lines.push(None);
        }
        self.lines[conn] = TcpStream::connect(self.address).ok().map(|socket| {
            // Both only make it slower where they fail.
            let _ = socket.set_nodelay(true);
            let _ = socket.set_read_timeout(Some(Duration::from_millis(5)));
            Line { socket, framer: Framer::new(1 << 24), partial: None, closed: false }
        });
    }

    fn cut(&mut self, conn: usize) {
        if let Some(line) = self.lines.get_mut(conn) {
            *line = None;
        }
    }

    fn send(&mut self, packet: Packet) {
        let Some(Some(line)) = self.lines.get_mut(packet.conn) else { return };
        let mut bytes = [&packet.bhs[..], &packet.ahs, &packet.data].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        line.closed |= line.socket.write_all(&bytes).is_err();
    }

    fn pass(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn receive(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let begin = Instant::now();
        while packets.is_empty() && begin.elapsed() < Duration::from_millis(PATIENCE_MS) {
            for (conn, line) in self.lines.iter_mut().enumerate() {
                if let Some(line) = line {
                    while line.read(conn, &mut packets) {}
                }
            }
        }
        packets
    }

    fn is_closed(&self, conn: usize) -> bool {
        self.lines.get(conn).is_none_or(|line| line.as_ref().is_none_or(|line| line.closed))
    }
}
