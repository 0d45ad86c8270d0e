//! What peers do, against the program as it runs: scripts of initiators (`full_feature`, `recovery`), and the bytes that the fuzzer has found
//! (`corpora`). One program, for each that is linked takes its second of every build.

mod corpora;
mod full_feature;
mod recovery;
mod server;
