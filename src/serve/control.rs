//! The control thread: what is done beside the cores while they serve, and may fail or take long. It reads the configuration
//! again. It waits for no file system that does not answer: all that asks one is done on other threads ([`super::beside`],
//! [`super::syncing`]).
//!
//! The first thread has only signals and the end to look after: nothing that happens here keeps it from those. A panic here
//! is contained ([`crate::panics`]): everything stays as it is, and who asks for another configuration is told that there
//! will be none.

use super::error::ServeError;
use super::looks::Looking;
use super::reload::Reloader;
use crate::config::edit::edit_lun;
use crate::config::store::{self, NewText};
use crate::limits::CONTROL_END;
use crate::mgmt::{Applied, Edit, NotTaken, Orders, Tell, view};
use crate::model::Snapshot;
use crate::panics;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::Builder;
use std::time::Duration;
use zeroize::Zeroizing;

/// Reads the configuration again, beside the control thread, and beside an earlier time that has not come back. With a text: as
/// if the file said that. The error: what is wrong with it, a line each.
pub type Reread = dyn Fn(Option<&str>) -> Result<Snapshot, Vec<String>> + Send + Sync;

/// The configuration file.
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// Reads it.
    pub read: Box<Reread>,
}

/// An order to read the configuration again, perhaps with a change to it, and who is told what came of it.
#[derive(Default)]
struct Order {
    edit: Option<Edit>,
    tell: Option<Tell>,
}

/// How long until a reload that is under way is looked at again, if no order comes.
const LOOK_AT_RELOAD: Duration = Duration::from_millis(50);

/// What the first thread reaches the control thread by.
pub struct Control {
    /// An order to read the configuration again. There is room for one, which is enough: the file is read as it is when
    /// the order is taken.
    orders: SyncSender<Order>,
    /// A message says that the thread does nothing any more. The channel hangs up when the thread ends.
    ended: Receiver<()>,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    can_reread: bool,
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
        let control = Control {
            orders,
            ended,
            stop: Arc::clone(&stop),
            lost: Arc::clone(&lost),
            can_reread: file.is_some(),
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
        Builder::new()
            .name("ringsan-control".to_owned())
            .spawn(move || panics::contained(|| run(reloader, file, &taken, &stop), end))
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
        } else if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::default()) {
            tracing::warn!("SIGHUP: the configuration is being read again; when that is over, it is read once more");
        }
    }

    /// Takes orders of the control plane.
    pub fn orders(&self) -> Box<Orders> {
        let (orders, can_reread) = (self.orders.clone(), self.can_reread);
        Box::new(move |edit, tell| {
            let order = Order { edit, tell: Some(tell) };
            if can_reread { orders.try_send(order).map_err(|_| NotTaken::Busy) } else { Err(NotTaken::NoFile) }
        })
    }

    /// Has the thread end, and waits for it, but no longer than `CONTROL_END` if it is stuck. Whatever it has begun by
    /// then, the next start finds it as it would after kill -9.
    pub fn stop(self) {
        let Control { orders, ended, stop, .. } = self;
        stop.store(true, Ordering::Release);
        // Others may give orders, too: it would wait for theirs. If there is one, it need not be woken.
        let _ = orders.try_send(Order::default());
        drop(orders);
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(CONTROL_END) {
            tracing::warn!("the control thread is busy, and is not waited for");
        }
    }
}

/// The loop of the control thread, until it is told to stop. False: something that was done beside it has panicked.
fn run(mut reloader: Reloader, file: Option<ConfigFile>, orders: &Receiver<Order>, stop: &AtomicBool) -> bool {
    let file = file.map(Arc::new);
    while !reloader.has_failed() {
        let order = match reloader.is_under_way() {
            true => orders.recv_timeout(LOOK_AT_RELOAD),
            false => orders.recv().map_err(RecvTimeoutError::from),
        };
        if stop.load(Ordering::Acquire) || matches!(order, Err(RecvTimeoutError::Disconnected)) {
            return true;
        }
        if let (Ok(Order { edit, tell }), Some(file)) = (order, &file) {
            let came = match edit {
                None => read_again(&mut reloader, file),
                Some(edit) => change(&mut reloader, file, edit),
            };
            if let Some(tell) = tell {
                tell(came);
            }
        }
        reloader.look();
    }
    false
}

/// What does not answer.
const SILENT: &str = "a file system does not answer, that of the file or of one that it names";

/// Reads the configuration and serves it; says in the log what came of it, and returns that.
fn read_again(reloader: &mut Reloader, file: &Arc<ConfigFile>) -> Applied {
    let reread = Arc::clone(file);
    let read = reloader.beside(move || (reread.read)(None)).unwrap_or_else(|| Err(vec![SILENT.to_owned()]));
    match read {
        Ok(snapshot) => reloader.serve_instead(snapshot),
        Err(faults) => {
            for fault in &faults {
                tracing::error!("configuration read again, and everything stays as it was: {fault}");
            }
            Err(faults)
        }
    }
}

/// Changes the configuration file and serves it. The new text is durable before it is served, and takes the place of the one
/// before when it is: who comes to its end in between finds the old file, and nothing that it does not say.
fn change(reloader: &mut Reloader, file: &Arc<ConfigFile>, edit: Edit) -> Applied {
    let of = Arc::clone(file);
    let prepare = move || prepare(&of, edit);
    let (new, snapshot, lun) = reloader.beside(prepare).unwrap_or_else(|| Err(vec![SILENT.to_owned()]))?;
    let applied = reloader.serve_instead(snapshot)?;
    let put = reloader.beside(move || new.put().map_err(|fault| fault.to_string()));
    if let Err(fault) = put.unwrap_or_else(|| Err(SILENT.to_owned())) {
        tracing::error!("the configuration file is not changed, so what it says is served: {fault}");
        let _ = read_again(reloader, file);
        return Err(vec![fault]);
    }
    Ok(view::Applied { lun: Some(lun), ..applied })
}

/// The new text, beside the file; what it comes to; and the LUN that it is about.
fn prepare(file: &ConfigFile, edit: Edit) -> Result<(NewText, Snapshot, u16), Vec<String>> {
    let before = store::text(&file.path).map_err(|fault| vec![fault.to_string()])?;
    let edited = edit_lun(&before, edit.target.as_deref(), &edit.lun);
    let (text, lun) = edited.map_err(|error| vec![error.to_string()])?;
    let text = Zeroizing::new(text);
    let snapshot = (file.read)(Some(&text))?;
    let new = NewText::write(&file.path, before, &text).map_err(|fault| vec![fault.to_string()])?;
    Ok((new, snapshot, lun))
}
