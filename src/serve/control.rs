//! The control thread: what is done beside the cores while they serve, and may fail or take long. It reads the configuration
//! again. It waits for no file system that does not answer: all that asks one is done on other threads ([`super::beside`],
//! [`super::syncing`]).
//!
//! The first thread has only signals and the end to look after: nothing that happens here keeps it from those. A panic here
//! is contained ([`crate::panics`]): everything stays as it is, and who asks for another configuration is told that there
//! will be none.

use super::desk::Desk;
use super::error::ServeError;
use super::file::ConfigFile;
use super::looks::Looking;
use super::reload::Reloader;
use crate::limits::CONTROL_END;
use crate::mgmt::{NotTaken, Order, Orders, Tag, Tell, Wanted};
use crate::panics::{self, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::Builder;

/// An order, and who is told what came of it.
struct Given {
    order: Order,
    tell: Option<Tell>,
}

impl Given {
    /// Has the file read again, and nobody told.
    fn reread() -> Given {
        Given { order: Order { wanted: Wanted::Reread, only_if: None, dry: false }, tell: None }
    }
}

/// What the first thread reaches the control thread by.
pub struct Control {
    /// An order to read the configuration again. There is room for one, which is enough: the file is read as it is when
    /// the order is taken.
    orders: SyncSender<Given>,
    /// A message says that the thread does nothing any more. The channel hangs up when the thread ends.
    ended: Receiver<()>,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    can_reread: bool,
    tag: Tag,
    /// The threads that look at files, beside the control thread.
    _looking: Looking,
}

impl Control {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ServeError::System`]: a thread cannot be started.
    pub fn start(reloader: Reloader, file: Option<ConfigFile>) -> Result<Control, ServeError> {
        let (orders, taken) = mpsc::sync_channel(1);
        let (ends, ended) = mpsc::sync_channel(1);
        let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let _looking = Looking::start(reloader.published()).map_err(ServeError::System)?;
        let tag: Tag = Arc::new(Mutex::new(file.as_ref().map(|file| file.tag.clone()).unwrap_or_default()));
        let control = Control {
            orders,
            ended,
            stop: Arc::clone(&stop),
            lost: Arc::clone(&lost),
            can_reread: file.is_some(),
            tag: Arc::clone(&tag),
            _looking,
        };
        let end = move |was_stopped: Option<bool>| {
            if was_stopped != Some(true) {
                lost.store(true, Ordering::Release);
                tracing::error!(
                    "the control thread has failed: disks are served as before, but the configuration is not read again; \
                     restart ringsan when that suits"
                );
            }
            let _ = ends.try_send(());
        };
        let work = move || {
            let desk = file.map(|file| Desk { file: Arc::new(file), tag });
            run(reloader, desk.as_ref(), &taken, &stop)
        };
        Builder::new()
            .name("ringsan-control".to_owned())
            .spawn(move || panics::contained(work, end))
            .map_err(ServeError::System)?;
        Ok(control)
    }

    /// There was a SIGHUP: has the configuration read again, or says why not.
    pub fn reread(&self) {
        if self.lost.load(Ordering::Acquire) {
            tracing::error!(
                "SIGHUP: the configuration is not read again, for the control thread has failed: restart ringsan when that suits"
            );
        } else if !self.can_reread {
            tracing::warn!("SIGHUP: there is no configuration file to read again");
        } else if let Err(TrySendError::Full(_)) = self.orders.try_send(Given::reread()) {
            tracing::warn!("SIGHUP: the configuration is being read again; when that is over, it is read once more");
        }
    }

    /// Takes orders of the control plane.
    pub fn orders(&self) -> Box<Orders> {
        let (orders, can_reread) = (self.orders.clone(), self.can_reread);
        Box::new(move |order, tell| {
            let given = Given { order, tell: Some(tell) };
            if can_reread { orders.try_send(given).map_err(|_| NotTaken::Busy) } else { Err(NotTaken::NoFile) }
        })
    }

    /// What tells the text that is served from any other.
    pub fn tag(&self) -> Tag {
        Arc::clone(&self.tag)
    }

    /// Has the thread end, and waits for it, but no longer than `CONTROL_END` if it is stuck. Whatever it has begun by
    /// then, the next start finds it as it would after kill -9.
    pub fn stop(self) {
        let Control { orders, ended, stop, .. } = self;
        stop.store(true, Ordering::Release);
        // Others may give orders, too: it would wait for theirs. If there is one, it need not be woken.
        let _ = orders.try_send(Given::reread());
        drop(orders);
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(CONTROL_END) {
            tracing::warn!("the control thread is busy, and is not waited for");
        }
    }
}

/// The loop of the control thread, until it is told to stop. False: something that was done beside it has panicked.
fn run(mut reloader: Reloader, desk: Option<&Desk>, orders: &Receiver<Given>, stop: &AtomicBool) -> bool {
    while !reloader.has_failed() {
        let given = match reloader.rest() {
            Some(rest) => orders.recv_timeout(rest),
            None => orders.recv().map_err(RecvTimeoutError::from),
        };
        if stop.load(Ordering::Acquire) || matches!(given, Err(RecvTimeoutError::Disconnected)) {
            return true;
        }
        if let (Ok(Given { order, tell }), Some(desk)) = (given, desk) {
            let came = desk.carry_out(&mut reloader, order);
            if let Some(tell) = tell {
                tell(came);
            }
        }
        reloader.look();
    }
    false
}
