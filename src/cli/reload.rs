//! `httpipe reload`: tells a running server to load its configuration again, and to replace the
//! workers whose program has changed.

use std::process::ExitCode;
use std::time::Duration;

use super::client::{Remote, RemoteError};
use super::{FAILED, REFUSED, complain, complain_with_hint, say};
use crate::config::flags::ReloadArguments;

/// The server answers once its new workers are ready, which takes time.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// Sends `POST /reload` and prints the answer.
pub(super) fn run(arguments: &ReloadArguments) -> ExitCode {
    let (server, workers) = arguments.server_and_workers();
    let Some(target) = target(workers) else {
        let hint = "see the names after `pool.` in the configuration file";
        complain_with_hint("`--workers` takes the name of a pool, or nothing", hint);
        return ExitCode::from(REFUSED);
    };
    match Remote::find(&server).and_then(|remote| reload(&remote, &target)) {
        Ok(report) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Err(RemoteError::Answered { status: 409, words, .. }) => {
            complain(&format!("{}\n", words.trim_end()));
            complain("the server keeps its old configuration\n");
            ExitCode::from(FAILED)
        }
        Err(trouble) => trouble.tell(),
    }
}

fn reload(remote: &Remote, target: &str) -> Result<String, RemoteError> {
    let reply = remote.ask("POST", target, ANSWER_TIMEOUT)?;
    if reply.status == 200 { remote.text(reply) } else { Err(remote.refused(reply)) }
}

/// Returns the path and the query of the request. `workers`: the pool whose workers are replaced
/// in any case; empty: all pools.
fn target(workers: Option<&str>) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match workers {
        None => Some("/reload".to_owned()),
        Some("") => Some("/reload?workers".to_owned()),
        Some(pool) => pool.bytes().all(is_plain).then(|| format!("/reload?workers={pool}")),
    }
}
