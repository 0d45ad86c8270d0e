//! SIGTERM, SIGINT, SIGHUP and SIGUSR1, blocked everywhere and read through a signalfd by the first thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The signals that end the server, and those that have it do something.
pub struct Signals(OwnedFd);

/// What somebody wants of a server that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// SIGHUP: that it reads its configuration again.
    Reread,
    /// SIGUSR1: that it says how many are there.
    Count,
}

impl Signals {
    /// Blocks these signals for this thread and all that it will start. SIGHUP is blocked even where there is nothing
    /// to read again: who sends it to be sure does not want the disks gone.
    ///
    /// # Errors
    /// The signals cannot be blocked, or there is no signalfd.
    #[allow(unsafe_code)]
    pub fn block() -> io::Result<Signals> {
        // SAFETY: the set is a local that these calls initialise before it is used; the descriptor is ours alone.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigaddset(&raw mut set, libc::SIGHUP);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
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

    /// Returns when a signal comes that ends the server, or when `look` says `None`. `look` is called now and then,
    /// with what another signal asks for, and says after how long it is to be called again at the latest.
    ///
    /// # Errors
    /// The signalfd cannot be read.
    pub fn wait(&self, mut look: impl FnMut(Option<Wish>) -> Option<Duration>) -> io::Result<()> {
        loop {
            let wish = match self.pending()? {
                None => None,
                Some(libc::SIGHUP) => Some(Wish::Reread),
                Some(libc::SIGUSR1) => Some(Wish::Count),
                Some(_) => return Ok(()),
            };
            let Some(at_most) = look(wish) else { return Ok(()) };
            self.sleep(at_most);
        }
    }

    /// Sleeps until a signal comes, at most this long.
    #[allow(unsafe_code)]
    fn sleep(&self, at_most: Duration) {
        let mut fd = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, a local. What went wrong shows with the next read.
        unsafe { libc::poll(&raw mut fd, 1, at_most.as_millis() as libc::c_int) };
    }

    /// The signal that came, if one did.
    #[allow(unsafe_code)]
    fn pending(&self) -> io::Result<Option<libc::c_int>> {
        // SAFETY: a structure of plain numbers.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as large as what the kernel writes for one signal.
        let n = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        if n >= 0 {
            return Ok((n > 0).then_some(info.ssi_signo as libc::c_int));
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            e => Err(e),
        }
    }
}
