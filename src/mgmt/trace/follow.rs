//! Follows what the cores note, and hands it to who reads.

use super::super::Reach;
use super::places::Stay;
use super::tasks::Tasks;
use super::written::{Form, Written};
use crate::fabric::look::{Filter, Look, Looked, Note, Notes};
use crate::fabric::mesh::{Mesh, Message};
use crate::limits::{TRACE_BUFFER_BYTES, TRACE_BYTES, TRACE_UNREAD};
use hyper::body::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

/// How often the cores are asked, and how often where there is more than a little.
const OFTEN: Duration = Duration::from_millis(50);
const MORE_OFTEN: Duration = Duration::from_millis(5);

/// How long a core is waited for before what the others have noted is shown.
const CORE_WAIT: Duration = Duration::from_millis(200);

/// What is asked for.
pub(in crate::mgmt) struct Asked {
    /// What is noted.
    pub what: Filter,
    /// Only what belongs to this LUN.
    pub lun: Option<u16>,
    /// How it is written.
    pub form: Form,
    /// It ends after so many PDUs.
    pub count: Option<u64>,
    /// It ends after this time.
    pub time: Option<Duration>,
}

/// What a core has to do with a trace.
#[derive(Default)]
struct Tapped {
    /// Its answer, if it is awaited.
    awaited: Option<oneshot::Receiver<Looked>>,
    /// What it has noted and was not shown yet, with how many of those were.
    noted: Vec<(Notes, usize)>,
    /// A buffer that is not in use.
    spare: Option<Notes>,
    /// It does not answer any more.
    gone: bool,
}

/// A trace.
struct Trace {
    mesh: Mesh,
    id: u64,
    what: Arc<Filter>,
    cores: Vec<Tapped>,
    buffer_bytes: usize,
    stay: Stay,
    _place: OwnedSemaphorePermit,
}

impl Drop for Trace {
    fn drop(&mut self) {
        (0..self.mesh.cores()).for_each(|core| self.mesh.post(core, Message::EndLook(self.id)));
        self.stay.hold(false);
    }
}

/// Begins a trace, and returns what is read of it, piece by piece; each piece is whole PDUs. `None`: there are as many traces as
/// there may be.
pub(in crate::mgmt) async fn follow(reach: &Reach, asked: Asked, stay: Stay) -> Option<mpsc::Receiver<Bytes>> {
    let (place, id) = reach.traces.take()?;
    let cores = reach.mesh.cores();
    stay.hold(true);
    let mut trace = Trace {
        mesh: reach.mesh.clone(),
        id,
        what: Arc::new(asked.what.clone()),
        cores: (0..cores).map(|_| Tapped::default()).collect(),
        // Three for each core: one is filled, one is on its way, and one is waited with for the other cores.
        buffer_bytes: TRACE_BUFFER_BYTES.min(TRACE_BYTES / (3 * cores.max(1))),
        stay,
        _place: place,
    };
    // What is done from now on is to be in it: the cores know of it before the reader does.
    trace.ask().await;
    let clock = Arc::clone(&reach.world.lock().clock);
    let (give, given) = mpsc::channel(2);
    tokio::spawn(async move {
        let now_ns = || clock.now_ns(Instant::now());
        let mut reader = Reader {
            give,
            written: Written::new(asked.form),
            tasks: asked.lun.map(Tasks::at),
            left: asked.count.unwrap_or(u64::MAX),
            since_1970_ns: clock.since_1970_ms(0).saturating_mul(1_000_000),
            read_at: Instant::now(),
        };
        let until = asked.time.and_then(|time| Instant::now().checked_add(time));
        reader.hand_over(false);
        loop {
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            let before_ns = if is_over { u64::MAX } else { now_ns() };
            let fill = trace.ask().await;
            let (lost, notes) = trace.noted(before_ns);
            reader.pdus(lost, &notes);
            trace.forget_noted(before_ns);
            if !reader.hand_over(is_over || trace.is_alone()) {
                return;
            }
            let pause = match fill {
                _ if fill > trace.buffer_bytes / 2 => Duration::ZERO,
                _ if fill > trace.buffer_bytes / 16 => MORE_OFTEN,
                _ => until.map_or(OFTEN, |until| OFTEN.min(until.saturating_duration_since(Instant::now()))),
            };
            let _ = timeout(pause, reader.give.closed()).await;
        }
    });
    Some(given)
}

impl Trace {
    /// Asks the cores, and waits for their answers, but not for ever. How full the fullest buffer was, bytes.
    async fn ask(&mut self) -> usize {
        for (core, tapped) in self.cores.iter_mut().enumerate() {
            if tapped.awaited.is_some() || tapped.gone {
                continue;
            }
            let (tell, told) = oneshot::channel();
            let empty = tapped.spare.take().unwrap_or_else(|| Notes::with_room(self.buffer_bytes));
            let answer = Box::new(|looked| {
                let _ = tell.send(looked);
            });
            let look = Look { id: self.id, what: Arc::clone(&self.what), empty, answer };
            self.mesh.post(core, Message::Look(Box::new(look)));
            tapped.awaited = Some(told);
        }
        let (until, mut fill) = (Instant::now() + CORE_WAIT, 0);
        for tapped in &mut self.cores {
            let Some(mut awaited) = tapped.awaited.take() else { continue };
            match timeout_at(until.into(), &mut awaited).await {
                Ok(Ok(Looked::Begun)) => {}
                Ok(Ok(Looked::Notes(notes))) => {
                    fill = fill.max(notes.len());
                    tapped.noted.push((notes, 0));
                }
                Ok(Ok(Looked::Full) | Err(_)) => tapped.gone = true,
                Err(_) => tapped.awaited = Some(awaited),
            }
        }
        fill
    }

    /// No core answers any more.
    fn is_alone(&self) -> bool {
        self.cores.iter().all(|tapped| tapped.gone)
    }

    /// How many PDUs were lost since this was asked last, and what was noted before a time and not shown yet, in order. What comes
    /// later is for the next time: another core may have noted something before it, and not told yet.
    fn noted(&mut self, before_ns: u64) -> (u64, Vec<Note<'_>>) {
        let (mut lost, mut all) = (0, Vec::new());
        for (notes, shown) in self.cores.iter_mut().flat_map(|tapped| &mut tapped.noted) {
            lost += std::mem::take(&mut notes.dropped);
            all.extend(notes.iter().skip(*shown).take_while(|note| note.at_ns < before_ns));
        }
        all.sort_by_key(|note| note.at_ns);
        (lost, all)
    }

    /// Those were shown.
    fn forget_noted(&mut self, before_ns: u64) {
        for tapped in &mut self.cores {
            for (notes, shown) in &mut tapped.noted {
                *shown += notes.iter().skip(*shown).take_while(|note| note.at_ns < before_ns).count();
            }
            let is_shown = |(notes, shown): &mut (Notes, usize)| notes.iter().nth(*shown).is_none();
            for (mut notes, _) in tapped.noted.extract_if(.., is_shown) {
                notes.clear();
                tapped.spare = Some(notes);
            }
        }
    }
}

/// Who reads a trace.
struct Reader {
    give: mpsc::Sender<Bytes>,
    written: Written,
    tasks: Option<Tasks>,
    /// PDUs that are still to be shown.
    left: u64,
    since_1970_ns: u64,
    /// When there was room last for a piece.
    read_at: Instant,
}

impl Reader {
    /// Writes what was noted, if there is room for it.
    fn pdus(&mut self, lost: u64, notes: &[Note<'_>]) {
        let has_room = self.give.capacity() > 0;
        self.written.lost(lost);
        for note in notes {
            if self.tasks.as_mut().is_some_and(|tasks| !tasks.own(note)) {
                continue;
            }
            if !has_room {
                self.written.lost(1);
            } else if self.left > 0 {
                self.left -= 1;
                self.written.pdu(self.since_1970_ns.saturating_add(note.at_ns), note);
            }
        }
    }

    /// Hands over what was written. False: it is over.
    fn hand_over(&mut self, ends: bool) -> bool {
        let ends = ends || self.left == 0;
        match self.give.try_reserve() {
            Ok(room) => {
                self.read_at = Instant::now();
                let bytes = self.written.take(ends);
                if !bytes.is_empty() {
                    room.send(Bytes::from(bytes));
                }
                !ends
            }
            Err(mpsc::error::TrySendError::Full(())) => !ends && self.read_at.elapsed() < TRACE_UNREAD,
            Err(mpsc::error::TrySendError::Closed(())) => false,
        }
    }
}
