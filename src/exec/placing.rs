//! Data-Out comes: into the slice that it belongs to, or by a receive that the slice has lent its buffer to.

use super::executor::Executor;
use crate::buffers::Buf;
use crate::missing::missing;
use crate::model::{ConnNo, TaskKey};
use crate::tasks::failing::Failure;
use crate::tasks::sink::Outside;
use crate::tasks::task::{Kind, Progress};

/// A buffer that is lent to a receive.
pub struct Lent {
    /// The buffer.
    pub buf: Buf,
    /// Where in it the data goes.
    pub within: usize,
    /// How much of it, bytes.
    pub room: usize,
    /// Offset of its slice in the transfer: names it.
    pub slice: u32,
}

impl Executor {
    /// Lends the buffer that the data of a write at `offset` of its transfer goes to, to the receive of connection `conn`.
    /// `None`: it does not go into one that is there now. The task must be live.
    pub fn lend(&mut self, who: TaskKey, offset: u32, conn: ConnNo) -> Option<Lent> {
        let exec = self.exec(who.seat, who.slot()).filter(|exec| exec.task == who.task)?;
        let slice = exec.slice_at(offset).filter(|slice| slice.progress == Progress::Filling)?;
        let within = offset - slice.offset;
        let has = slice.buf.as_ref()?.capacity().saturating_sub(within as usize);
        let room = has.min((slice.len - within) as usize);
        if room == 0 {
            return None;
        }
        let buf = slice.buf.take()?;
        slice.progress = Progress::Lent { conn };
        Some(Lent { buf, within: within as usize, room, slice: slice.offset })
    }

    /// Takes back what was lent. `Some`: the slice is not there any more that it was lent from.
    pub fn take_back(&mut self, who: TaskKey, slice: u32, conn: ConnNo, buf: Buf) -> Option<Buf> {
        let exec = self.exec(who.seat, who.slot()).filter(|exec| exec.task == who.task);
        let slice = exec
            .and_then(|exec| exec.slices.iter_mut().find(|own| own.offset == slice))
            .filter(|slice| slice.progress == Progress::Lent { conn });
        match slice {
            Some(slice) => {
                (slice.buf, slice.progress) = (Some(buf), Progress::Filling);
                None
            }
            None => Some(buf),
        }
    }

    /// Puts data of a write where it belongs: `offset` counts in the task's transfer. The task must be live.
    #[inline]
    pub fn place(&mut self, who: TaskKey, mut offset: u32, mut bytes: &[u8], out: &mut impl Outside) {
        let slot = who.slot();
        if self
            .exec(who.seat, slot)
            .is_none_or(|e| e.kind == Kind::Idle && e.early.data.is_none() && !e.early.is_dropped)
        {
            // This is unsolicited data of a command without immediate data, which waits for its CmdSN or at a limit.
            self.stage(who, &[], out);
        }
        let Some(exec) = self.exec(who.seat, slot) else { return missing("a task") };
        while !bytes.is_empty() {
            let n = if let Some(slice) = exec.slice_at(offset) {
                if let Progress::Lent { .. } = slice.progress {
                    // The task has another connection now, and its data comes again. The receive of the old one has the buffer.
                    exec.failing.also(Failure::NoBuffer);
                    return;
                }
                // A read's slice is not for data that comes with the read, nor one that is on the medium already.
                let Some(buf) = slice.buf.as_mut().filter(|_| slice.progress == Progress::Filling) else { return };
                let within = offset - slice.offset;
                let room = (slice.len - within) as usize;
                buf.put(within as usize, &bytes[..bytes.len().min(room)])
            } else if let Some((buf, _)) = exec.early.data.as_mut().filter(|_| exec.kind == Kind::Idle) {
                buf.put(offset as usize, bytes)
            } else {
                0
            };
            if n == 0 {
                // The data is either beyond what the CDB moves, and dropped, or unsolicited and found no buffer.
                match exec.kind {
                    Kind::Idle => exec.early.is_dropped = true,
                    _ if offset < exec.transfer.total => {
                        exec.failing.also(Failure::NoBuffer);
                    }
                    _ => {}
                }
                return;
            }
            bytes = &bytes[n..];
            offset += n as u32;
        }
    }
}
