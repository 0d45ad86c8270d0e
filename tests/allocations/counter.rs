//! An allocator that counts what the threads of the server's cores ask for while a window is open, and remembers where.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Places that are told at most.
const PLACES: usize = 4;

/// The system's allocator, and a count.
pub struct Counting;

static OPEN: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static WHERE: Mutex<Vec<String>> = Mutex::new(Vec::new());
thread_local! {
    /// Whether this thread is a core; `None`: not looked at yet.
    static CORE: Cell<Option<bool>> = const { Cell::new(None) };
    /// In the count itself, which allocates for the backtrace.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts from now on. There is one count for the process: whoever opens windows holds [`alone`].
pub struct Window(());

/// Keeps the other tests of this binary, which the harness runs side by side, out of the count.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Window {
    pub fn open() -> Window {
        COUNT.store(0, Ordering::Relaxed);
        WHERE.lock().unwrap_or_else(PoisonError::into_inner).clear();
        OPEN.store(true, Ordering::SeqCst);
        Window(())
    }

    /// How often a core allocated since, and the first places where.
    pub fn close(self) -> (u64, String) {
        OPEN.store(false, Ordering::SeqCst);
        let places = WHERE.lock().unwrap_or_else(PoisonError::into_inner).join("\n\n");
        (COUNT.load(Ordering::SeqCst), places)
    }
}

/// The cores' threads are named `ringsan-0`, `ringsan-1`, ...
fn is_core() -> bool {
    CORE.get().unwrap_or_else(|| {
        let mut name = [0u8; 16];
        // SAFETY: the kernel writes at most 16 bytes.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        let core = name.strip_prefix(b"ringsan-").is_some_and(|n| n[0].is_ascii_digit());
        CORE.set(Some(core));
        core
    })
}

fn note() {
    if !OPEN.load(Ordering::Relaxed) || INSIDE.replace(true) {
        return;
    }
    if is_core() {
        COUNT.fetch_add(1, Ordering::SeqCst);
        if let Ok(mut places) = WHERE.try_lock()
            && places.len() < PLACES
        {
            places.push(Backtrace::force_capture().to_string());
        }
    }
    INSIDE.set(false);
}

// SAFETY: everything is left to the system's allocator; the count is kept aside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(ptr, layout) }
    }
}
