//! Whose panic it is.
//!
//! libFuzzer's glue ends the process at every panic, also at one that the code would catch. That is right for our own
//! code. But an image goes through decoders that are not ours, behind a `catch_unwind` that is there for their bugs
//! (with the checks of this build they panic where a release build would count on): these are let through to it.

use std::panic::{Location, PanicHookInfo};

/// From now on a panic in a dependency unwinds, and one in our own code or in a target ends the process.
pub fn let_dependencies_panic() {
    let ours = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if !info.location().is_some_and(is_foreign) {
            ours(info);
        }
    }));
}

/// Whether the code is a registry's. What the standard library's functions panic about counts for whoever called them.
fn is_foreign(location: &Location<'_>) -> bool {
    location.file().contains("/registry/src/")
}
