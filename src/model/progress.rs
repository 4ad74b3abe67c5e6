//! How a pull tells what it does: a bar on a terminal, plain lines elsewhere, always on stderr, or nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Where progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A bar that moves, on stderr.
    Bar,
    /// A line when something begins and one when it ends, on stderr.
    Lines,
    Silent,
}

/// One thing that is being fetched.
pub struct Stage {
    what: String,
    bytes: u64,
    mode: Progress,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar where stderr is a terminal, else lines.
    pub fn stderr() -> Progress {
        if std::io::stderr().is_terminal() { Progress::Bar } else { Progress::Lines }
    }

    /// Says something once.
    pub fn say(self, line: &str) {
        if self != Progress::Silent {
            // A closed stderr is no reason to stop fetching.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Begins to fetch `what` of `total` bytes, where known.
    pub fn begin(self, what: impl Into<String>, total: Option<u64>) -> Stage {
        let what = what.into();
        if self == Progress::Lines {
            self.say(&match total {
                Some(total) => format!("fetching {what} ({})", mebibytes(total)),
                None => format!("fetching {what}"),
            });
        }
        let bar = (self == Progress::Bar).then(|| bar(&what, total));
        Stage { what, bytes: 0, mode: self, bar }
    }
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}"),
        None => (ProgressBar::no_length(), "{msg} {spinner} {bytes}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(format!("fetching {what}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl Stage {
    /// So many bytes are here by now.
    pub fn reached(&mut self, bytes: u64) {
        self.bytes = self.bytes.max(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes.min(bar.length().unwrap_or(u64::MAX)));
        }
    }

    /// It is there, `bytes` long.
    pub fn done(self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.mode.say(&format!("fetched {} ({})", self.what, mebibytes(bytes)));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// "33.2 MiB"; small files in KiB.
pub fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{:.0} KiB", bytes as f64 / 1024.0)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}
