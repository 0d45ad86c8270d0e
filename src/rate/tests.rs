//! Whole cores against a clock of our own.

use super::*;
use crate::model::SeatIx;

const MS: u64 = 1_000_000;
const READ_4K: Cost = Cost { operations: 1, bytes: 4096 };
const SLICE: Cost = Cost { operations: 0, bytes: 256 << 10 };

fn buckets(rates: &[u64]) -> Buckets {
    rates.iter().map(|&rate| Arc::new(Bucket::new(rate))).collect()
}

/// A core whose flows always have `depth` commands to run.
struct Core {
    shaper: Shaper,
    /// Number, cost of a command, how many have run.
    flows: Vec<(FlowId, Cost, u64)>,
    /// How often it looks, and when next.
    every_ns: u64,
    due_ns: u64,
}

impl Core {
    fn new(buckets: &Buckets, every_ns: u64, gates: &[(Gate, Cost)]) -> Core {
        let mut shaper = Shaper::new(Arc::clone(buckets));
        let flows = gates.iter().map(|&(gate, cost)| (shaper.open(gate).unwrap(), cost, 0)).collect();
        Core { shaper, flows, every_ns, due_ns: 0 }
    }

    fn start(&mut self, depth: usize, now_ns: u64) {
        for i in 0..self.flows.len() {
            for _ in 0..depth {
                self.again(i, now_ns);
            }
        }
    }

    /// Runs commands of a flow until one has to wait.
    fn again(&mut self, i: usize, now_ns: u64) {
        let (id, cost, _) = self.flows[i];
        while self.shaper.enter(id, Waiter::Command(SeatIx::new(i), 0), cost, now_ns) {
            self.flows[i].2 += 1;
        }
    }

    fn look(&mut self, now_ns: u64) {
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = now_ns + self.every_ns;
        while let Some(Waiter::Command(seat, _)) = self.shaper.next(now_ns) {
            let i = seat.at();
            self.flows[i].2 += 1;
            self.again(i, now_ns);
        }
    }

    fn done(&self) -> u64 {
        self.flows.iter().map(|f| f.2).sum()
    }
}

/// Lets cores run for a time.
fn run(cores: &mut [Core], from_ns: u64, for_ns: u64) {
    for now_ns in (from_ns..from_ns + for_ns).step_by(20_000) {
        cores.iter_mut().for_each(|core| core.look(now_ns));
    }
}

/// Starts at second 100, long after the buckets have filled; what runs at once, and in the five seconds after.
fn five_seconds(cores: &mut [Core], depth: usize) -> (u64, u64) {
    let begin = 100 * SECOND_NS;
    cores.iter_mut().for_each(|core| core.start(depth, begin));
    run(cores, begin, MS);
    let burst = cores.iter().map(Core::done).sum();
    run(cores, begin + MS, 5 * SECOND_NS - MS);
    (burst, cores.iter().map(Core::done).sum())
}

fn within(found: u64, wanted: u64, percent: u64) -> bool {
    found.abs_diff(wanted) * 100 <= wanted * percent
}

#[test]
fn limits_hold_within_five_percent_on_one_and_two_cores() {
    for rate in [100, 5_000, 200_000] {
        for cores in 1..=2 {
            for sessions in [1, 3] {
                let buckets = buckets(&[rate]);
                let gates = vec![([0, OPEN, OPEN, OPEN], READ_4K); sessions];
                // One looks often, the other late.
                let mut cores: Vec<_> = (0..cores).map(|c| Core::new(&buckets, 50_000 + c * 2 * MS, &gates)).collect();
                let (burst, done) = five_seconds(&mut cores, 32);
                let case = (rate, cores.len(), sessions);
                assert!(within(done, 5 * rate, 5), "{case:?}: {done}");
                // A tenth of a second, and what the cores have claimed ahead.
                assert!(burst <= rate / 10 + rate * CLAIM_NS / SECOND_NS * 2 + 8, "{case:?}: {burst} at once");
                assert!(burst >= rate / 10, "{case:?}: {burst} at once");
            }
        }
    }
}

#[test]
fn bandwidth_holds_for_small_and_big_commands() {
    let rate = 50 << 20;
    for cost in [READ_4K, SLICE] {
        let buckets = buckets(&[rate]);
        let gates = [([OPEN, 0, OPEN, OPEN], cost); 2];
        let mut cores = [Core::new(&buckets, 100_000, &gates), Core::new(&buckets, 300_000, &gates)];
        let (burst, done) = five_seconds(&mut cores, 4);
        assert!(within(done * u64::from(cost.bytes), 5 * rate, 5), "{cost:?}: {done}");
        assert!(burst * u64::from(cost.bytes) <= rate / 10 + (2 << 20), "{burst}");
    }
}

#[test]
fn flows_get_equal_shares_whatever_their_size_and_core() {
    let rate = 100 << 20;
    let buckets = buckets(&[rate]);
    let gate = [OPEN, 0, OPEN, OPEN];
    let mut cores = [
        Core::new(&buckets, 50_000, &[(gate, SLICE), (gate, READ_4K), (gate, SLICE)]),
        Core::new(&buckets, MS, &[(gate, READ_4K)]),
    ];
    five_seconds(&mut cores, 8);
    let bytes: Vec<_> =
        cores.iter().flat_map(|c| &c.flows).map(|(_, cost, done)| done * u64::from(cost.bytes)).collect();
    assert!(bytes.iter().all(|&bytes| within(bytes, 5 * rate / 4, 20)), "{bytes:?} of {}", 5 * rate);
}

#[test]
fn a_small_command_waits_for_a_few_slices_and_not_for_big_commands() {
    let buckets = buckets(&[10 << 20]);
    let gate = [OPEN, 0, OPEN, OPEN];
    let mut core = Core::new(&buckets, 100_000, &[(gate, SLICE); 4]);
    let begin = 10 * SECOND_NS;
    core.start(64, begin);
    run(std::slice::from_mut(&mut core), begin, SECOND_NS);
    let small = core.shaper.open(gate).unwrap();
    let mut now_ns = begin + SECOND_NS;
    let mut worst_ns = 0;
    for _ in 0..10 {
        let asked = now_ns;
        assert!(!core.shaper.enter(small, Waiter::Job(7), READ_4K, now_ns), "others wait");
        'waiting: loop {
            now_ns += 100_000;
            while let Some(who) = core.shaper.next(now_ns) {
                match who {
                    Waiter::Command(seat, _) => core.again(seat.at(), now_ns),
                    _ => break 'waiting,
                }
            }
        }
        worst_ns = worst_ns.max(now_ns - asked);
    }
    // A slice takes 25 ms of the bucket.
    assert!(worst_ns < 60 * MS, "{worst_ns} ns");
}

#[test]
fn one_a_second() {
    let buckets = buckets(&[1]);
    let mut core = [Core::new(&buckets, 100_000, &[([0, OPEN, OPEN, OPEN], READ_4K)])];
    let (burst, done) = five_seconds(&mut core, 1);
    assert_eq!(burst, 1);
    assert!((5..=6).contains(&done), "{done}");
}

#[test]
fn what_waits_keeps_its_order_and_goes_when_it_is_forgotten() {
    let mut shaper = Shaper::new(buckets(&[10]));
    let flow = shaper.open([0, OPEN, OPEN, OPEN]).unwrap();
    let mut now_ns = 10 * SECOND_NS;
    assert!(shaper.enter(flow, Waiter::Command(SeatIx::new(0), 0), READ_4K, now_ns));
    assert!(shaper.enter(flow, Waiter::Command(SeatIx::new(0), 0), READ_4K, now_ns), "a tenth of a second is there");
    for slot in 1..=4 {
        assert!(!shaper.enter(flow, Waiter::Command(SeatIx::new(0), slot), READ_4K, now_ns));
    }
    assert!(!shaper.enter(flow, Waiter::Slice(SeatIx::new(0), 9), READ_4K, now_ns));
    shaper.forget(flow, Waiter::Command(SeatIx::new(0), 2));
    let mut order = Vec::new();
    while shaper.wake_ns() != u64::MAX {
        now_ns = now_ns.max(shaper.wake_ns());
        order.extend(std::iter::from_fn(|| shaper.next(now_ns)));
    }
    let command = |slot| Waiter::Command(SeatIx::new(0), slot);
    assert_eq!(
        order,
        [Waiter::Slice(SeatIx::new(0), 9), command(1), command(3), command(4)],
        "what has begun comes first"
    );
    assert!(now_ns <= 11 * SECOND_NS, "one each tenth of a second: {now_ns}");
    assert!(!shaper.enter(flow, command(5), READ_4K, now_ns));
    assert_eq!(shaper.close(flow).collect::<Vec<_>>(), [command(5)]);
    assert_eq!(shaper.next(now_ns + SECOND_NS), None);
    assert_eq!(shaper.wake_ns(), u64::MAX, "nobody is left");
}

#[test]
fn who_waits_and_goes_again_and_again_leaves_nothing_behind() {
    let mut shaper = Shaper::new(buckets(&[1]));
    let [flow, other] = [(); 2].map(|()| shaper.open([0, OPEN, OPEN, OPEN]).unwrap());
    let now_ns = 10 * SECOND_NS;
    while shaper.enter(other, Waiter::Job(1), READ_4K, now_ns) {}
    for _ in 0..1_000 {
        assert!(!shaper.enter(flow, Waiter::Command(SeatIx::new(0), 0), READ_4K, now_ns));
        shaper.forget(flow, Waiter::Command(SeatIx::new(0), 0));
    }
    assert!(shaper.heap.len() <= 5 + HEAP_SPARE, "{}", shaper.heap.len());
    assert_eq!(shaper.next(now_ns + 2 * SECOND_NS), Some(Waiter::Job(1)), "who waits has its turn");
}

#[test]
fn a_unit_at_its_limit_does_not_hold_up_another_of_the_same_group() {
    // Unit 0: bucket 0. The group: bucket 1. Unit 1 has none.
    let buckets = buckets(&[10, 10_000]);
    let gates = [([0, OPEN, 1, OPEN], READ_4K), ([OPEN, OPEN, 1, OPEN], READ_4K)];
    let mut core = [Core::new(&buckets, 50_000, &gates)];
    five_seconds(&mut core, 8);
    let [(.., slow), (.., fast)] = core[0].flows[..] else { panic!() };
    assert!((50..=53).contains(&slow), "{slow}");
    assert!(within(slow + fast, 50_000, 5), "{slow} {fast}");
    assert!(Shaper::new(buckets).open([OPEN; 4]).is_none());
}

#[test]
fn commands_take_turns_with_what_has_begun_in_their_own_flow() {
    let mut shaper = Shaper::new(buckets(&[10 << 20]));
    let flow = shaper.open([OPEN, 0, OPEN, OPEN]).unwrap();
    let (begin, mut now_ns, mut slices, mut worst_ns) = (10 * SECOND_NS, 10 * SECOND_NS, 0, 0);
    // Jobs that go on and on, more of them than a second has room for.
    for job in 0..64 {
        shaper.enter(flow, Waiter::Job(job), SLICE, now_ns);
    }
    let mut asked_ns = None;
    while now_ns < begin + 2 * SECOND_NS {
        if asked_ns.is_none() && !shaper.enter(flow, Waiter::Command(SeatIx::new(0), 0), READ_4K, now_ns) {
            asked_ns = Some(now_ns);
        }
        now_ns += 100_000;
        while let Some(who) = shaper.next(now_ns) {
            match who {
                Waiter::Job(_) => {
                    slices += 1;
                    shaper.enter(flow, who, SLICE, now_ns);
                }
                _ => worst_ns = worst_ns.max(now_ns - asked_ns.take().unwrap()),
            }
        }
    }
    // A slice takes 25 ms of the bucket: one is on its way, one has its turn, one is claimed for.
    assert!(worst_ns < 80 * MS, "{worst_ns} ns");
    assert!((70..=90).contains(&slices), "{slices} of 80");
}

#[test]
fn what_has_begun_does_not_wait_for_commands_that_may_not() {
    // One command a second, and ten MiB.
    let mut shaper = Shaper::new(buckets(&[1, 10 << 20]));
    let flow = shaper.open([0, 1, OPEN, OPEN]).unwrap();
    let mut now_ns = 10 * SECOND_NS;
    for slot in 0..4 {
        shaper.enter(flow, Waiter::Command(SeatIx::new(0), slot), READ_4K, now_ns);
    }
    for _ in 0..20 {
        shaper.enter(flow, Waiter::Slice(SeatIx::new(0), 9), SLICE, now_ns);
    }
    let until = now_ns + 900 * MS;
    let mut slices = 0;
    while now_ns < until {
        now_ns += MS;
        slices +=
            std::iter::from_fn(|| shaper.next(now_ns)).filter(|who| *who == Waiter::Slice(SeatIx::new(0), 9)).count();
    }
    assert!(slices >= 16, "{slices}");
}

/// What goes on within so much time.
fn until(shaper: &mut Shaper, from_ns: u64, for_ns: u64) -> usize {
    (from_ns..from_ns + for_ns).step_by(MS as usize).map(|now| std::iter::from_fn(|| shaper.next(now)).count()).sum()
}

#[test]
fn other_limits_hold_from_the_change_on() {
    let (old, new) = (buckets(&[10, 1]), buckets(&[1_000]));
    let mut shaper = Shaper::new(Arc::clone(&old));
    let flows = [0, 0, 1].map(|bucket| shaper.open([bucket, OPEN, OPEN, OPEN]).unwrap());
    let begin = 10 * SECOND_NS;
    for (seat, flow) in flows.into_iter().enumerate() {
        for slot in 0..500 {
            shaper.enter(flow, Waiter::Command(SeatIx::new(seat), slot), READ_4K, begin);
        }
    }
    assert!((9..=13).contains(&until(&mut shaper, begin, SECOND_NS)));
    // The one of ten is there no more, the one of one has another place, and one of a thousand is new.
    let changed: Buckets = [Arc::clone(&new[0]), Arc::clone(&old[1])].into();
    assert!(shaper.has(&old) && !shaper.has(&changed));
    shaper.change(Arc::clone(&changed));
    shaper.regate(flows[0], [0, OPEN, OPEN, OPEN]);
    let let_go: Vec<_> = shaper.close(flows[1]).collect();
    shaper.regate(flows[2], [1, OPEN, OPEN, OPEN]);
    assert!(
        let_go.len() > 480
            && let_go
                .is_sorted_by_key(|who| matches!(who, Waiter::Command(seat, slot) if seat.at() == 1 && *slot < 500))
    );
    let done = until(&mut shaper, begin + SECOND_NS, 300 * MS);
    assert!((300..=430).contains(&done), "{done}");
    // All limits gone, and back.
    shaper.change(Arc::default());
    assert!(!flows.map(|flow| flow == flows[1] || shaper.close(flow).next().is_some()).contains(&false));
    assert_eq!((shaper.next(begin + 2 * SECOND_NS), shaper.wake_ns()), (None, u64::MAX));
    shaper.change(old);
    let flow = shaper.open([0, OPEN, OPEN, OPEN]).unwrap();
    assert!(shaper.enter(flow, Waiter::Job(1), READ_4K, begin + 3 * SECOND_NS), "nobody is before it");
}
