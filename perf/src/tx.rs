//! What one connection has to send: headers that are copied, and payload that lies elsewhere.
//!
//! Adjacent headers become one piece, so a batch of reads is one `writev` of one piece. The payload belongs to the
//! caller, who passes it at each flush; the queue only remembers offsets. After a partial send the rest stays.

use std::io::{self, IoSlice, Write};

/// Pieces per call: enough for the answers of 128 reads, few enough that preparing the array costs nothing.
const MAX_PIECES: usize = 256;

#[derive(Clone, Copy)]
struct Piece {
    payload: bool,
    at: usize,
    len: usize,
}

/// The send queue of one connection.
#[derive(Default)]
pub struct TxQueue {
    headers: Vec<u8>,
    pieces: Vec<Piece>,
    /// The first piece that is not sent entirely.
    first: usize,
}

impl TxQueue {
    /// Whether everything has been sent.
    pub fn is_empty(&self) -> bool {
        self.first == self.pieces.len()
    }

    /// Queues a copy of `bytes`.
    #[inline]
    pub fn header(&mut self, bytes: &[u8]) {
        let at = self.headers.len();
        self.headers.extend_from_slice(bytes);
        let unsent = self.first < self.pieces.len();
        match self.pieces.last_mut() {
            Some(last) if unsent && !last.payload => last.len += bytes.len(),
            _ => self.pieces.push(Piece { payload: false, at, len: bytes.len() }),
        }
    }

    /// Queues `len` bytes of the payload area from offset `at`.
    #[inline]
    pub fn payload(&mut self, at: usize, len: usize) {
        if len > 0 {
            self.pieces.push(Piece { payload: true, at, len });
        }
    }

    /// Sends what it can and says whether that was all. `area` is what the payload offsets refer to.
    pub fn flush(&mut self, socket: impl Write, area: &[u8]) -> io::Result<bool> {
        self.flush_some(socket, area, usize::MAX)
    }

    /// As [`TxQueue::flush`], but stops when at least `enough` bytes are sent: others want their turn.
    pub fn flush_some(&mut self, mut socket: impl Write, area: &[u8], enough: usize) -> io::Result<bool> {
        let mut all = 0;
        while !self.is_empty() {
            if all >= enough {
                self.compact();
                return Ok(false);
            }
            let mut slices = [IoSlice::new(&[]); MAX_PIECES];
            let pieces = &self.pieces[self.first..];
            let (mut count, mut total) = (0, 0);
            for (slice, piece) in slices.iter_mut().zip(pieces) {
                if all + total >= enough {
                    break;
                }
                count += 1;
                let source = if piece.payload { area } else { &self.headers };
                *slice = IoSlice::new(&source[piece.at..piece.at + piece.len]);
                total += piece.len;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) if sent == total => {
                    self.first += count;
                    all += sent;
                }
                Ok(sent) => {
                    self.advance(sent);
                    self.compact();
                    // The socket's buffer is full: trying again at once would only be told so.
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.headers.clear();
        self.pieces.clear();
        self.first = 0;
        Ok(true)
    }

    /// A queue that is never empty must not grow for ever: forgets what has been sent, now and then.
    fn compact(&mut self) {
        if self.first >= MAX_PIECES {
            let sent = self.pieces[self.first..].iter().find(|piece| !piece.payload);
            let cut = sent.map_or(self.headers.len(), |piece| piece.at);
            self.headers.drain(..cut);
            self.pieces.drain(..self.first);
            self.first = 0;
            self.pieces.iter_mut().filter(|piece| !piece.payload).for_each(|piece| piece.at -= cut);
        }
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(piece) = self.pieces.get_mut(self.first) {
            if sent < piece.len {
                piece.at += sent;
                piece.len -= sent;
                return;
            }
            sent -= piece.len;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a limited number of bytes per call, then none.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }
        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).take(self.room).collect();
            self.room -= all.len();
            self.taken.extend(&all);
            if all.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(all.len()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_arrive_in_order_whatever_the_socket_takes() {
        let area: Vec<u8> = (0..100).collect();
        for room in 1..40 {
            let mut queue = TxQueue::default();
            let mut socket = Narrow { taken: Vec::new(), room };
            queue.header(b"ab");
            queue.header(b"cd");
            queue.payload(10, 5);
            queue.header(b"ef");
            let mut done = queue.flush(&mut socket, &area).unwrap();
            // More is queued behind what is half sent.
            queue.header(b"gh");
            queue.payload(0, 3);
            while !done || !queue.is_empty() {
                socket.room = room;
                done = queue.flush(&mut socket, &area).unwrap();
            }
            assert_eq!(socket.taken, b"abcd\x0a\x0b\x0c\x0d\x0eefgh\x00\x01\x02", "room {room}");
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_stays_small() {
        let area = [7; 64];
        let (mut queue, mut expected) = (TxQueue::default(), Vec::new());
        let mut socket = Narrow { taken: Vec::new(), room: 0 };
        for round in 0..20_000u32 {
            queue.header(&round.to_le_bytes());
            queue.payload(0, 9);
            expected.extend(round.to_le_bytes());
            expected.extend(&area[..9]);
            socket.room = if round == 0 { 1 } else { 13 };
            assert!(!queue.flush(&mut socket, &area).unwrap());
        }
        assert_eq!(socket.taken, expected[..socket.taken.len()]);
        assert!(queue.pieces.len() <= 2 * MAX_PIECES && queue.headers.len() <= 8 * MAX_PIECES);
    }

    #[test]
    fn headers_in_a_row_are_one_piece() {
        let mut queue = TxQueue::default();
        queue.header(b"ab");
        queue.header(b"cd");
        assert_eq!(queue.pieces.len(), 1);
        assert!(queue.flush(&mut Narrow { taken: Vec::new(), room: 9 }, &[]).unwrap());
        assert!(queue.is_empty() && queue.headers.is_empty());
    }
}
