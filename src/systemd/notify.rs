//! What the service manager is told: that the server is ready, reloads, stops, and still lives.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};
use rustix::time::{ClockId, clock_gettime};

/// The service manager that started this process, if there is one that wants to be told.
#[derive(Debug, Default)]
pub struct ServiceManager {
    channel: Option<NotifySocket>,
    /// How often it wants a sign of life.
    watchdog: Option<Duration>,
    /// It was told that the server is ready.
    is_ready: Cell<bool>,
    /// It could not be told something.
    is_deaf: Cell<bool>,
    /// What it shows beside the state of the service while the server serves.
    status: RefCell<String>,
}

/// The socket that messages go to.
#[derive(Debug)]
struct NotifySocket {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl ServiceManager {
    /// Finds the service manager by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name);
        let channel = variable("NOTIFY_SOCKET").and_then(|address| {
            let channel = NotifySocket::open(&address);
            if let Err(error) = &channel {
                let address = address.display();
                tracing::warn!(%address, %error, "the service manager cannot be told anything");
            }
            channel.ok()
        });
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let process = number("WATCHDOG_PID");
        let is_ours = process.is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0);
        let watchdog = watchdog.map(Duration::from_micros);
        Self { channel, watchdog, ..Self::default() }
    }

    /// Tells that the start may take this long from now on, even if that is more than it allows.
    pub fn starting(&self, longest: Duration) {
        self.tell(&format!("STATUS=waiting for the first workers\n{}", extend(longest)));
    }

    /// Tells that the server is ready, and what it serves.
    pub fn ready(&self, status: String) {
        self.is_ready.set(true);
        self.tell(&format!("READY=1\nSTATUS={}", one_line(&status)));
        self.status.replace(status);
    }

    /// Tells that a reload has begun. Before the server is ready, that is not said.
    pub fn reloading(&self) {
        if self.is_ready.get() {
            // systemd compares it with the time of its request to reload.
            let now = clock_gettime(ClockId::Monotonic);
            let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
        }
    }

    /// Tells that the reload is over, and why it was refused if it was.
    pub fn reloaded(&self, refused: Option<&str>) {
        if self.is_ready.get() {
            let mut status = self.status.borrow().clone();
            if let Some(why) = refused {
                write!(status, "; not reloaded: {why}").expect("a text can be written to");
            }
            self.tell(&format!("READY=1\nSTATUS={}", one_line(&status)));
        }
    }

    /// Tells that the server stops, and that this may take as long as `longest`.
    pub fn stopping(&self, longest: Duration) {
        self.is_ready.set(false);
        let status = "STATUS=accepted calls are finished";
        self.tell(&format!("STOPPING=1\n{status}\n{}", extend(longest)));
    }

    /// Gives a sign of life as often as the service manager wants; never, if it wants none.
    pub async fn keep_informed(&self) {
        let Some(watchdog) = self.watchdog else { return };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(watchdog / 2).await;
        }
    }

    fn tell(&self, text: &str) {
        let Some(channel) = &self.channel else { return };
        if let Err(error) = channel.send(text)
            && !self.is_deaf.replace(true)
        {
            tracing::warn!(text, %error, "the service manager was not told; said once");
        }
    }
}

impl NotifySocket {
    fn open(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(address.as_bytes())?,
            _ => return Err(io::Error::other("NOTIFY_SOCKET is a path, or begins with `@`")),
        };
        // The server must not wait for a service manager that does not read.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &str) -> io::Result<()> {
        sendto(&self.socket, message.as_bytes(), SendFlags::NOSIGNAL, &self.address)?;
        Ok(())
    }
}

/// Asks for this much time, instead of what the unit allows.
fn extend(time: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", time.as_micros())
}

/// Makes one line of a text: each line of a message is another variable.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_the_problem_says() {
        assert_eq!(
            one_line("error: a\n\n  READY=0\r\nhint: \u{1b}[1m"),
            "error: a READY=0 hint: ?[1m"
        );
    }

    #[test]
    fn a_wrong_address_is_said() {
        for address in ["", "relative", "vsock:2:1234"] {
            let error = NotifySocket::open(OsStr::new(address)).expect_err(address);
            assert!(error.to_string().contains("begins with `@`"), "{error}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert!(NotifySocket::open(OsStr::new(&long)).is_err());
    }
}
