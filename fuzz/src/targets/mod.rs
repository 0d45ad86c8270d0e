//! A target takes any bytes, and panics when what it looks at breaks a promise. What it does with them is decided by them
//! alone, but for `cores`, which speaks to threads.

pub mod commands;
pub mod configuration;
pub mod cores;
pub mod framer;
mod input;
pub mod login;
pub mod saved;
pub mod session;

/// A target by its name, which is also that of its folder of `corpus`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("framer", framer::run),
    ("login", login::run),
    ("session", session::run),
    ("commands", commands::run),
    ("cores", cores::run),
    ("configuration", configuration::run),
    ("saved", saved::run),
];
