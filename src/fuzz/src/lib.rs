//! What the fuzz targets have in common: a counted allocator, panics told apart, and a web tier in memory.

pub mod memory;
pub mod panics;
pub mod service;
pub mod talk;

/// Runs `future` in virtual time: deadlines of minutes pass at once, and the same bytes make the same run.
pub fn virtually<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing that could lack").block_on(future)
}
