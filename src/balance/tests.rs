use super::*;
use proptest::prelude::*;

fn uses(works: &[u64]) -> Vec<Use> {
    works.iter().enumerate().map(|(seat, &work)| Use { seat, work, settled: false }).collect()
}

#[test]
fn the_session_goes_that_evens_the_load_best() {
    let busy = [Some(1000), Some(0)];
    assert_eq!(choose(0, &busy, &uses(&[50, 50])), Some(Choice { seat: 1, to: 1, share: 500 }));
    assert_eq!(choose(0, &busy, &uses(&[20, 45, 35])).map(|choice| choice.seat), Some(1));
    assert_eq!(choose(0, &[Some(1000), Some(500)], &uses(&[20, 45, 35])).map(|choice| choice.seat), Some(0));
    let least = [Some(900), Some(600), Some(200), None, Some(300)];
    assert_eq!(choose(0, &least, &uses(&[1, 1])).map(|choice| choice.to), Some(2));
}

#[test]
fn nobody_goes_for_nothing() {
    let even = uses(&[50, 50]);
    assert_eq!(choose(0, &[Some(799), Some(0)], &even), None, "not saturated");
    assert_eq!(choose(0, &[Some(1000), Some(950)], &even), None, "no difference");
    assert_eq!(choose(0, &[Some(1000), Some(550)], &even), None, "larger than the difference");
    assert_eq!(choose(0, &[Some(1000), None], &even), None, "nobody knows");
    assert_eq!(choose(0, &[Some(1000)], &even), None, "no other core");
    assert_eq!(choose(0, &[Some(1000), Some(0)], &uses(&[100])), None, "alone");
    assert_eq!(choose(0, &[Some(1000), Some(0)], &uses(&[990, 10, 0])), None, "as good as alone");
    assert_eq!(choose(0, &[Some(1000), Some(0)], &uses(&[975, 25])), None, "too little");
    assert_eq!(choose(0, &[Some(1000), Some(0)], &uses(&[0, 0])), None, "idle");
    assert_eq!(choose(0, &[Some(1000), Some(0)], &[]), None);
}

#[test]
fn who_is_settled_stays() {
    let mut some = uses(&[45, 30, 25]);
    some[0].settled = true;
    assert_eq!(choose(0, &[Some(1000), Some(0)], &some).map(|choice| choice.seat), Some(1));
    some.iter_mut().for_each(|one| one.settled = true);
    assert_eq!(choose(0, &[Some(1000), Some(0)], &some), None);
}

/// Sessions that each want so much of a core, and where they are.
struct Cluster {
    cores: usize,
    wants: Vec<u32>,
    places: Vec<usize>,
}

impl Cluster {
    fn wanted(&self, core: usize) -> u32 {
        self.wants.iter().zip(&self.places).filter(|(_, place)| **place == core).map(|(want, _)| want).sum()
    }

    fn busy(&self) -> Vec<Option<u32>> {
        (0..self.cores).map(|core| Some(self.wanted(core).min(1000))).collect()
    }

    fn uses(&self, core: usize) -> Vec<Use> {
        let here = (0..self.wants.len()).filter(|&session| self.places[session] == core);
        here.map(|seat| Use { seat, work: u64::from(self.wants[seat]), settled: false }).collect()
    }

    /// Moves, until nobody wants to.
    fn settle(&mut self) -> Result<usize, TestCaseError> {
        let mut moves = 0;
        loop {
            let mut still = true;
            for core in 0..self.cores {
                let before = self.busy();
                let Some(choice) = choose(core, &before, &self.uses(core)) else { continue };
                prop_assert_eq!(self.places[choice.seat], core);
                self.places[choice.seat] = choice.to;
                moves += 1;
                still = false;
            }
            if still {
                return Ok(moves);
            }
            prop_assert!(moves <= 4 * self.wants.len(), "they wander: {:?}", self.places);
        }
    }
}

proptest! {
    #[test]
    fn a_move_lowers_the_maximum(
        own in 0..4usize,
        busy in prop::collection::vec(prop::option::of(0..=1000u32), 1..5),
        works in prop::collection::vec(0..u64::MAX / 8, 0..8),
        settled in any::<u8>(),
    ) {
        let mut some = uses(&works);
        some.iter_mut().for_each(|one| one.settled = settled >> one.seat & 1 == 1);
        if let Some(Choice { seat, to, share }) = choose(own, &busy, &some) {
            let (from, other) = (busy[own].unwrap(), busy[to].unwrap());
            prop_assert!(to != own && from >= SATURATED && !some[seat].settled);
            prop_assert!((from - share).max(other + share) + LEAST_GAIN <= from);
            prop_assert!(busy.iter().enumerate().all(|(core, busy)| core == own || busy.is_none_or(|busy| busy >= other)));
        }
    }

    #[test]
    fn sessions_do_not_wander(
        cores in 2..5usize,
        sessions in prop::collection::vec((1..2000u32, any::<usize>()), 0..12),
    ) {
        let (wants, places): (Vec<u32>, Vec<usize>) = sessions.iter().map(|(want, place)| (*want, place % cores)).unzip();
        let mut cluster = Cluster { cores, wants, places };
        let most = cluster.busy().iter().flatten().copied().max();
        cluster.settle()?;
        prop_assert!(cluster.busy().iter().flatten().copied().max() <= most);
        prop_assert_eq!(cluster.settle()?, 0, "what is settled stays so");
    }

    #[test]
    fn equals_spread(cores in 2..5usize, each in 1..6usize) {
        let sessions = cores * each;
        let mut cluster = Cluster { cores, wants: vec![1000 / each as u32; sessions], places: vec![0; sessions] };
        cluster.settle()?;
        let idle = (0..cores).filter(|&core| cluster.wanted(core) == 0).count();
        prop_assert_eq!(idle, 0, "{:?}", cluster.places);
    }
}
