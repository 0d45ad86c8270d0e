//! A medium whose operations a thread carries out, with calls that block: for tests of the way in of other threads, and the
//! shape of any medium that a library serves.

use super::contract::{AtCore, Cold, Configured, Hot, Opened, PathIs};
use super::errno::{Direction, fault_of};
use super::error::OpenError;
use super::properties::Properties;
use super::queue::{Op, Queue, Started, Token};
use super::remote::{Remote, WayIn};
use super::verdict::given_size;
use crate::model::{LunKind, LunSpec, MediumFault};
use rustix::fs::{FallocateFlags, MemfdFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// The medium: a file in memory, and the thread that has it.
pub(super) struct Threaded {
    work: Sender<Remote>,
}

/// What a configuration calls it.
pub(crate) fn kind() -> LunKind {
    LunKind::Other { word: "threaded", path: "one".to_owned() }
}

/// Carries one operation out.
fn carry_out(file: &File, remote: &mut Remote) -> io::Result<()> {
    match remote.op() {
        Op::Read { offset, .. } => file.read_exact_at(remote.bytes_mut(), offset),
        Op::Write { offset, .. } => file.write_all_at(remote.bytes(), offset),
        Op::Flush | Op::Evict { .. } => Ok(()),
        Op::Discard { offset, len } | Op::Zero { offset, len } => {
            let holes = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            Ok(rustix::fs::fallocate(file, holes, offset, len)?)
        }
    }
}

impl Cold for Threaded {
    type Hot = ThreadedHandle;

    fn hot(self: &Arc<Self>, at: &AtCore) -> ThreadedHandle {
        ThreadedHandle { work: self.work.clone(), way_in: at.way_in.clone(), directions: Vec::new() }
    }

    fn can_be_lost(&self) -> bool {
        true
    }
}

impl Configured for Threaded {
    const PATH: PathIs = PathIs::Name;
    const NEEDS_SIZE: bool = true;

    fn open(spec: &LunSpec) -> Result<Opened<Threaded>, OpenError> {
        let size_bytes = given_size(spec)?;
        let failed = |source| OpenError::Io { path: "threaded".into(), action: "make it", source };
        let made = rustix::fs::memfd_create("threaded", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()));
        let file = File::from(made?);
        file.set_len(size_bytes).map_err(failed)?;
        let (work, taken) = mpsc::channel::<Remote>();
        // It ends with the last of those who send to it.
        let run = move || {
            for mut remote in taken {
                let result = carry_out(&file, &mut remote);
                remote.done(result.map_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO), |()| 0));
            }
        };
        thread::Builder::new().name("threaded".to_owned()).spawn(run).map_err(failed)?;
        Ok((Threaded { work }, Properties::of_memory(size_bytes)))
    }
}

/// One core's access to it.
pub(super) struct ThreadedHandle {
    work: Sender<Remote>,
    way_in: WayIn,
    /// Of the operation of each token: EIO is another fault of a read than of a write.
    directions: Vec<Direction>,
}

impl Hot for ThreadedHandle {
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, _queue: &mut Q) -> Started {
        let index = token.0 as usize;
        if index >= self.directions.len() {
            self.directions.resize(index + 1, Direction::Write);
        }
        self.directions[index] = if matches!(op, Op::Read { .. }) { Direction::Read } else { Direction::Write };
        // If the thread is gone, the remote is dropped here, and answered by that.
        let _ = self.work.send(self.way_in.remote(op, token));
        Started::Pending
    }

    fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        _queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        let direction = self.directions.get(token.0 as usize).copied().unwrap_or(Direction::Write);
        Some(if result < 0 { Err(fault_of(result.saturating_neg(), direction)) } else { Ok(()) })
    }
}

mod tests {
    use super::*;
    use crate::backend::conformance::{SIZE_BYTES, suite};
    use crate::backend::media::Kind;
    use crate::backend::testing::{Rig, Tamper, spec};
    use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium};
    use std::time::Duration;

    fn threaded(block_bytes: u32) -> Arc<Medium> {
        Arc::new(Medium::open(&spec(kind(), Some(SIZE_BYTES), block_bytes)).expect("memory and a thread"))
    }

    #[test]
    fn a_medium_that_a_thread_serves_conforms() {
        for block_bytes in [512, 4096] {
            suite(&threaded(block_bytes), false, Tamper::Nothing);
        }
    }

    #[test]
    fn it_does_so_behind_delays_too() {
        let rule = FaultRule::new(FaultAction::Delay(Duration::from_micros(100)));
        let plan = FaultPlan::new().rule(rule);
        suite(&Arc::new(Medium::with_faults(threaded(4096), plan)), false, Tamper::Nothing);
    }

    #[test]
    fn what_its_thread_cannot_do_is_a_fault_of_the_operation() {
        let (work, taken) = mpsc::channel::<Remote>();
        let kind = Kind::Threaded(Arc::new(Threaded { work }));
        let medium = Arc::new(Medium::of(kind, Properties::of_memory(SIZE_BYTES), 512, false));
        let mut rig = Rig::new(&medium, false);
        let thread = thread::spawn(move || {
            taken.into_iter().take(2).for_each(|remote| remote.done(-libc::ENOSPC));
        });
        assert_eq!(rig.write(0, &[1; 512], false), Err(MediumFault::OutOfSpace));
        assert_eq!(rig.flush(), Err(MediumFault::OutOfSpace));
        thread.join().expect("a thread that ends");
        // Nobody is there to answer.
        assert_eq!(rig.read(0, 512).map(drop), Err(MediumFault::Read));
        assert_eq!(rig.write(0, &[1; 512], false), Err(MediumFault::Write));
    }

    #[test]
    fn an_answer_to_a_core_that_has_ended_is_dropped() {
        let rung = Arc::new(());
        let kept = Arc::clone(&rung);
        let way_in = WayIn::new(move || drop(Arc::clone(&kept)));
        let remotes = [(); 3].map(|()| way_in.remote(Op::Flush, Token(7)));
        let [first, second, third] = remotes;
        first.done(0);
        drop(way_in);
        second.done(0);
        drop(third);
        assert_eq!(Arc::strong_count(&rung), 1, "nothing is left of it");
    }

    #[test]
    fn answers_come_in_their_order_and_ring_once() {
        let (tell, told) = mpsc::channel();
        let way_in = WayIn::new(move || tell.send(()).expect("a listener"));
        let mut answers = Vec::new();
        for round in 0..3 {
            for number in 0..5u32 {
                way_in.remote(Op::Flush, Token(number)).done(round);
            }
            assert_eq!(told.try_iter().count(), 1);
            way_in.drain(&mut answers);
            let expected: Vec<_> = (0..5).map(|number| (Token(number), round)).collect();
            assert_eq!(std::mem::take(&mut answers), expected);
        }
        way_in.drain(&mut answers);
        assert!(answers.is_empty() && told.try_iter().count() == 0);
    }
}
