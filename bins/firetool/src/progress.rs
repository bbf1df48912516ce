//! A line on the terminal that says how far something is.

use std::io::{IsTerminal, Write};

/// Shows progress on standard error, if that is a terminal.
pub(crate) struct Progress {
    shown: bool,
    last: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), last: String::new() }
    }

    /// Shows that `done` of `total` are done of `what`.
    pub(crate) fn at(&mut self, what: &str, done: u64, total: u64) {
        const WIDTH: u64 = 30;
        if !self.shown {
            return;
        }
        let share =
            |of: u64| (u128::from(done) * u128::from(of) / u128::from(total.max(1))) as usize;
        let bar = "#".repeat(share(WIDTH).min(WIDTH as usize));
        let line = format!("{what} [{bar:<30}] {:3} %", share(100));
        if line != self.last {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
            self.last = line;
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if !self.last.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.last.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
