//! SIGTERM and SIGINT, blocked everywhere and read through a signalfd by a control executor.

use glommio::{LocalExecutorBuilder, Placement, timer::sleep};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The signals that end the server.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks them for this thread and all that it will start.
    #[allow(unsafe_code)]
    pub fn block() -> io::Result<Signals> {
        // SAFETY: the set is a local that these calls initialise before it is used; the descriptor is ours alone.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Returns when one of them comes, or when `alive`, which is asked now and then, says no.
    pub fn wait(&self, mut alive: impl FnMut() -> bool) -> io::Result<()> {
        /// How soon a signal is noticed; ten wake-ups a second of one thread are nothing to an idle machine.
        const LOOK: Duration = Duration::from_millis(100);
        let control = LocalExecutorBuilder::new(Placement::Unbound)
            .name("ringsan-control")
            .io_memory(64 << 10)
            .ring_depth(16)
            .make()
            .map_err(|e| io::Error::other(e.to_string()))?;
        control.run(async {
            while !self.pending()? && alive() {
                sleep(LOOK).await;
            }
            Ok(())
        })
    }

    #[allow(unsafe_code)]
    fn pending(&self) -> io::Result<bool> {
        // SAFETY: the buffer is as large as what the kernel writes for one signal.
        let n = unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size_of::<libc::signalfd_siginfo>())
        };
        if n >= 0 {
            return Ok(n > 0);
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            e => Err(e),
        }
    }
}
