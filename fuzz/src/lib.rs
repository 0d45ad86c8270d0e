//! What is fuzzed: one function for each target, from any bytes. `tests/peers/corpora.rs` of ringsan replays `corpus/` through the
//! same functions, so that what was found once is tested for ever; `fuzz/run` has libFuzzer look for more.

pub mod targets;
