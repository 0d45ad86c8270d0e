//! What is lock-free between threads is built on this, in one place: `tests/models.rs` has another module of this name, of
//! loom's types, and so runs their very code.

pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub use std::sync::{Mutex, MutexGuard};

use std::sync::atomic::{compiler_fence, fence};

/// A barrier between two sides that each write, then read what the other writes: at least one sees the other. One side
/// comes by often and pays nothing, the other seldom and pays for both: membarrier(2) has every running core pass a full one.
pub struct Barrier {
    /// membarrier(2) works; else both sides pay for a full fence.
    asymmetric: bool,
}

/// Registers this process for membarrier(2), if the kernel has it.
impl Default for Barrier {
    fn default() -> Barrier {
        Barrier { asymmetric: membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 }
    }
}

impl Barrier {
    /// The barrier for the side that comes by often.
    #[inline]
    pub fn often(&self) {
        if self.asymmetric { compiler_fence(Ordering::SeqCst) } else { fence(Ordering::SeqCst) }
    }

    /// The barrier for the side that comes by seldom.
    pub fn seldom(&self) {
        fence(Ordering::SeqCst);
        if self.asymmetric {
            membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        }
    }
}

/// Calls membarrier(2).
#[allow(unsafe_code)]
fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: the call takes no pointers; an unknown command is an error.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}
