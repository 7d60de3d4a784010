//! One worker process: how it is started, asked, watched and ended.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod advice;
mod belongings;
mod births;
mod child;
pub mod describe;
mod ending;
mod fault;
pub mod fence;
pub mod fork_server;
pub mod fork_trial;
pub mod guard;
mod input;
pub mod kill;
mod lasting;
pub mod listener;
pub mod look;
mod mark;
pub mod memory_group;
pub mod meter;
pub mod own;
mod packets;
pub mod pipes;
pub mod priority;
pub mod process;
pub mod ready;
pub mod reaper;
mod scratch;
pub mod shim;
pub mod spawn;
mod starter;
pub mod stderr;
pub mod traced;
pub mod turn;
pub mod usage;
mod wide;

/// Runs the shim or the guard if `arguments` (those after `argv[0]`) ask for one. Returns `None`
/// if they do not. Must be called before anything else is done.
pub fn own_process(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.first()?.to_str()? {
        own::SHIM => Some(shim::main(arguments[1..].iter().cloned())),
        own::GUARD => Some(guard::main()),
        _ => None,
    }
}
