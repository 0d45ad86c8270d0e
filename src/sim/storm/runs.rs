//! Runs of seeds.

use super::{Force, Storm};

/// A run of this seed.
fn run(seed: u64, force: Force) {
    let mut storm = Storm::new(seed, force);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..force.steps).for_each(|_| storm.step());
        storm.finish();
    }));
    if let Err(why) = ran {
        let lines = told("RINGSAN_LINES").unwrap_or(60);
        storm.judge.log.iter().rev().take(lines).rev().for_each(|line| eprintln!("{line}"));
        eprintln!("RINGSAN_SEED={seed}");
        std::panic::resume_unwind(why);
    }
}

/// What a variable of the environment says.
fn told<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// The force of a seed: most have two cores, some more.
fn force_of(seed: u64) -> Force {
    let cores = told("RINGSAN_CORES").unwrap_or([2, 1, 3, 2][seed as usize % 4]);
    Force { cores, hosts: 3, steps: told("RINGSAN_STEPS").unwrap_or(3000) }
}

/// `RINGSAN_SEED` runs one of them, `RINGSAN_SEEDS` so many, of `RINGSAN_CORES` cores.
#[test]
fn hosts_see_what_they_may_see_in_every_storm() {
    if let Some(seed) = told("RINGSAN_SEED") {
        return run(seed, force_of(seed));
    }
    let seeds = told("RINGSAN_SEEDS").unwrap_or(300);
    let next = std::sync::atomic::AtomicU64::new(told("RINGSAN_FIRST").unwrap_or(0));
    let end = next.load(std::sync::atomic::Ordering::Relaxed) + seeds;
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if std::panic::catch_unwind(|| run(seed, force_of(seed))).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "RINGSAN_SEED= one of {failed:?}");
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
