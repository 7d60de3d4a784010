//! The signals that stop the server, and the one that reloads it.

use std::io;
use std::ptr;
use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::app::Server;

/// Keeps SIGHUP back until the server can reload. Must be called before the first thread is
/// started: by default the signal ends a process, and a start may take as long as an import does.
pub fn hold_hang_ups() {
    mask_hang_ups(libc::SIG_BLOCK);
}

/// Changes whether this thread, and those that it starts from now on, take SIGHUP.
#[expect(unsafe_code, reason = "no safe call sets the mask")]
fn mask_hang_ups(how: libc::c_int) {
    // SAFETY: the set is written before it is read.
    unsafe {
        let mut hang_up = std::mem::zeroed();
        libc::sigemptyset(&raw mut hang_up);
        libc::sigaddset(&raw mut hang_up, libc::SIGHUP);
        libc::pthread_sigmask(how, &raw const hang_up, ptr::null_mut());
    }
}

/// Waits for SIGTERM or SIGINT; reloads on SIGHUP, also on one that came before.
///
/// # Errors
///
/// A signal cannot be waited for.
pub(super) async fn until_stop_signal(server: &Rc<Server>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hang_up = signal(SignalKind::hangup())?;
    mask_hang_ups(libc::SIG_UNBLOCK);
    server.tasks().spawn_local(reload_on_hang_up(Rc::clone(server), hang_up));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Reloads on each SIGHUP. Those that come during a reload cause one more after it, for the file
/// may have changed since it was read.
async fn reload_on_hang_up(server: Rc<Server>, mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        if let Err(refused) = server.reload_after_all().await {
            tracing::error!(problems = refused.why, "not reloaded; the old configuration stays");
        }
    }
}

/// Waits for SIGTERM or SIGINT while the server stops.
pub(super) async fn second_stop_signal() {
    let again = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = again(SignalKind::terminate()) => {}
        () = again(SignalKind::interrupt()) => {}
    }
}
