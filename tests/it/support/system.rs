//! Makes system calls fail: attaches strace as a fault injector to one thread of a running server.

use std::process::{Child, Command, Stdio};

use super::{eventually, processes};

/// A fault that lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct SystemFault {
    strace: Child,
}

impl SystemFault {
    /// Attaches to the thread of this name in this process; `what` is as `strace -e inject=`
    /// takes it, for instance `accept4:error=EMFILE`.
    #[expect(clippy::disallowed_methods, reason = "tests make the system fail from outside")]
    pub(super) fn new(process: u32, thread: &str, what: &str) -> Self {
        let thread = processes::thread(process, thread)
            .unwrap_or_else(|| panic!("no thread {thread:?} in {process}"));
        let strace = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", &format!("inject={what}")])
            .args(["-p", &thread.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("these tests need strace: `apt-get install strace`");
        let mut fault = Self { strace };
        let attached = || (processes::tracer(thread) == fault.strace.id()).then_some(());
        eventually("strace is attached", attached, String::new);
        assert!(fault.strace.try_wait().is_ok_and(|status| status.is_none()), "strace ended");
        fault
    }

    /// Ends the fault.
    pub(crate) fn end(self) {
        drop(self);
    }
}

impl Drop for SystemFault {
    fn drop(&mut self) {
        // On TERM strace detaches, and the traced process goes on.
        super::server::send_signal(self.strace.id(), "TERM");
        drop(self.strace.wait());
    }
}
