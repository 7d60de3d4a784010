//! One child process: how it is made, spoken to, watched and ended.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod guard;
pub mod kill;
pub mod pipes;
pub mod ready;
pub mod reaper;
pub mod shim;
pub mod spawn;
pub mod stderr;
pub mod usage;

/// Runs the processes that the server makes of its own binary, if `arguments` (those after
/// `argv[0]`) call for one. `None`: they do not. Must be asked before anything else is done.
pub fn own_process(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.first()?.to_str()? {
        "__exec" => Some(shim::main(arguments[1..].iter().cloned())),
        "__guard" => Some(guard::main()),
        _ => None,
    }
}
