//! One core, driven by hand.

mod entry;
mod turns;
