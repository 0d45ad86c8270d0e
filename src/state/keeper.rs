//! The thread that carries out commands whose effect has to be stored first.
//!
//! One for the process: such commands are rare, and what they wait for is one file system. It takes them in the order in
//! which the cores gave them, which is what [`LogicalUnit::save`] asks for.

use super::UnitFile;
use crate::limits::STATE_DESCRIPTORS;
use crate::scsi::{LogicalUnit, SaveEnd, Saving};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Builder, JoinHandle};

/// A command on its way. Each is a task of a session, so there are no more of them than those have tasks.
struct Order {
    unit: Arc<LogicalUnit>,
    file: Arc<UnitFile>,
    saving: Box<Saving>,
    done: Box<dyn FnOnce(SaveEnd) + Send>,
}

/// The way to the thread. `None`: the end.
#[derive(Debug)]
pub struct Keeper(Sender<Option<Order>>);

impl Keeper {
    /// Starts the thread. It ends after [`Keeper::end`], or when this is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start() -> io::Result<(Keeper, JoinHandle<()>)> {
        let (sender, orders) = mpsc::channel();
        let thread = Builder::new().name("ringsan-keeper".to_owned()).spawn(move || run(&orders))?;
        Ok((Keeper(sender), thread))
    }

    /// Has a command carried out; `done` is called when that is over, on the keeper's thread. Does not block.
    pub fn submit(
        &self,
        unit: &Arc<LogicalUnit>,
        file: &Arc<UnitFile>,
        saving: Box<Saving>,
        done: impl FnOnce(SaveEnd) + Send + 'static,
    ) {
        let order = Order { unit: Arc::clone(unit), file: Arc::clone(file), saving, done: Box::new(done) };
        // The receiver lives as long as the thread, and that as long as this.
        let _ = self.0.send(Some(order));
    }

    /// Lets the thread end when it has done what it was given. A core that could not let go of its memory keeps this alive.
    pub fn end(&self) {
        let _ = self.0.send(None);
    }
}

/// Descriptors that are given up for those of a file that must be written.
struct Reserve(Vec<File>);

impl Reserve {
    fn new() -> Reserve {
        let mut reserve = Reserve(Vec::with_capacity(STATE_DESCRIPTORS));
        reserve.fill();
        reserve
    }

    /// As far as there are any.
    fn fill(&mut self) {
        let missing = STATE_DESCRIPTORS.saturating_sub(self.0.len());
        self.0.extend((0..missing).map_while(|_| File::open("/dev/null").ok()));
    }

    /// `work`, and once more with the reserve where it found no descriptor.
    fn with<T>(&mut self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut done = work();
        if matches!(&done, Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))) {
            self.0.clear();
            done = work();
        }
        self.fill();
        done
    }
}

fn run(orders: &Receiver<Option<Order>>) {
    let mut reserve = Reserve::new();
    while let Ok(Some(Order { unit, file, saving, done })) = orders.recv() {
        let end = unit.save(&saving, |saved| match reserve.with(|| file.save(saved)) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(file = %file.path().display(), "the state of a logical unit cannot be saved: {error}");
                false
            }
        });
        // First, so that who is answered finds the unit with nothing on its way.
        drop(saving);
        done(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_given_up_for_who_finds_no_descriptor() {
        let mut reserve = Reserve::new();
        assert_eq!(reserve.0.len(), STATE_DESCRIPTORS);
        let mut tried = 0;
        let none = || io::Error::from_raw_os_error(libc::EMFILE);
        let done = reserve.with(|| {
            tried += 1;
            if tried == 1 { Err(none()) } else { Ok(()) }
        });
        assert!(done.is_ok());
        assert_eq!(reserve.0.len(), STATE_DESCRIPTORS, "filled again");
        assert!(reserve.with(|| Err::<(), _>(io::Error::from_raw_os_error(libc::EIO))).is_err());
    }
}
