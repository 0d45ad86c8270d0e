//! The inputs of `fuzz/corpus`, through the targets that the fuzzer drives: what was found once is tested for ever.

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest that one input may take: none makes the server wait.
const LONGEST: Duration = Duration::from_secs(15);

#[test]
fn every_input_of_every_target_runs() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, run) in targets::TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("no corpus of {name}: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(inputs.len() >= 8, "{name}: {} inputs only", inputs.len());
        for input in inputs {
            // Named before it runs: a thread of the server may end the process.
            println!("{name}: {}", input.display());
            let begun = Instant::now();
            run(&fs::read(&input).unwrap());
            assert!(begun.elapsed() < LONGEST, "{}: {:?}", input.display(), begun.elapsed());
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in fs::read_dir(corpus).unwrap() {
        let name = folder.unwrap().file_name();
        assert!(targets::TARGETS.iter().any(|(target, _)| name == *target), "{name:?}");
    }
}
