//! The faults of the demo worker.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::system::{sleep, write_all};
use super::{DemoWorker, Next, READ_MAX};

impl DemoWorker {
    pub(super) fn half(&mut self, line: &[u8]) {
        self.answer(line);
        let half = self.out.len() - line.len().div_ceil(2) - 1;
        self.out.truncate(half);
        self.flush();
    }

    pub(super) fn dribble(&mut self, line: &[u8], pause: Duration) {
        self.flush();
        self.answer(line);
        for byte in std::mem::take(&mut self.out) {
            write_all(rustix::stdio::stdout(), &[byte]);
            sleep(pause);
        }
    }

    pub(super) fn flush(&mut self) {
        write_all(rustix::stdio::stdout(), &self.out);
        self.out.clear();
    }

    pub(super) fn exit(&mut self, code: i32) -> ! {
        self.flush();
        std::process::exit(code)
    }

    pub(super) fn signal_self(&mut self, signal: Signal) -> Next {
        self.flush();
        kill_process(getpid(), signal).expect("a process may signal itself");
        Next::Answer
    }

    /// Stays for ever and does nothing.
    pub(super) fn stay(&mut self) -> ! {
        self.flush();
        loop {
            sleep(Duration::from_hours(1));
        }
    }

    pub(super) fn spin(&mut self) -> ! {
        self.flush();
        loop {
            std::hint::spin_loop();
        }
    }

    pub(super) fn endless(&mut self) -> ! {
        self.flush();
        let part = vec![b'x'; READ_MAX];
        loop {
            write_all(rustix::stdio::stdout(), &part);
        }
    }

    pub(super) fn huge(&mut self, line: &[u8], length: usize) {
        if self.settings.pair {
            self.out.extend_from_slice(line);
            self.out.push(b'|');
        }
        self.flush();
        let part = vec![b'x'; READ_MAX];
        for start in (0..length).step_by(READ_MAX) {
            write_all(rustix::stdio::stdout(), &part[..READ_MAX.min(length - start)]);
        }
        self.line(b"");
    }

    pub(super) fn close_stdout(&mut self) -> ! {
        self.flush();
        let null = std::fs::File::open("/dev/null").expect("there is a null device");
        rustix::stdio::dup2_stdout(&null).expect("stdout can be replaced");
        self.stay()
    }

    #[expect(clippy::disallowed_methods, reason = "a worker, not the server, makes this process")]
    pub(super) fn leave_behind(&mut self, count: usize) {
        for _ in 0..count {
            let child = Command::new("sleep").arg("3600").stdin(Stdio::inherit()).spawn();
            self.left_behind.push(child.expect("`sleep` can be run"));
        }
    }

    pub(super) fn complain(&mut self, text: &[u8]) {
        self.flush();
        write_all(rustix::stdio::stderr(), text);
    }

    pub(super) fn flood(&mut self, length: usize) {
        let line = [&[b'e'; 99][..], b"\n"].concat();
        for _ in 0..length.div_ceil(line.len()) {
            self.complain(&line);
        }
    }
}
