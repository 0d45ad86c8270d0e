//! [`Peer`] over TCP: scripts and initiators speak to a server that is running.

use super::end::End;
use super::{Packet, Peer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long to wait for the target, if `with_patience` says nothing else.
const PATIENCE: Duration = Duration::from_millis(300);

struct Line {
    socket: TcpStream,
    end: End,
    closed: bool,
}

/// A running server as a [`Peer`].
pub struct Tcp {
    address: SocketAddr,
    lines: Vec<Option<Line>>,
    patience: Duration,
    /// What came in while something was sent.
    arrived: Vec<Packet>,
}

impl Tcp {
    /// A peer at the portal `address`. Nothing is connected yet.
    pub fn new(address: SocketAddr) -> Tcp {
        Tcp { address, lines: Vec::new(), patience: PATIENCE, arrived: Vec::new() }
    }

    /// Sets how long to wait for the first byte to come, or for the target to take any of what is sent.
    pub fn with_patience(self, patience: Duration) -> Tcp {
        Tcp { patience, ..self }
    }
}

impl Line {
    /// Waits until there is something to read or, if `writes`, room to write. Returns false if there is neither by
    /// `until`.
    fn wait(lines: &[&Line], writes: bool, until: Instant) -> bool {
        let wanted = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut polled: Vec<_> = lines.iter().map(|line| PollFd::new(&line.socket, wanted)).collect();
        let rest = until.saturating_duration_since(Instant::now());
        let rest = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() };
        // A wait that a signal interrupts counts as ready: the caller looks at the sockets and waits again.
        poll(&mut polled, Some(&rest)).is_ok_and(|ready| ready > 0) || Instant::now() < until
    }

    /// Sends `bytes`, and takes what comes in meanwhile: a target whose own PDUs are not taken need not read either. A
    /// target that does neither for `patience` is given up.
    fn write(&mut self, conn: usize, bytes: &[u8], patience: Duration, packets: &mut Vec<Packet>) {
        let (mut rest, mut until) = (bytes, Instant::now() + patience);
        while !rest.is_empty() && !self.closed {
            match self.socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if !self.read(conn, packets) {
                        self.closed |= !Line::wait(&[self], true, until);
                        continue;
                    }
                }
                Err(_) => self.closed = true,
            }
            until = Instant::now() + patience;
        }
    }

    /// Takes what has come in. Returns false if nothing has.
    fn read(&mut self, conn: usize, packets: &mut Vec<Packet>) -> bool {
        let mut bytes = [0; 65536];
        let mut chunk = match self.socket.read(&mut bytes) {
            Ok(0) => {
                self.closed = true;
                return false;
            }
            Ok(n) => &bytes[..n],
            Err(e) => {
                self.closed |= !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                return false;
            }
        };
        loop {
            match self.end.next(conn, &mut chunk) {
                Ok(None) => return true,
                Ok(Some(packet)) => packets.push(packet),
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
            // Where this fails, PDUs are only slower.
            let _ = socket.set_nodelay(true);
            socket.set_nonblocking(true).expect("a socket that does not block");
            Line { socket, end: End::default(), closed: false }
        });
    }

    fn cut(&mut self, conn: usize) {
        if let Some(line) = self.lines.get_mut(conn) {
            *line = None;
        }
    }

    fn send(&mut self, packet: Packet) {
        let Some(Some(line)) = self.lines.get_mut(packet.conn) else { return };
        let mut bytes = Vec::new();
        line.end.encode(&packet, &mut bytes);
        line.write(packet.conn, &bytes, self.patience, &mut self.arrived);
    }

    fn pass(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn receive(&mut self) -> Vec<Packet> {
        let mut packets = std::mem::take(&mut self.arrived);
        let until = Instant::now() + self.patience;
        loop {
            for (conn, line) in self.lines.iter_mut().enumerate() {
                if let Some(line) = line.as_mut().filter(|line| !line.closed) {
                    while line.read(conn, &mut packets) {}
                }
            }
            let open: Vec<_> = self.lines.iter().flatten().filter(|line| !line.closed).collect();
            if !packets.is_empty() || open.is_empty() || !Line::wait(&open, false, until) {
                return packets;
            }
        }
    }

    fn is_closed(&self, conn: usize) -> bool {
        self.lines.get(conn).is_none_or(|line| line.as_ref().is_none_or(|line| line.closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::BHS_LEN;
    use std::net::TcpListener;

    const SOON: Duration = Duration::from_millis(50);
    /// More than a socket takes for who does not read.
    const MUCH: usize = 64 << 20;
    const DATA: usize = 1 << 20;

    fn connected(patience: Duration) -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tcp = Tcp::new(listener.local_addr().unwrap()).with_patience(patience);
        tcp.open(0);
        (tcp, listener.accept().unwrap().0)
    }

    fn packet() -> Packet {
        Packet::new(0, &[0; BHS_LEN], vec![7; DATA])
    }

    #[test]
    fn a_target_that_takes_nothing_is_given_up() {
        let (mut tcp, _target) = connected(SOON);
        let sent = (0..MUCH / DATA).take_while(|_| {
            tcp.send(packet());
            !tcp.is_closed(0)
        });
        assert!(sent.count() < MUCH / DATA);
    }

    #[test]
    fn what_a_target_says_before_it_reads_is_taken_while_sending() {
        let (mut tcp, mut target) = connected(Duration::from_secs(20));
        let says = std::thread::spawn(move || {
            let Packet { bhs, data, .. } = packet();
            for _ in 0..MUCH / DATA {
                target.write_all(&[&bhs[..], &data].concat()).unwrap();
            }
            target.read_exact(&mut vec![0; MUCH / DATA * (BHS_LEN + DATA)]).unwrap();
            target
        });
        (0..MUCH / DATA).for_each(|_| tcp.send(packet()));
        // Stays open.
        let _target = says.join().unwrap();
        let mut heard = 0;
        while heard < MUCH / DATA {
            heard += tcp.receive().len();
            assert!(!tcp.is_closed(0));
        }
    }
}
