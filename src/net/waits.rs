//! What a connection waits for besides its bytes: a limit that passes, a new one that wants its place,
//! and the caller's last look.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::conduit::Conduit;
use super::now;
use super::seats::Seat;
use super::watch::{Overdue, Patience, TimerAction, Watch};

/// How long, and for how many bytes, the server reads on after the last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Waits until a limit is passed.
pub(super) async fn overdue(watch: &Watch, patience: Patience) -> Overdue {
    loop {
        let now = now();
        watch.rests_if_idle(now, patience);
        match watch.timer_action(now, patience) {
            TimerAction::End(overdue) => return overdue,
            TimerAction::Look(at) => tokio::time::sleep_until(at.into()).await,
        }
    }
}

/// Waits until a new connection wants the place of this one while the server waits for its caller.
pub(super) async fn makes_room(seat: &Seat, watch: &Watch) {
    loop {
        seat.wanted().await;
        if watch.waits_for_caller() {
            return;
        }
    }
}

/// Ends the server's side and reads on for a short time, so that the caller can read the last
/// response: unread bytes would make the kernel reset the connection.
pub(super) async fn linger(conduit: impl Conduit) {
    let Some(reader) = conduit.into_reader() else {
        return;
    };
    let mut rest = reader.take(LINGER_BYTES as u64);
    let mut nowhere = tokio::io::sink();
    let swallow = tokio::io::copy(&mut rest, &mut nowhere);
    match tokio::time::timeout(LINGER, swallow).await {
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a caller broke its connection"),
    }
}
