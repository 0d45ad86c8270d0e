//! Asks the server each second, on a thread of its own: keys are taken however long it does not answer.

use super::rates::Sample;
use ringsan::mgmt::client::{Client, ClientError};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// How often it is asked.
pub const EVERY: Duration = Duration::from_secs(1);

/// What waits to be shown, or to be asked for, at most.
const WAITING: usize = 4;

/// What came of asking.
pub enum Told {
    Sample(Box<Sample>),
    /// The server does not answer, or not as it should.
    Lost(String),
    /// A session was dropped, or why not.
    Dropped(u16, Result<(), String>),
}

/// The thread, seen from outside.
pub struct Feed {
    orders: SyncSender<u16>,
    told: Receiver<Told>,
}

/// What the server tells now. `epoch`: since when microseconds are counted.
///
/// # Errors
/// As the client's.
pub fn sample(client: &Client, epoch: Instant) -> Result<Sample, ClientError> {
    let status = client.get("/v1/status")?;
    let at_us = u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(Sample { at_us, status, sessions: client.get("/v1/sessions")? })
}

impl Feed {
    /// Begins to ask. It ends when nobody takes what it tells any more.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(client: Client, epoch: Instant) -> io::Result<Feed> {
        let (orders, ordered) = sync_channel(WAITING);
        let (tell, told) = sync_channel(WAITING);
        std::thread::Builder::new().name("ringsan-top".into()).spawn(move || work(&client, epoch, &ordered, &tell))?;
        Ok(Feed { orders, told })
    }

    /// Has a session dropped; false: too much is waiting already.
    pub fn drop_session(&self, tsih: u16) -> bool {
        self.orders.try_send(tsih).is_ok()
    }

    /// What came, if something did.
    ///
    /// # Errors
    /// Nothing will come any more.
    pub fn next(&self) -> Result<Option<Told>, ()> {
        match self.told.try_recv() {
            Ok(told) => Ok(Some(told)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(()),
        }
    }
}

fn work(client: &Client, epoch: Instant, orders: &Receiver<u16>, tell: &SyncSender<Told>) {
    loop {
        let until = Instant::now() + EVERY;
        let told = match sample(client, epoch) {
            Ok(sample) => Told::Sample(Box::new(sample)),
            Err(error) => Told::Lost(error.to_string()),
        };
        if tell.send(told).is_err() {
            return;
        }
        loop {
            match orders.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(tsih) => {
                    let done = client.delete::<()>(&format!("/v1/sessions/{tsih}")).map_err(|error| error.to_string());
                    if tell.send(Told::Dropped(tsih, done)).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
