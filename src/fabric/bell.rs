//! What wakes a core: an eventfd that its ring reads.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The bell of one core. Rung before it is read, it is heard by the next read; rung again until then, it is heard once.
pub struct Bell(OwnedFd);

impl Bell {
    /// One that nobody has rung.
    #[allow(unsafe_code)]
    ///
    /// # Errors
    /// The error of eventfd(2).
    pub fn new() -> io::Result<Bell> {
        // SAFETY: a plain system call; the descriptor it returns is ours alone.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, not owned by anybody else.
        Ok(Bell(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor of the eventfd, to be read eight bytes at a time.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Wakes the core whose ring reads the bell.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes of a local; an eventfd takes exactly that.
        #[allow(unsafe_code)]
        unsafe {
            libc::write(self.fd(), one.as_ptr().cast(), one.len())
        };
    }
}
