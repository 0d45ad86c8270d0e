//! Limits on commands and bytes a second: token buckets that all cores share, and the order in which those wait that
//! are over them. Knows neither sessions nor units; time is an argument.
//!
//! - [`Bucket`]: one limit, one for the process. It holds a point in time: up to there its tokens are given away. A
//!   core that needs some moves the point on, in grains, so the shared cache line is touched some thousand times a
//!   second at most, and may use what it got from the old point on. Each core has one such claim at a time: they take
//!   turns.
//! - [`Shaper`]: one core's side. What it has claimed ([`Account`]), and flows.
//! - A flow is what waits in order: the commands of one session at one logical unit. Its gate names up to four buckets,
//!   all of which it pays: operations and bytes of the unit, and of the initiator group. Among flows the one goes first
//!   that had least so far (start-time fair queueing, in time of its scarcest bucket), so big commands, paid a slice at
//!   a time, do not keep small ones of others waiting. Within a flow the same goes for what has begun and what has not.
//!
//! Invariants: in any stretch of time a bucket gives at most its rate, and a burst of [`BURST_NS`], and for each core
//! one claim ahead ([`CLAIM_NS`] or the dearest single item). What waits is never refused; it is forgotten only if its
//! owner says so. Limits change while there are flows: `change`, then `regate` or `close` of every flow, before
//! anything else.

pub(crate) mod flows;

use crate::model::SeatIx;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was not used may be used later, up to this much of a bucket's time, nanoseconds.
pub const BURST_NS: u64 = 100_000_000;
/// The least that a core claims at a time for each flow that waits, nanoseconds of a bucket's time.
const GRAIN_NS: u64 = 500_000;
/// The most that it claims at a time, unless one item is dearer.
const CLAIM_NS: u64 = 25_000_000;
/// So many entries of a heap that belong to no flow any more are left where they are.
const HEAP_SPARE: usize = 64;
/// The highest rate: one above it is cut to this. It keeps products within 64 bits.
const MAX_RATE: u64 = 1 << 43;
/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// One limit, shared by all cores.
pub struct Bucket {
    /// Commands or bytes a second.
    rate_per_s: u64,
    /// Tokens up to this time are given away.
    given_ns: AtomicU64,
    /// What the dear ones among the items cost lately: cores with cheap ones claim as much for each flow.
    item_ns: AtomicU64,
}

impl Bucket {
    /// A limit of `rate_per_s` commands or bytes a second.
    pub fn new(rate_per_s: u64) -> Bucket {
        Bucket { rate_per_s: rate_per_s.clamp(1, MAX_RATE), given_ns: AtomicU64::new(0), item_ns: AtomicU64::new(0) }
    }

    /// Whether it is a limit of `rate_per_s`.
    pub fn is_of(&self, rate_per_s: u64) -> bool {
        self.rate_per_s == rate_per_s.clamp(1, MAX_RATE)
    }

    /// How much of the bucket's time is to be claimed for a flow that lacks `need_ns`, nanoseconds.
    fn share_ns(&self, need_ns: u64) -> u64 {
        let lately = self.item_ns.load(Ordering::Relaxed);
        let share_ns = need_ns.max(lately - lately / 8);
        self.item_ns.store(share_ns, Ordering::Relaxed);
        share_ns.max(GRAIN_NS)
    }

    /// Claims the next `len_ns` of the bucket's time. When the tokens of that may be used, nanoseconds.
    fn claim(&self, now_ns: u64, len_ns: u64) -> u64 {
        let begin = |given: u64| given.max(now_ns.saturating_sub(BURST_NS));
        let moved =
            self.given_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |g| Some(begin(g).saturating_add(len_ns)));
        begin(moved.unwrap_or_else(|same| same))
    }
}

/// What something costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Commands.
    pub operations: u32,
    /// Bytes.
    pub bytes: u32,
}

/// A place in a gate where there is no limit.
pub const OPEN: u32 = u32::MAX;

/// All limits; gates hold places in it.
pub type Buckets = Arc<[Arc<Bucket>]>;

/// The buckets that a flow pays: operations and bytes of a unit, operations and bytes of a group.
pub type Gate = [u32; 4];

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    /// A command that has not begun: seat and slot.
    Command(SeatIx, usize),
    /// The next slice of one that has: seat and slot.
    Slice(SeatIx, usize),
    /// A job's operation on the medium: the job's number.
    Job(usize),
}

impl Waiter {
    /// Which of a flow's queues it waits in.
    fn side(self) -> usize {
        usize::from(!matches!(self, Waiter::Command(..)))
    }
}

/// A flow's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId(u32);

/// What a core has of one bucket.
#[derive(Clone, Copy, Default)]
struct Account {
    /// Tokens that are claimed and not used, times `SECOND_NS`.
    credit: u64,
    /// When they may be used, nanoseconds.
    from_ns: u64,
    /// The start time of the flow that it last served.
    served: u64,
    /// Flows that wait for it.
    waiting: u64,
}

impl Account {
    /// When `tokens` can be had, nanoseconds; claims them if need be.
    fn have(&mut self, bucket: &Bucket, tokens: u32, now_ns: u64) -> u64 {
        let price = u64::from(tokens) * SECOND_NS;
        if self.credit < price {
            let need_ns = (price - self.credit).div_ceil(bucket.rate_per_s);
            let shares_ns = bucket.share_ns(need_ns).saturating_mul(self.waiting.max(1));
            let len_ns = need_ns.max(shares_ns.min(CLAIM_NS));
            self.from_ns = bucket.claim(now_ns, len_ns);
            self.credit = self.credit.saturating_add(len_ns.saturating_mul(bucket.rate_per_s));
        }
        self.from_ns
    }
}

/// What waits in order.
struct Flow {
    /// The buckets that it pays.
    gate: Gate,
    /// Commands that have not begun, and what those ask for that have.
    queues: [VecDeque<(Waiter, Cost)>; 2],
    /// What each of both queues has had, in the same time as `start`.
    spent: [u64; 2],
    /// When its next item starts, in the time of its scarcest bucket, as if all flows had begun together.
    start: u64,
    /// Number of its entry in the heap while it waits; zero: it does not.
    entry: u64,
}

impl Flow {
    fn new(gate: Gate) -> Flow {
        Flow { gate, queues: Default::default(), spent: [0; 2], start: 0, entry: 0 }
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Its queues, the one first that had less.
    fn turn(&self) -> [usize; 2] {
        if self.spent[0] < self.spent[1] { [0, 1] } else { [1, 0] }
    }

    /// Has `who` wait. A queue gains nothing by having been empty.
    fn push(&mut self, who: Waiter, cost: Cost) {
        let side = who.side();
        if self.queues[side].is_empty() {
            self.spent[side] = self.spent[side].max(self.spent[1 - side]);
        }
        self.queues[side].push_back((who, cost));
    }
}

/// One core's side of the limits: what it has claimed, and its flows.
pub struct Shaper {
    /// All limits.
    buckets: Buckets,
    /// What this core has claimed of each.
    accounts: Vec<Account>,
    /// By number.
    flows: Vec<Flow>,
    /// Numbers of flows that are free.
    free: Vec<FlowId>,
    /// Flows that wait: start, entry, number. Entries whose flow has another one by now are passed over.
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Entries that this round has looked at, of flows that have to go on waiting.
    blocked: Vec<Reverse<(u64, u64, u32)>>,
    /// The last number that was given to an entry.
    last_entry: u64,
    /// Before this nobody's turn comes, nanoseconds.
    wake_ns: u64,
    /// The same, as far as the round that is under way has found out.
    next_wake_ns: u64,
    /// A round is under way: [`Shaper::next`] has not come to its end yet.
    in_round: bool,
}

impl Shaper {
    /// A core's side of these limits.
    pub fn new(buckets: Buckets) -> Shaper {
        Shaper {
            accounts: vec![Account::default(); buckets.len()],
            buckets,
            flows: Vec::new(),
            free: Vec::new(),
            heap: BinaryHeap::new(),
            blocked: Vec::new(),
            last_entry: 0,
            wake_ns: u64::MAX,
            next_wake_ns: u64::MAX,
            in_round: false,
        }
    }

    /// A new flow; `None`: its gate has no limit.
    pub fn open(&mut self, gate: Gate) -> Option<FlowId> {
        if gate == [OPEN; 4] {
            return None;
        }
        let flow = Flow::new(gate);
        Some(match self.free.pop() {
            Some(id) => {
                self.flows[id.0 as usize] = flow;
                id
            }
            None => {
                self.flows.push(flow);
                FlowId(self.flows.len() as u32 - 1)
            }
        })
    }

    /// Ends a flow. Those who still wait in it are returned.
    pub fn close(&mut self, id: FlowId) -> impl Iterator<Item = Waiter> + use<> {
        if self.flows[id.0 as usize].entry != 0 {
            self.leave(id);
        }
        self.free.push(id);
        let [fresh, begun] = std::mem::take(&mut self.flows[id.0 as usize].queues);
        begun.into_iter().chain(fresh).map(|(who, _)| who)
    }

    /// Whether `buckets` are its limits.
    pub fn has(&self, buckets: &Buckets) -> bool {
        Arc::ptr_eq(&self.buckets, buckets)
    }

    /// Takes over other limits. What was claimed of those that stay is kept. Gates are void until they are given anew.
    pub fn change(&mut self, buckets: Buckets) {
        let old: HashMap<_, _> = self.buckets.iter().map(Arc::as_ptr).zip(&self.accounts).collect();
        let kept = |bucket: &Arc<Bucket>| {
            old.get(&Arc::as_ptr(bucket)).map_or_else(Account::default, |account| Account { waiting: 0, ..**account })
        };
        self.accounts = buckets.iter().map(kept).collect();
        self.buckets = buckets;
        self.heap.clear();
        self.flows.iter_mut().for_each(|flow| flow.entry = 0);
        self.wake_ns = u64::MAX;
    }

    /// Gives a flow another gate, after [`Shaper::change`]. Who waits in the flow goes on waiting, for that gate.
    pub fn regate(&mut self, id: FlowId, gate: Gate) {
        let flow = &mut self.flows[id.0 as usize];
        flow.gate = gate;
        if !flow.is_empty() {
            limits(&flow.gate).for_each(|(b, _)| self.accounts[b].waiting += 1);
            self.list(id);
            self.wake_ns = 0;
        }
    }

    /// Whether the flow pays for bytes.
    pub fn counts_bytes(&self, id: FlowId) -> bool {
        let [_, unit, _, group] = self.flows[id.0 as usize].gate;
        (unit, group) != (OPEN, OPEN)
    }

    /// Pays for `who`. True: paid, go on. False: `who` waits, until [`Shaper::next`] returns it.
    pub fn enter(&mut self, id: FlowId, who: Waiter, cost: Cost, now_ns: u64) -> bool {
        let flow = &self.flows[id.0 as usize];
        // Nobody overtakes those who wait for the same bucket.
        let busy = flow.entry != 0 || limits(&flow.gate).any(|(b, _)| self.accounts[b].waiting > 0);
        let paid = if busy { Err(now_ns) } else { self.pay(id, cost, now_ns) };
        let Err(from_ns) = paid else {
            self.charge(id, cost);
            return true;
        };
        let flow = &mut self.flows[id.0 as usize];
        let head = flow.queues[who.side()].is_empty();
        flow.push(who, cost);
        if flow.entry == 0 {
            limits(&flow.gate).for_each(|(b, _)| self.accounts[b].waiting += 1);
            self.list(id);
        }
        if head {
            let wake_ns = if self.in_round { &mut self.next_wake_ns } else { &mut self.wake_ns };
            *wake_ns = from_ns.min(*wake_ns);
        }
        false
    }

    /// Forgets `who`, which does not want to wait any more.
    pub fn forget(&mut self, id: FlowId, who: Waiter) {
        let flow = &mut self.flows[id.0 as usize];
        flow.queues[who.side()].retain(|(waiter, _)| *waiter != who);
        if flow.is_empty() && flow.entry != 0 {
            self.leave(id);
        }
    }

    /// Takes out the next one that can go on; it is paid for. `None`: nobody, until [`Shaper::wake_ns`].
    pub fn next(&mut self, now_ns: u64) -> Option<Waiter> {
        if now_ns < self.wake_ns {
            return None;
        }
        self.in_round = true;
        while let Some(Reverse((start, entry, number))) = self.heap.pop() {
            let id = FlowId(number);
            let flow = &self.flows[number as usize];
            if flow.entry != entry {
                continue;
            }
            // A command that may not begin keeps nobody waiting that has begun, nor the other way round.
            let Some(who) = flow.turn().into_iter().find_map(|side| self.serve(id, side, now_ns)) else {
                self.blocked.push(Reverse((start, entry, number)));
                continue;
            };
            if self.flows[number as usize].is_empty() {
                self.leave(id);
            } else {
                self.list(id);
            }
            return Some(who);
        }
        self.heap.extend(self.blocked.drain(..));
        self.in_round = false;
        self.wake_ns = std::mem::replace(&mut self.next_wake_ns, u64::MAX);
        None
    }

    /// Takes the first one of one of a flow's two queues, if it can be paid for.
    fn serve(&mut self, id: FlowId, side: usize, now_ns: u64) -> Option<Waiter> {
        let &(who, cost) = self.flows[id.0 as usize].queues[side].front()?;
        if let Err(from_ns) = self.pay(id, cost, now_ns) {
            self.next_wake_ns = self.next_wake_ns.min(from_ns);
            return None;
        }
        let before = self.flows[id.0 as usize].start;
        self.charge(id, cost);
        let flow = &mut self.flows[id.0 as usize];
        flow.spent[side] = flow.spent[side].saturating_add(flow.start - before);
        flow.queues[side].pop_front();
        Some(who)
    }

    /// When [`Shaper::next`] is worth asking again, nanoseconds; `u64::MAX`: nobody waits.
    #[inline]
    pub fn wake_ns(&self) -> u64 {
        self.wake_ns
    }

    /// Whether all buckets of a flow have what `cost` takes now. The error: from when on they have, nanoseconds.
    fn pay(&mut self, id: FlowId, cost: Cost, now_ns: u64) -> Result<(), u64> {
        let mut from_ns = 0;
        for (bucket, bytes) in limits(&self.flows[id.0 as usize].gate) {
            let tokens = if bytes { cost.bytes } else { cost.operations };
            if tokens > 0 {
                from_ns = from_ns.max(self.accounts[bucket].have(&self.buckets[bucket], tokens, now_ns));
            }
        }
        if from_ns <= now_ns { Ok(()) } else { Err(from_ns) }
    }

    /// Takes from the accounts what `pay` has found there.
    fn charge(&mut self, id: FlowId, cost: Cost) {
        let flow = &mut self.flows[id.0 as usize];
        let mut weight_ns = 1;
        if flow.entry == 0 {
            let served = limits(&flow.gate).map(|(b, _)| self.accounts[b].served).max();
            flow.start = flow.start.max(served.unwrap_or(0));
        }
        for (bucket, bytes) in limits(&flow.gate) {
            let price = u64::from(if bytes { cost.bytes } else { cost.operations }) * SECOND_NS;
            self.accounts[bucket].credit = self.accounts[bucket].credit.saturating_sub(price);
            self.accounts[bucket].served = flow.start;
            weight_ns = weight_ns.max(price / self.buckets[bucket].rate_per_s);
        }
        flow.start = flow.start.saturating_add(weight_ns);
    }

    /// Puts a flow into the heap. A flow gains nothing by having had nothing to ask for.
    fn list(&mut self, id: FlowId) {
        let flow = &mut self.flows[id.0 as usize];
        if flow.entry == 0 {
            let served = limits(&flow.gate).map(|(b, _)| self.accounts[b].served).max();
            flow.start = flow.start.max(served.unwrap_or(0));
        }
        self.last_entry += 1;
        flow.entry = self.last_entry;
        self.heap.push(Reverse((flow.start, flow.entry, id.0)));
        // Who begins to wait and goes, again and again, leaves an entry each time.
        if self.heap.len() > 2 * self.flows.len() + HEAP_SPARE {
            self.heap.retain(|Reverse((_, entry, number))| self.flows[*number as usize].entry == *entry);
        }
    }

    /// Notes that nobody waits in a flow any more.
    fn leave(&mut self, id: FlowId) {
        let flow = &mut self.flows[id.0 as usize];
        flow.entry = 0;
        limits(&flow.gate).for_each(|(b, _)| self.accounts[b].waiting -= 1);
    }
}

/// The buckets of a gate, and whether they count bytes.
fn limits(gate: &Gate) -> impl Iterator<Item = (usize, bool)> + use<> {
    let [a, b, c, d] = *gate;
    [(a, false), (b, true), (c, false), (d, true)].into_iter().filter(|l| l.0 != OPEN).map(|(b, k)| (b as usize, k))
}

#[cfg(test)]
mod tests;
