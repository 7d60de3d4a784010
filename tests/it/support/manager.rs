//! A service manager as the server sees one: sockets that it passes, and an ear for what it is told.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::client::Client;
use super::eventually;

/// Takes descriptors from its stdin, gives them the numbers from 3 on, says that they are for this
/// process if nobody has said for which, and becomes the server.
pub(super) const STARTER: &[&str] = &[
    "python3",
    "-c",
    "import os, socket, sys\n\
     _, passed, _, _ = socket.recv_fds(socket.socket(fileno=os.dup(0)), 1, 16)\n\
     passed = [os.dup2(it, 100 + index) for index, it in enumerate(passed)]\n\
     for index, it in enumerate(passed): os.dup2(it, 3 + index)\n\
     for it in passed: os.close(it)\n\
     os.dup2(os.open('/dev/null', os.O_RDONLY), 0)\n\
     os.environ.setdefault('LISTEN_PID', str(os.getpid()))\n\
     os.execv(sys.argv[1], sys.argv[1:])",
];

/// A listening socket that outlives the servers it is passed to.
#[derive(Debug)]
pub(crate) struct LentSocket {
    socket: OwnedFd,
    address: String,
}

impl LentSocket {
    /// Listens on a free port.
    pub(crate) fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        Self { socket: listener.into(), address }
    }

    /// Listens on a socket file with this name below the build directory.
    pub(crate) fn file(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).expect("the build directory can be written");
        Self { socket: listener.into(), address: format!("unix:{}", path.display()) }
    }

    /// Lends something else, which is no listening socket.
    pub(crate) fn wrong(what: impl Into<OwnedFd>) -> Self {
        Self { socket: what.into(), address: String::new() }
    }

    /// Returns where callers connect.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns a caller that connects there.
    pub(crate) fn client(&self) -> Client {
        Client::of(&self.address)
    }
}

impl Drop for LentSocket {
    fn drop(&mut self) {
        if let Some(path) = self.address.strip_prefix("unix:") {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Sends copies of these sockets to the process at the other end.
pub(super) fn pass(to: &UnixStream, sockets: &[OwnedFd]) {
    let borrowed: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)), "at most 16 sockets");
    sendmsg(to, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL)
        .expect("the starter reads");
}

/// Returns another descriptor of the same socket.
pub(super) fn copy(of: &LentSocket) -> OwnedFd {
    of.socket.try_clone().expect("there are free descriptors")
}

/// What a service manager is told.
#[derive(Debug)]
pub(crate) struct Told {
    address: String,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Told {
    /// Listens for messages at a file below the build directory.
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("notify-{name}-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).expect("the build directory can be written");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&messages);
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
        });
        Self { address: path.to_string_lossy().into_owned(), messages }
    }

    /// Returns the value of `NOTIFY_SOCKET`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns all messages so far.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` messages have this line at their beginning, and returns the last of them.
    pub(crate) fn wait_for(&self, line: &str, count: usize) -> String {
        let find = || {
            let messages = self.messages();
            let mut found = messages.iter().filter(|it| it.lines().next() == Some(line));
            found.nth(count - 1).cloned()
        };
        let said = || format!("\n{:#?}", self.messages());
        eventually(&format!("it is told {line} {count} times"), find, said)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.address));
    }
}
