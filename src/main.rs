//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The two processes that the server makes of itself come before everything else.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = httpipe::own_process(&arguments) {
        return code;
    }
    httpipe::main(arguments)
}
