//! A terminal in which a command of the binary under test runs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::command::binary_under;
use super::eventually;
use super::server::{Server, send_signal};

/// What begins each picture of `top`.
const PICTURE: &str = "\x1b[H";

/// A terminal with a command in it. Dropping this kills the command.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The side of the person before it.
    person: File,
    /// The side of the command, kept open so that it can be looked at after its end.
    command_side: OwnedFd,
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs the binary against this server, on a screen of so many columns and rows.
    pub(crate) fn run(server: &Server, arguments: &[&str], size: (u16, u16)) -> Self {
        let mut command = binary_under(&[], server.dir());
        command.args(arguments);
        Self::start(command, server, size)
    }

    /// Runs another command that starts the binary.
    pub(crate) fn under(server: &Server, words: &[&str], size: (u16, u16)) -> Self {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Self::start(binary_under(&words, server.dir()), server, size)
    }

    fn start(mut command: Command, server: &Server, (columns, rows): (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let person = openpt(flags).expect("there are terminals");
        grantpt(&person).and_then(|()| unlockpt(&person)).expect("it is ours");
        let path = ptsname(&person, Vec::new()).expect("it has a name");
        let open = || -> OwnedFd {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
            rustix::fs::open(&*path, flags, rustix::fs::Mode::empty()).expect("it is there")
        };
        let command_side = open();
        resize(&command_side, columns, rows);
        command.env("XDG_RUNTIME_DIR", server.dir());
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn();
        let written = Arc::new(Mutex::new(Vec::new()));
        let person = File::from(person);
        let (mut reader, collected) =
            (person.try_clone().expect("there are free descriptors"), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut collected = collected.lock().unwrap_or_else(PoisonError::into_inner);
                collected.extend_from_slice(&buffer[..count]);
            }
        });
        Self { person, command_side, child: child.expect("the binary can be run"), written }
    }

    /// Returns all that the command wrote so far.
    pub(crate) fn written(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Waits until what was written ends like this: a program may end before all of it was read here.
    pub(crate) fn wait_for_end(&self, end: &str) {
        let ends = || self.written().ends_with(end).then_some(());
        super::eventually(&format!("{end:?} is written last"), ends, || self.written());
    }

    /// Returns the last whole picture without its colours, or what was written if there is none.
    pub(crate) fn picture(&self) -> String {
        let written = self.written();
        let whole = written.rsplit_once("\x1b[J").map_or("", |(whole, _)| whole);
        let picture = whole.rsplit_once(PICTURE).map_or(&*written, |(_, picture)| picture);
        without_escapes(picture)
    }

    /// Waits until a picture has this text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let find = || Some(self.picture()).filter(|picture| picture.contains(text));
        eventually(&format!("the screen shows {text:?}"), find, || format!("\n{}", self.picture()))
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        (&self.person).write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Changes how large the screen is. The kernel would tell the command if this were the terminal
    /// that controls it.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.command_side, columns, rows);
        self.signal("WINCH");
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Returns true if the terminal sends what is typed as it is, without echo.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.command_side).expect("it is a terminal").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits until the command ends. Returns its exit code; -1 if a signal ended it.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let command = &mut self.child;
        let ended = || command.try_wait().expect("a child can be waited for");
        eventually("the command ended", ended, String::new).code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, unless the test fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(side: &OwnedFd, columns: u16, rows: u16) {
    let window = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(side, window).expect("it is a terminal");
}

/// Leaves out `ESC [ … letter`.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = after.find(|c: char| ('@'..='~').contains(&c)).map_or(after.len(), |end| end + 1);
        rest = &after[end..];
    }
    plain.push_str(rest);
    plain
}
