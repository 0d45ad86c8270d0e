//! A configuration file of any bytes: it is read or refused, each fault in one line, and what is read can be described.

use ringsan::config;
use std::path::Path;

/// See the module.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Beside a file that is not there: what it names is looked for in a folder that does not exist.
    match config::from_text(text, Path::new("/nonexistent/ringsan.toml")) {
        Ok(read) => drop(config::describe::serves(&read.snapshot)),
        Err(error) => {
            assert!(!error.faults().is_empty(), "refused for nothing");
            for fault in error.faults() {
                assert!(!fault.to_string().contains('\n'), "a fault of several lines: {fault}");
            }
        }
    }
}
