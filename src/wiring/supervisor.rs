//! What systemd is told (sd_notify(3)): that this process serves, that its loops turn, that it ends. Does nothing where
//! nobody listens.

use crate::edge::host::{Host, Turning};
use sd_notify::NotifyState;
use std::time::Duration;

/// Of the time that systemd waits for a sign of life: how often one is given.
const SIGNS: u32 = 3;

/// Tells that this process serves from now on. Then, until it is stopped, a sign of life as often as the unit's
/// WatchdogSec= asks for, but none while a loop is stuck; at the end that it stops.
pub(super) fn serving(host: &Host) {
    say(NotifyState::Ready);
    host.spawn("supervisor", signs(host.clone()));
}

/// Tells that this process ends.
pub(super) fn stopping() {
    say(NotifyState::Stopping);
}

async fn signs(host: Host) {
    let every = sd_notify::watchdog_enabled().map_or(Duration::MAX, |limit| limit / SIGNS);
    loop {
        tokio::select! {
            biased;
            () = host.stop.cancelled() => return stopping(),
            () = tokio::time::sleep(every) => {}
        }
        if is_alive(&host.turning) {
            say(NotifyState::Watchdog);
        }
    }
}

/// Whether all loops turn.
fn is_alive(turning: &Turning) -> bool {
    let Some((name, silence)) = turning.stuck() else { return true };
    tracing::error!(loop.name = name, loop.silence_s = silence.as_secs(), "a loop is stuck: no sign of life");
    false
}

fn say(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %e, "systemd cannot be told how this process fares");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_loop_ends_the_signs_of_life() {
        let host = Host::system();
        host.spawn("waits", host.turning.watch("waits", std::future::pending()));
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(is_alive(&host.turning));
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert!(!is_alive(&host.turning));
    }
}
