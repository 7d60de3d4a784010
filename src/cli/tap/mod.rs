//! `httpipe tap`: shows what goes through the pipes of a running server's workers.

mod record;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::client::{Remote, RemoteError};
use super::{FAILED, complain, complain_with_hint, say};
use crate::config::flags::TapArguments;
use crate::report::TapEvent;

/// The server ends a tap after ten minutes, in which there may be nothing to tell.
const SILENCE: Duration = Duration::from_mins(11);

/// Shows events until the user, the reader of stdout or the server ends it.
pub(super) fn run(arguments: TapArguments) -> ExitCode {
    let remote = match Remote::find(&arguments.server) {
        Ok(remote) => remote,
        Err(error) => return error.tell(),
    };
    if let Some(worker) = arguments.record {
        return record::run(&remote, worker, &arguments);
    }
    if remote.secret().is_none() {
        complain("letters and digits are masked, because this user has no key of the server\n");
    }
    let (send, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let mut is_read = true;
        let ended = remote.events(&target(&arguments), SILENCE, |data| {
            is_read = show(&remote, data, &arguments)?;
            Ok(is_read)
        });
        let result = ended.map(|()| is_read);
        // Ctrl-C may have been first.
        send.send(result).ok();
    });
    match wait(ended) {
        Ok(Some(Ok(true))) => {
            complain("the server has ended the tap, as it does after ten minutes\n");
            ExitCode::SUCCESS
        }
        Ok(Some(Err(error))) => error.tell(),
        Ok(Some(Ok(false)) | None) => ExitCode::SUCCESS,
        Err(error) => {
            complain_with_hint(&format!("cannot wait for signals: {error}"), "try it again");
            ExitCode::from(FAILED)
        }
    }
}

/// How the stream ended; true if the server ended it.
type Ended = Result<bool, RemoteError>;

/// Waits for the end of the stream; `None` if the user or the reader of stdout ended it.
fn wait(ended: oneshot::Receiver<Ended>) -> std::io::Result<Option<Ended>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (send, closed) = oneshot::channel();
    std::thread::spawn(move || {
        wait_until_nobody_reads();
        send.send(()).ok();
    });
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(tokio::select! {
            ended = ended => ended.ok(),
            Ok(()) = closed => None,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        })
    })
}

/// Returns once the other end of stdout is closed. Else that would be noticed at the next event only.
fn wait_until_nobody_reads() {
    let out = rustix::stdio::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
}

/// Shows one event. Returns false if nobody reads any longer.
fn show(remote: &Remote, data: &str, arguments: &TapArguments) -> Result<bool, RemoteError> {
    if arguments.json {
        return Ok(say(&format!("{data}\n")));
    }
    let event: TapEvent = serde_json::from_str(data)
        .map_err(|error| remote.strange(&format!("what it sends is no tap: {error}")))?;
    let gap = text::gap(&event).map(|gap| format!("{gap}\n")).unwrap_or_default();
    Ok(say(&format!("{gap}{}\n", text::line(&event, arguments.raw))))
}

fn target(arguments: &TapArguments) -> String {
    let encoded = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pool = arguments.pool.as_ref().map(|pool| format!("pool={}", encoded(pool)));
    let worker = arguments.worker.map(|worker| format!("worker={worker}"));
    let route = arguments.route.as_ref().map(|route| format!("route={}", encoded(route)));
    let failed = arguments.failed.then(|| "failed".to_owned());
    let parts: Vec<String> = [pool, worker, route, failed].into_iter().flatten().collect();
    if parts.is_empty() { "/tap".to_owned() } else { format!("/tap?{}", parts.join("&")) }
}
