//! The floor: what it costs to move the bytes, and nothing else.
//!
//! One thread, a blocking `epoll_wait`, one receive and one `writev` per connection and turn: all requests that have
//! arrived are parsed, all answers leave together, straight from the memory that holds the data. Written payload is
//! received together with its header and copied to its place, past the caches; what is left of a large one is received
//! where it belongs ([`Writes::Direct`]). A turn whose answers do not fit the socket waits for room before it reads on.
//!
//! This is the yardstick: anything that makes it cheaper without ceasing to be a blocking server belongs here.

use crate::floor::{Header, HeaderCutter};
use crate::sys::{self, Epoll};
use crate::tx::TxQueue;
use std::io::{self, IoSliceMut, Read};
use std::net::{TcpListener, TcpStream};

/// How written payload gets to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Writes {
    /// Received into the buffer, then copied.
    Copy,
    /// Received into the buffer, then copied past the caches.
    Stream,
    /// As `stream`, but what is missing of a payload is received where it belongs, and of large ones that is most.
    Direct,
    /// Received into the buffer and forgotten: what a server would need that had nowhere to put it.
    Discard,
}

/// Payload of at least this length is worth a receive of its own.
const LARGE: usize = 32 << 10;
/// What is received behind a large payload, or where one is expected: the next header, and little that must be copied.
const BEHIND_LARGE: usize = 4096;
/// The memory starts at a page.
const PAGE: usize = 4096;

struct Connection {
    socket: TcpStream,
    cutter: HeaderCutter,
    tx: TxQueue,
    /// The write whose payload is arriving, the place of its next byte, and how much is missing.
    write: Option<(Header, usize, usize)>,
    /// The last write was a large one: expect more of them.
    large: bool,
    blocked: bool,
}

/// The server.
pub struct FloorServer {
    epoll: Epoll,
    listener: TcpListener,
    memory: Vec<u8>,
    /// Where the first page of the memory starts.
    base: usize,
    buffer: Vec<u8>,
    connections: Vec<Option<Connection>>,
    writes: Writes,
    socket_buffers: Option<usize>,
}

const LISTENER: u64 = u64::MAX;

impl FloorServer {
    /// Serves `memory_bytes` of memory; `buffer_bytes` are received at a time.
    pub fn new(listener: TcpListener, memory_bytes: usize, buffer_bytes: usize, writes: Writes) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(256)?;
        epoll.add(&listener, sys::IN, LISTENER)?;
        let mut memory = vec![0; memory_bytes + PAGE];
        sys::advise_huge_pages(&mut memory);
        // Untouched memory would be one page of zeroes, always in the cache.
        let mut value = 1u64;
        for chunk in memory.chunks_mut(8) {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
        }
        let base = memory.as_ptr().align_offset(PAGE).min(PAGE);
        memory.truncate(base + memory_bytes);
        let buffer = vec![0; buffer_bytes.max(BEHIND_LARGE)];
        Ok(Self { epoll, listener, memory, base, buffer, connections: Vec::new(), writes, socket_buffers: None })
    }

    /// Fixes SO_SNDBUF and SO_RCVBUF of the connections to come.
    pub fn set_socket_buffers(&mut self, bytes: usize) {
        self.socket_buffers = Some(bytes);
    }

    /// Serves until `stop` says so, which is asked after each turn.
    pub fn run(&mut self, mut stop: impl FnMut() -> bool) -> io::Result<()> {
        while !stop() {
            let ready = self.epoll.wait(None)?;
            for index in 0..ready {
                let event = self.epoll.event(index);
                if event.token == LISTENER {
                    self.accept()?;
                    continue;
                }
                let place = event.token as usize;
                let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { continue };
                let turn =
                    Turn { memory: &mut self.memory[self.base..], buffer: &mut self.buffer, writes: self.writes };
                let served = connection.serve(event.events, turn).and_then(|()| {
                    let blocked = !connection.tx.is_empty();
                    if blocked != connection.blocked {
                        connection.blocked = blocked;
                        let events = if blocked { sys::OUT } else { sys::IN };
                        self.epoll.modify(&connection.socket, events, event.token)?;
                    }
                    Ok(())
                });
                if let Err(error) = served {
                    if error.kind() == io::ErrorKind::InvalidData {
                        eprintln!("floor: {error}");
                    }
                    self.connections[place] = None;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        if let Some(bytes) = self.socket_buffers {
            sys::set_socket_buffers(&socket, bytes)?;
        }
        let place = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
        if place == self.connections.len() {
            self.connections.push(None);
        }
        self.epoll.add(&socket, sys::IN, place as u64)?;
        let (cutter, tx) = (HeaderCutter::default(), TxQueue::default());
        self.connections[place] = Some(Connection { socket, cutter, tx, write: None, large: false, blocked: false });
        Ok(())
    }
}

/// What a connection needs of the server for one turn.
struct Turn<'a> {
    memory: &'a mut [u8],
    buffer: &'a mut [u8],
    writes: Writes,
}

impl Connection {
    fn serve(&mut self, events: u32, turn: Turn<'_>) -> io::Result<()> {
        if self.blocked {
            if events & sys::OUT == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.tx.flush(&self.socket, turn.memory)?;
            return Ok(());
        }
        let direct = turn.writes == Writes::Direct;
        let room = if direct && self.large { BEHIND_LARGE } else { turn.buffer.len() };
        let received = match self.write {
            Some((header, at, missing)) if direct => {
                let place = &mut turn.memory[at..at + missing];
                let mut slices = [IoSliceMut::new(place), IoSliceMut::new(&mut turn.buffer[..room])];
                let count = (&self.socket).read_vectored(&mut slices)?;
                let (direct, rest) = (count.min(missing), count.saturating_sub(missing));
                self.write = (direct < missing).then_some((header, at + direct, missing - direct));
                if count > 0 && self.write.is_none() {
                    self.answer(&header);
                }
                if count > 0 && rest == 0 {
                    self.tx.flush(&self.socket, turn.memory)?;
                    return Ok(());
                }
                rest
            }
            _ => (&self.socket).read(&mut turn.buffer[..room])?,
        };
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.parse(&turn.buffer[..received], turn.memory, turn.writes)?;
        self.tx.flush(&self.socket, turn.memory)?;
        Ok(())
    }

    fn answer(&mut self, header: &Header) {
        self.tx.header(&header.emit());
    }

    fn parse(&mut self, mut bytes: &[u8], memory: &mut [u8], writes: Writes) -> io::Result<()> {
        loop {
            if let Some((header, at, missing)) = self.write {
                let take = bytes.len().min(missing);
                let (data, rest) = bytes.split_at(take);
                let place = &mut memory[at..at + take];
                match writes {
                    Writes::Copy => place.copy_from_slice(data),
                    Writes::Discard => {}
                    Writes::Stream | Writes::Direct => sys::copy_streaming(place, data),
                }
                bytes = rest;
                if take < missing {
                    self.write = Some((header, at + take, missing - take));
                    return Ok(());
                }
                self.write = None;
                self.answer(&header);
            }
            let Some(header) = self.cutter.next(&mut bytes) else { return Ok(()) };
            let (at, len) = (header.offset, u64::from(header.len));
            if at.checked_add(len).is_none_or(|end| end > memory.len() as u64) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a request beyond the end of the memory"));
            }
            let (at, len) = (at as usize, len as usize);
            if header.write {
                self.write = Some((header, at, len));
                self.large = len >= LARGE;
            } else {
                self.answer(&header);
                self.tx.payload(at, len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn exchange(writes: Writes, block: u32) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let server = std::thread::spawn(move || {
            let mut server = FloorServer::new(listener, 1 << 20, 8192, writes).unwrap();
            server.run(|| asked.load(Ordering::Relaxed)).unwrap();
        });
        let mut socket = TcpStream::connect(address).unwrap();
        let data: Vec<u8> = (0..block).map(|i| (i * 7 + i / 256) as u8).collect();
        let request = |write, slot| Header { write, slot, offset: 12_345, len: block };
        let mut out = request(true, 1).emit().to_vec();
        out.extend(&data);
        out.extend(request(false, 2).emit());
        socket.write_all(&out).unwrap();
        let mut answer = vec![0; 48 + 48 + block as usize];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..48], request(true, 1).emit());
        assert_eq!(answer[48..96], request(false, 2).emit());
        assert!(answer[96..] == data[..], "{writes:?} {block}");
        // A request beyond the end costs the connection, not the server.
        socket.write_all(&Header { write: false, slot: 0, offset: u64::MAX - 5, len: 10 }.emit()).unwrap();
        assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
        stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address).unwrap());
        server.join().unwrap();
    }

    #[test]
    fn what_is_written_is_read_back() {
        for block in [512, 4096, 100_000] {
            exchange(Writes::Copy, block);
            exchange(Writes::Stream, block);
            exchange(Writes::Direct, block);
        }
    }
}
