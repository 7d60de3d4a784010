//! `httpipe run`: serves until it is told to stop.

use std::process::ExitCode;

use super::{FAILED, REFUSED, complain, is_terminal, shown};
use crate::config::{ConfigSource, Secrets};
use crate::server::{Mode, hold_hang_ups};
use crate::worker::describe::before_start;

/// Loads the configuration and serves until a signal stops the server.
pub(super) fn run(source: &ConfigSource, mode: Mode) -> ExitCode {
    hold_hang_ups();
    let config = match source.load(&before_start(source.own_binary())) {
        Ok(config) => config,
        Err(problems) => {
            // What is not a terminal is a log, as under systemd.
            let is_terminal = is_terminal(&std::io::stderr());
            let secrets = if is_terminal { Secrets::Shown } else { Secrets::Hidden };
            complain(&shown(&problems, source, secrets, is_terminal));
            return ExitCode::from(REFUSED);
        }
    };
    match crate::server::run(config, source.clone(), mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}\n"));
            ExitCode::from(if error.is_of_usage() { REFUSED } else { FAILED })
        }
    }
}
