//! Runs of seeds.

use super::{Force, Storm};
use crate::sim::Rng;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

/// All of a run.
fn go(storm: &mut Storm) {
    (0..storm.force.steps).for_each(|_| storm.step());
    storm.finish();
}

/// Whether a run of this seed fails.
pub(super) fn fails(seed: u64, force: Force) -> bool {
    std::panic::catch_unwind(|| go(&mut Storm::new(seed, force))).is_err()
}

/// Steps of a run that fails, as few as are found by halving: one with fewer steps says more.
fn shortest(seed: u64, force: Force) -> usize {
    let (mut passes, mut fails_at) = (0, force.steps);
    while fails_at - passes > 1 {
        let steps = passes.midpoint(fails_at);
        if fails(seed, Force { steps, ..force }) {
            fails_at = steps;
        } else {
            passes = steps;
        }
    }
    fails_at
}

/// A run of this seed.
fn run(seed: u64, force: Force) {
    let mut storm = Storm::new(seed, force);
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| go(&mut storm)));
    if let Err(why) = ran {
        let lines = told("RINGSAN_LINES").unwrap_or(60);
        let steps = if told::<usize>("RINGSAN_STEPS").is_some() { force.steps } else { shortest(seed, force) };
        storm.judge.log.iter().rev().take(lines).rev().for_each(|line| eprintln!("{line}"));
        eprintln!("RINGSAN_SEED={seed} RINGSAN_STEPS={steps} fails: {force:?}");
        std::panic::resume_unwind(why);
    }
}

/// What a variable of the environment says.
pub(super) fn told<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// The force of a seed: most have two cores, some more, and in most all that fails are lines and patience.
pub(super) fn force_of(seed: u64) -> Force {
    let cores = told("RINGSAN_CORES").unwrap_or([2, 1, 3, 2][seed as usize % 4]);
    let steps = told("RINGSAN_STEPS").unwrap_or(3000);
    let kind = told("RINGSAN_KIND").unwrap_or_else(|| Rng(seed ^ 0xf0).below(10));
    Force {
        cores,
        hosts: 3,
        steps,
        fails: matches!(kind, 0 | 4),
        loses: matches!(kind, 1 | 4),
        damages: kind == 2,
        outages: matches!(kind, 3 | 4),
        changes: told("RINGSAN_CHANGES").unwrap_or_else(|| [0, 0, 0, 300, 300, 60][Rng(seed ^ 0xc4).below(6) as usize]),
        moves: told("RINGSAN_MOVES").unwrap_or_else(|| [150, 150, 20][Rng(seed ^ 0x3a).below(3) as usize]),
    }
}

/// Runs of these seeds, on two threads.
fn run_all(seeds: impl Iterator<Item = u64> + Send, force: impl Fn(u64) -> Force + Sync) {
    let (seeds, failed) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let next = || seeds.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    if std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, force(seed)))).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "RINGSAN_SEED= one of {failed:?}");
}

/// `RINGSAN_SEED` runs one of them, `RINGSAN_SEEDS` so many from `RINGSAN_FIRST` on, of `RINGSAN_CORES` cores, of the kind
/// `RINGSAN_KIND`, with a change in one of `RINGSAN_CHANGES` steps, and a move in one of `RINGSAN_MOVES` ([`force_of`]).
#[test]
fn hosts_see_what_they_may_see_in_every_storm() {
    if let Some(seed) = told("RINGSAN_SEED") {
        return run(seed, force_of(seed));
    }
    let (first, seeds): (u64, u64) = (told("RINGSAN_FIRST").unwrap_or(0), told("RINGSAN_SEEDS").unwrap_or(300));
    run_all(first..first + seeds, force_of);
}

/// The same with many cores: most moves, resets and logins are a matter of several then.
#[test]
fn hosts_see_it_of_many_cores_too() {
    run_all(0..100, |seed| Force { cores: 4, steps: 2000, ..force_of(seed) });
    run_all(100..200, |seed| Force { cores: 16, steps: 2000, ..force_of(seed) });
}

/// What a run comes to depends on nothing but its seed.
#[test]
fn a_seed_says_it_all() {
    for seed in 0..4 {
        let [one, other] = [(); 2].map(|()| {
            let mut storm = Storm::new(seed, force_of(seed));
            (0..2000).for_each(|_| storm.step());
            (storm.judge.log, storm.sea.cores.now_us(), storm.dice.bits())
        });
        assert_eq!(one, other, "seed {seed}");
    }
}
