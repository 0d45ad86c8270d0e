//! A job: a command that takes several steps on the medium (WRITE SAME, UNMAP, VERIFY, COMPARE AND WRITE, ...), as an
//! async function. Jobs are rare; reads and writes do not come this way.
//!
//! A job asks for operations, buffers and pauses through its [`JobCx`]; the executor carries them out at its own pace
//! (`exec/work.rs`) and polls the job again when an answer is there. Jobs cut their work into slices by themselves
//! (`commands.rs`), so that the core serves everything else between two of them.

use super::copy_job::CopyJob;
use crate::backend::{Buffer, Op, Token};
use crate::buffers::{Account, Buf};
use crate::model::{ItNexus, MediumFault, SeatIx, TaskKey, UnitIx};
use crate::rate::FlowId;
use crate::scsi::{Outcome, SaveEnd, Saving};
use crate::unit::end::JobEnd;
use crate::unit::errand::{Answer, Call};
use crate::unit::fence::Lock;
use crate::waits::cell::Cell1;
use crate::waits::flushes::FlushTicket;
use crate::waits::saves::Standing;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// The task that a job works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForTask {
    /// Seat of its session.
    pub seat: SeatIx,
    /// Its slot there.
    pub slot: usize,
    /// Offset of the slice that is worked on, if it is not the whole command.
    pub slice: Option<u32>,
}

impl ForTask {
    /// For the whole of a command.
    pub fn whole(who: TaskKey) -> ForTask {
        ForTask { seat: who.seat, slot: who.slot(), slice: None }
    }
}

/// What a job has asked for and the executor has not begun.
pub enum Request {
    /// Run `op` on the medium of a unit; `None`: the job's own. `free`: it waits for no limit of that unit.
    Op { unit: Option<UnitIx>, op: Op, free: bool, cell: Cell1<Result<(), MediumFault>> },
    /// A piece of the arena.
    Buffer(usize, Cell1<Buf>),
    /// An operation of so many bytes on a unit, paid for before anything is taken for it; `None`: the job's own unit.
    Pay(Option<UnitIx>, u64, Cell1<()>),
    /// A range of the medium, for this job alone until it ends: offset and length, bytes.
    Lock(u64, u64, Cell1<()>),
    /// Have the keeper carry out a command whose effect is to be stored first.
    Save(Box<Saving>, Cell1<SaveEnd>),
    /// Call what may block, beside the cores.
    Errand(Call, Arc<Answer>),
    /// Begin a job on the same unit that nobody waits for, and that no abort ends.
    Spawn(JobCx, Work, Cell1<()>),
    /// Poll again in the next turn.
    Pause,
}

/// What a job does.
pub type Work = Pin<Box<dyn Future<Output = JobEnd>>>;

/// What a job and its executor have in common.
#[derive(Default)]
struct Shared {
    /// When the job was polled last, milliseconds of the core's clock.
    now_ms: Cell<u64>,
    /// What it has asked for and not been given, in order.
    requests: RefCell<VecDeque<Request>>,
}

/// What a job asks its executor by.
#[derive(Clone)]
pub struct JobCx {
    /// What the job and its executor have in common.
    shared: Rc<Shared>,
    /// Whom its buffers are charged to.
    account: Account,
    /// Its operations wait for no limit.
    free: bool,
}

/// An I/O buffer of a job; goes back to the arena when dropped.
pub struct JobBuffer(Buf);

impl JobBuffer {
    /// Bytes in it.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The first `len` bytes, for an operation that its job awaits before it looks at the buffer again.
    ///
    /// # Errors
    /// [`MediumFault::Internal`]: the buffer has not as many.
    pub fn first(&mut self, len: usize) -> Result<Buffer, MediumFault> {
        self.0.buffer(len).ok_or(MediumFault::Internal(libc::ERANGE))
    }

    /// The first `len` bytes, or fewer if there are not as many. Only between operations on this buffer: a job awaits
    /// those.
    pub fn bytes(&self, len: usize) -> &[u8] {
        self.0.bytes(0, len.min(self.0.capacity())).unwrap_or(&[])
    }

    /// Like [`JobBuffer::bytes`], to be written.
    pub fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.0.capacity());
        self.0.bytes_mut(0, len).unwrap_or(&mut [])
    }
}

impl JobCx {
    /// For a new job whose buffers are charged to `account`.
    pub fn new(account: Account) -> JobCx {
        JobCx { shared: Rc::default(), account, free: false }
    }

    /// For another job of this core, charged to the same account.
    pub fn sibling(&self) -> JobCx {
        JobCx { shared: Rc::default(), account: self.account.clone(), free: self.free }
    }

    /// For operations of the same job that wait for no limit, because it has a buffer in its hands.
    pub fn free(&self) -> JobCx {
        JobCx { free: true, ..self.clone() }
    }

    /// The time of this turn, milliseconds of the core's clock.
    pub fn now_ms(&self) -> u64 {
        self.shared.now_ms.get()
    }

    /// Begins a job that was made with `cx`, on the same unit. Nobody waits for it, and no abort ends it.
    pub async fn spawn(&self, cx: JobCx, work: Work) {
        self.ask(|cell| Request::Spawn(cx, work, cell)).await;
    }

    /// Runs one operation on the medium of the job's unit.
    ///
    /// # Errors
    /// The fault of the medium.
    pub async fn op(&self, op: Op) -> Result<(), MediumFault> {
        self.ask(|cell| Request::Op { unit: None, op, free: self.free, cell }).await
    }

    /// Reads the first `len` bytes of a buffer from `offset`.
    ///
    /// # Errors
    /// The fault of the medium, or that of [`JobBuffer::first`].
    pub async fn read(&self, offset: u64, buffer: &mut JobBuffer, len: usize) -> Result<(), MediumFault> {
        self.op(Op::Read { offset, buffer: buffer.first(len)? }).await
    }

    /// Writes the first `len` bytes of a buffer to `offset`.
    ///
    /// # Errors
    /// The fault of the medium, or that of [`JobBuffer::first`].
    pub async fn write(
        &self,
        offset: u64,
        buffer: &mut JobBuffer,
        len: usize,
        durable: bool,
    ) -> Result<(), MediumFault> {
        self.op(Op::Write { offset, buffer: buffer.first(len)?, durable }).await
    }

    /// Runs one operation on the medium of another unit.
    ///
    /// # Errors
    /// The fault of the medium.
    pub async fn op_on(&self, unit: UnitIx, op: Op) -> Result<(), MediumFault> {
        self.ask(|cell| Request::Op { unit: Some(unit), op, free: self.free, cell }).await
    }

    /// Like [`JobCx::op_on`], unless `may` says why not. An operation may have to wait (for a limit, a range, its
    /// turn), and meanwhile that may change: `may` is asked whenever it could begin, right before. What has begun is
    /// awaited.
    ///
    /// # Errors
    /// What `may` has said. The fault of the medium is in the inner result.
    pub async fn op_if<E>(
        &self,
        unit: UnitIx,
        op: Op,
        may: impl Fn() -> Result<(), E>,
    ) -> Result<Result<(), MediumFault>, E> {
        let cell: Cell1<_> = Rc::new(Cell::new(None));
        let (free, own) = (self.free, Rc::clone(&cell));
        self.shared.requests.borrow_mut().push_back(Request::Op { unit: Some(unit), op, free, cell: own });
        let is_own = |request: &Request| matches!(request, Request::Op { cell: own, .. } if Rc::ptr_eq(own, &cell));
        std::future::poll_fn(|_| {
            if let Some(answer) = cell.take() {
                return Poll::Ready(Ok(answer));
            }
            let mut requests = self.shared.requests.borrow_mut();
            if requests.iter().any(is_own)
                && let Err(why) = may()
            {
                requests.retain(|request| !is_own(request));
                return Poll::Ready(Err(why));
            }
            Poll::Pending
        })
        .await
    }

    /// A buffer of at least `len` bytes; waits until one is free. A job that has a buffer or a range already does not
    /// ask for one: it would keep others from having theirs, and they would keep it.
    pub async fn buffer(&self, len: usize) -> JobBuffer {
        if let Some(buf) = self.account.take(len) {
            return JobBuffer(buf);
        }
        JobBuffer(self.ask(|cell| Request::Buffer(len, cell)).await)
    }

    /// Waits until the next operation of `bytes` on a unit (`None`: the job's own) is paid for, if that is limited. To
    /// be asked before a buffer is taken for it: what waits for a limit holds nothing.
    pub async fn pay(&self, unit: Option<UnitIx>, bytes: u64) {
        self.ask(|cell| Request::Pay(unit, bytes, cell)).await;
    }

    /// Keeps a range of the medium from everybody else until the job ends; waits until it can be had.
    pub async fn lock(&self, offset: u64, len: u64) {
        self.ask(|cell| Request::Lock(offset, len, cell)).await;
    }

    /// Has the keeper carry out a command whose effect is to be stored first.
    pub async fn save(&self, saving: Box<Saving>) -> SaveEnd {
        self.ask(|cell| Request::Save(saving, cell)).await
    }

    /// Has `call` called beside the cores, because it may block. Nothing of the job is in flight meanwhile: it can be dropped.
    pub async fn errand(&self, call: Call) -> JobEnd {
        let answer = Arc::new(Answer::default());
        self.shared.requests.borrow_mut().push_back(Request::Errand(call, Arc::clone(&answer)));
        std::future::poll_fn(|_| answer.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Lets the core do a turn.
    pub async fn pause(&self) {
        let mut asked = false;
        std::future::poll_fn(|_| {
            if asked {
                return Poll::Ready(());
            }
            asked = true;
            self.shared.requests.borrow_mut().push_back(Request::Pause);
            Poll::Pending
        })
        .await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Cell1<T>) -> Request) -> T {
        let cell: Cell1<T> = Rc::new(Cell::new(None));
        self.shared.requests.borrow_mut().push_back(request(Rc::clone(&cell)));
        std::future::poll_fn(|_| match cell.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }
}

impl From<Buf> for JobBuffer {
    fn from(buf: Buf) -> JobBuffer {
        JobBuffer(buf)
    }
}

/// The range that an operation of a job waits for, because another command holds some of it.
#[derive(Debug, Clone, Copy)]
pub struct Stalled {
    /// The unit, which need not be the job's own.
    pub unit: UnitIx,
    /// Offset and length, bytes.
    pub range: (u64, u64),
    /// Since when it waits, milliseconds.
    pub since_ms: u64,
}

/// How a job pays at the limits of units.
#[derive(Default)]
pub struct Paying {
    /// Its operations on the medium count for the limits of its unit.
    pub charged: bool,
    /// Its next operation is paid for.
    pub paid: bool,
    /// Units on which it has paid for an operation ahead ([`JobCx::pay`]): each as often as it is here.
    pub prepaid: Vec<UnitIx>,
    /// It waits in this flow until it can pay.
    pub held: Option<FlowId>,
}

impl Paying {
    /// Whether its next operation is to be paid for.
    pub fn owes(&self) -> bool {
        self.charged && !self.paid
    }

    /// Spends what was paid ahead for an operation on a unit; false: nothing was.
    pub fn spend(&mut self, unit: UnitIx) -> bool {
        let ahead = self.prepaid.iter().position(|of| *of == unit);
        if let Some(at) = ahead {
            self.prepaid.swap_remove(at);
            self.paid = true;
        }
        ahead.is_some()
    }

    /// What is paid for is kept for an operation on a unit that is to come. Bytes are paid for only if there is a limit.
    pub fn keep(&mut self, unit: UnitIx) {
        if std::mem::take(&mut self.paid) {
            self.prepaid.push(unit);
        }
    }

    /// It is its turn.
    pub fn go_on(&mut self) {
        (self.held, self.paid) = (None, true);
    }
}

/// The ranges of a job, and its place among those that wait for some.
#[derive(Default)]
pub struct JobRanges {
    /// Those that it holds.
    pub locks: Vec<Lock>,
    /// It waits for one more.
    pub is_locking: bool,
    /// It has asked for its turn to make a hole in a file (`waits/holes.rs`).
    pub in_hole: bool,
    /// A held range keeps its operation out: which one.
    pub stalled: Option<Stalled>,
}

/// A job and the line of what is to be saved.
#[derive(Default)]
pub struct JobSave {
    /// It waits for its turn to be saved, or for the keeper: its ticket.
    pub ticket: Option<usize>,
    /// It keeps the commands that are to be saved behind it waiting until the tasks are aborted that it was to abort.
    pub standing: Option<Standing>,
    /// What is still to be done when its command has been stored, even if the task is gone: whether a flush, and the
    /// nexuses whose tasks are to be aborted.
    pub owed: Option<(bool, Vec<ItNexus>)>,
}

/// What a job has on the medium.
#[derive(Default)]
pub struct OnMedium {
    /// Operations that the core has begun for it, and what it has with the keeper.
    pub in_flight: usize,
    /// Its operation. The token may be another operation's by now
    /// ([`crate::tasks::operations::Operations::claim_of`]).
    pub operation: Option<Token>,
    /// Nobody waits for it any more, and the medium does not answer: the unit where that counts.
    pub stray: Option<UnitIx>,
}

/// What else a job waits for.
#[derive(Default)]
pub struct JobWaits {
    /// For a buffer: its place among those that do ([`super::starved::StarvedJobs`]).
    pub starved: Option<u64>,
    /// For a flush.
    pub flushing: Option<FlushTicket>,
    /// The answer of its errand.
    pub errand: Weak<Answer>,
}

/// A running job.
pub struct Job {
    /// What it does; `None`: it was stopped.
    future: Option<Work>,
    /// What the job and its executor have in common.
    shared: Rc<Shared>,
    /// Its unit.
    pub unit: UnitIx,
    /// The task that it works for; `None`: it has none, or has outlived it.
    pub task: Option<ForTask>,
    /// Whom its buffers are charged to.
    pub account: Account,
    /// It is a third-party copy: of whom, and where to.
    pub copy: Option<Box<CopyJob>>,
    /// How it pays.
    pub pay: Paying,
    /// Its ranges.
    pub ranges: JobRanges,
    /// How it is saved.
    pub save: JobSave,
    /// What it has on the medium.
    pub medium: OnMedium,
    /// What else it waits for.
    pub waits: JobWaits,
    /// Its task was aborted: it is dropped as soon as nothing is in flight.
    pub cancelled: bool,
    /// The outcome it was cancelled with, if that was not for an abort of its task.
    pub given_up: Option<Outcome>,
    /// When its task is aborted it goes on without that.
    pub survives: bool,
}

impl Job {
    /// A job that runs `future`, made with `cx`.
    pub fn new(
        cx: &JobCx,
        future: impl Future<Output = JobEnd> + 'static,
        (unit, task): (UnitIx, Option<ForTask>),
    ) -> Job {
        Job {
            future: Some(Box::pin(future)),
            shared: Rc::clone(&cx.shared),
            unit,
            task,
            account: cx.account.clone(),
            copy: None,
            pay: Paying::default(),
            ranges: JobRanges::default(),
            save: JobSave::default(),
            medium: OnMedium::default(),
            waits: JobWaits::default(),
            cancelled: false,
            given_up: None,
            survives: false,
        }
    }

    /// Seat of the session that it works for, if it works for a task.
    pub fn seat(&self) -> Option<SeatIx> {
        self.task.map(|task| task.seat)
    }

    /// Whether it works for the task in this slot.
    pub fn is_for(&self, seat: SeatIx, slot: usize) -> bool {
        self.task.is_some_and(|task| (task.seat, task.slot) == (seat, slot))
    }

    /// Lets it run until it waits for something.
    pub fn poll(&mut self, now_ms: u64) -> Poll<JobEnd> {
        self.shared.now_ms.set(now_ms);
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }

    /// Drops the future and with it the job's buffers. Only with nothing in flight.
    pub fn stop(&mut self) {
        debug_assert_eq!(self.medium.in_flight, 0);
        self.future = None;
        self.shared.requests.borrow_mut().clear();
    }

    /// Takes the next thing that it asked for.
    pub fn next_request(&self) -> Option<Request> {
        self.shared.requests.borrow_mut().pop_front()
    }

    /// Puts a request back, to be taken first again.
    pub fn ask_again(&self, request: Request) {
        self.shared.requests.borrow_mut().push_front(request);
    }
}
