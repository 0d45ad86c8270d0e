//! What one command costs in the synchronous layers: framing, parsing and emitting PDUs, digests, a turn of a session,
//! planning a CDB. No sockets, no ring, no threads: those are measured by `perf/`.
//!
//! `cargo bench` measures times (crate divan). `benches/instructions` counts instructions of the same operations, which
//! are the same from run to run; it calls this program as `hot_path count NAME CALLS`, and `hot_path list`.

#![allow(missing_docs, reason = "a program, not a library")]

mod operations;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use operations::Operation;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => operations::all().for_each(|o| println!("{}\t{}", o.name, o.items)),
        ["count", name, calls] => {
            let operation = operations::all().find(|o| o.name == name).expect("a name that `list` tells");
            let mut run = (operation.make)();
            (0..calls.parse::<u64>().expect("a number of calls")).for_each(|_| run());
        }
        _ => divan::main(),
    }
}

fn measure(bencher: Bencher, operation: &Operation) {
    let mut run = (operation.make)();
    let bencher = bencher.counter(ItemsCount::new(operation.items));
    if operation.bytes > 0 {
        bencher.counter(BytesCount::new(operation.bytes)).bench_local(&mut run);
    } else {
        bencher.bench_local(&mut run);
    }
}

#[divan::bench(args = operations::wire::FRAMING)]
fn framing(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}

#[divan::bench(args = operations::wire::PARSING)]
fn parsing(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}

#[divan::bench(args = operations::wire::EMITTING)]
fn emitting(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}

#[divan::bench(args = operations::wire::DIGEST)]
fn digest(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}

#[divan::bench(args = operations::session::TURNS)]
fn session(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}

#[divan::bench(args = operations::scsi::PLANNING)]
fn planning(bencher: Bencher, operation: &Operation) {
    measure(bencher, operation);
}
