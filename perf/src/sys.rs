//! System calls that the standard library does not wrap: epoll, CPU affinity, huge pages, socket buffers.
//!
//! The only `unsafe` code of this crate; every function here is safe to call.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Readable.
pub const IN: u32 = libc::EPOLLIN as u32;
/// Writable.
pub const OUT: u32 = libc::EPOLLOUT as u32;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// What happened to one descriptor: the events, and the token it was registered with.
#[derive(Clone, Copy)]
pub struct Event {
    /// The caller's number for the descriptor.
    pub token: u64,
    /// [`IN`], [`OUT`], and what epoll always reports.
    pub events: u32,
}

/// An epoll instance with room for a fixed number of events per wait.
pub struct Epoll {
    fd: OwnedFd,
    buffer: Vec<libc::epoll_event>,
    ready: usize,
}

impl Epoll {
    /// At most `capacity` events are reported per wait.
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was opened just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, buffer: vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(1)], ready: 0 })
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` lives for the call; the kernel checks both descriptors.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    /// Watches `fd`, level-triggered.
    pub fn add(&self, fd: &impl AsRawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), events, token)
    }

    /// Changes what `fd` is watched for.
    pub fn modify(&self, fd: &impl AsRawFd, events: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), events, token)
    }

    /// Waits for events, at most `timeout` (`None`: for ever; zero: not at all), and returns how many there are.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let capacity = self.buffer.len().min(libc::c_int::MAX as usize) as libc::c_int;
        let events = self.buffer.as_mut_ptr();
        self.ready = 0;
        let result = match timeout {
            // SAFETY: the kernel writes at most `capacity` events, which the buffer holds.
            None => check(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, capacity, -1) }),
            // SAFETY: as above.
            Some(Duration::ZERO) => check(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events, capacity, 0) }),
            Some(timeout) => {
                let spec = libc::timespec {
                    tv_sec: timeout.as_secs().min(1 << 30) as libc::time_t,
                    tv_nsec: timeout.subsec_nanos().into(),
                };
                // SAFETY: as above; `spec` lives for the call and no signal mask is passed.
                check(unsafe { libc::epoll_pwait2(self.fd.as_raw_fd(), events, capacity, &spec, std::ptr::null()) })
            }
        };
        match result {
            Ok(ready) => self.ready = ready as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(self.ready)
    }

    /// Event number `index` of the last wait.
    pub fn event(&self, index: usize) -> Event {
        let event = self.buffer[..self.ready][index];
        Event { token: event.u64, events: event.events }
    }
}

/// Pins the calling thread to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: an all-zero `cpu_set_t` is the empty set, and `core` is below its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: `set` lives for the call; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

/// Asks for huge pages behind `memory`. Only advice: a kernel that has none to give is not an error.
pub fn advise_huge_pages(memory: &mut [u8]) {
    const HUGE_PAGE: usize = 2 << 20;
    let skip = memory.as_ptr().align_offset(HUGE_PAGE);
    if let Some(aligned) = memory.get_mut(skip..) {
        let len = aligned.len() / HUGE_PAGE * HUGE_PAGE;
        // SAFETY: the range lies within `aligned`; MADV_HUGEPAGE does not change what it holds.
        unsafe { libc::madvise(aligned.as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    }
}

/// Copies `source` to `target` (of the same length) past the caches, where the processor can: for data that nobody
/// will soon look at, and whose old contents need not be fetched first.
#[inline]
pub fn copy_streaming(target: &mut [u8], source: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if target.len() >= 256 && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 was found.
        return unsafe { copy_streaming_avx2(target, source) };
    }
    target.copy_from_slice(source);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_streaming_avx2(target: &mut [u8], source: &[u8]) {
    use std::arch::x86_64::{_mm_sfence, _mm256_loadu_si256, _mm256_stream_si256};
    const LINE: usize = 64;
    assert_eq!(target.len(), source.len());
    let head = target.as_ptr().align_offset(LINE).min(target.len());
    let lines = (target.len() - head) / LINE;
    target[..head].copy_from_slice(&source[..head]);
    for line in 0..lines {
        let at = head + line * LINE;
        // SAFETY: `at + 64` is at most both lengths; the target is aligned to a line.
        unsafe {
            let from = source.as_ptr().add(at);
            let to = target.as_mut_ptr().add(at);
            let first = _mm256_loadu_si256(from.cast());
            let second = _mm256_loadu_si256(from.add(32).cast());
            _mm256_stream_si256(to.cast(), first);
            _mm256_stream_si256(to.add(32).cast(), second);
        }
    }
    let tail = head + lines * LINE;
    target[tail..].copy_from_slice(&source[tail..]);
    _mm_sfence();
}

/// Connects with this TCP congestion control; "system" leaves the system's.
pub fn connect(to: SocketAddr, congestion: &str) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    set_congestion(&socket, congestion)?;
    socket.connect(&to.into())?;
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Sets the TCP congestion control of a socket that is not connected, or of a listener and all its connections. "system"
/// leaves the system's. One that paces by timers, as BBR does, measures those.
pub fn set_congestion(socket: &impl AsFd, congestion: &str) -> io::Result<()> {
    if congestion == "system" {
        return Ok(());
    }
    socket2::SockRef::from(socket).set_tcp_congestion(congestion.as_bytes())
}

/// Sets SO_SNDBUF and SO_RCVBUF to `bytes` each.
pub fn set_socket_buffers(socket: &TcpStream, bytes: usize) -> io::Result<()> {
    let value = bytes.min(libc::c_int::MAX as usize) as libc::c_int;
    for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        let pointer = (&raw const value).cast();
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `pointer` is to `len` bytes that live for the call.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, pointer, len) })?;
    }
    Ok(())
}

/// CPU time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` lives for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut spec) };
    spec.tv_sec as u64 * 1_000_000_000 + spec.tv_nsec as u64
}

/// Raises the soft limit of open files to the hard one.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Counts how often thread `tid` passes tracepoint `id`: reading the descriptor gives eight bytes, the count.
pub fn count_tracepoint(id: u64, tid: u32) -> io::Result<OwnedFd> {
    // struct perf_event_attr as words: type and size, config; all options off, so that it counts from now on.
    const PERF_TYPE_TRACEPOINT: u64 = 2;
    const ATTR_BYTES: usize = 112;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let mut attr = [0u64; ATTR_BYTES / 8];
    attr[0] = u64::from_ne_bytes(word(PERF_TYPE_TRACEPOINT as u32, ATTR_BYTES as u32));
    attr[1] = id;
    let (any_cpu, no_group) = (-1 as libc::c_int, -1 as libc::c_int);
    // SAFETY: `attr` lives for the call and is as long as its size field says.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), tid, any_cpu, no_group, PERF_FLAG_FD_CLOEXEC)
    };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: `fd` was opened just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Two u32 fields in the order in which they stand in memory.
fn word(first: u32, second: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn epoll_reports_the_token_of_what_is_readable() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut epoll = Epoll::new(4).unwrap();
        epoll.add(&b, IN, 77).unwrap();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap(), 0);
        assert_eq!(epoll.wait(Some(Duration::from_micros(50))).unwrap(), 0);
        a.write_all(b"x").unwrap();
        assert_eq!(epoll.wait(None).unwrap(), 1);
        assert_eq!((epoll.event(0).token, epoll.event(0).events), (77, IN));
    }

    #[test]
    fn thread_time_advances() {
        let before = thread_cpu_ns();
        let mut sum = 0u64;
        while thread_cpu_ns() < before + 1000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_cpu_ns() > before);
    }

    #[test]
    fn streaming_copies_everything_at_any_alignment() {
        let source: Vec<u8> = (0..2000u32).map(|i| (i * 31) as u8).collect();
        for start in 0..70 {
            for len in [0, 5, 255, 256, 300, 1111] {
                let mut target = vec![0; 2000];
                copy_streaming(&mut target[start..start + len], &source[7..7 + len]);
                assert_eq!(target[start..start + len], source[7..7 + len]);
                assert!(target[start + len..].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn advice_takes_memory_of_any_size() {
        for len in [0, 1, 4096, 5 << 20] {
            advise_huge_pages(&mut vec![0; len]);
        }
    }
}
