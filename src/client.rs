//! How somebody else speaks to a bellows: pictures on the disk or in a bucket, uploads over kept-alive connections, answers read.
//! What `load` and `batch` share.

mod answer;
mod connection;
mod pictures;
mod target;
mod upload;

pub use answer::{Outcome, Reply};
pub use connection::{Asked, Client, Connection, Lost};
pub use pictures::{Found, Picture, Source, find, find_objects, read};
pub use target::Target;
pub use upload::Field;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr, where that is a terminal. `total`: how many there are to do, where that is known.
pub fn progress(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "[{bar:30}] {pos}/{len} {per_sec} {eta} {msg}"),
        None => (ProgressBar::no_length(), "{spinner} {pos} {per_sec} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
