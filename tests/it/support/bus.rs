//! A client of NATS that hears and says what it likes, also in the name of others.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::eventually;
use super::nats::Nats;

/// A connection to NATS that subscribes to all that is said below `httpipe`.
pub(crate) struct Bus {
    wire: BufReader<TcpStream>,
    heard: VecDeque<Said>,
}

/// A message: where it goes, and its line.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) subject: String,
    pub(crate) line: Value,
    /// All of it, as it was sent.
    pub(crate) bytes: Vec<u8>,
}

impl Said {
    /// Returns what a message of this kind says; `None` if it is of another one.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&Value> {
        self.line.get(kind)
    }
}

impl Bus {
    pub(crate) fn connect(nats: &Nats) -> Self {
        let address = nats.url().replace("nats://", "");
        let wire = TcpStream::connect(address).expect("NATS is there");
        wire.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let mut bus = Self { wire: BufReader::new(wire), heard: VecDeque::new() };
        bus.send(b"CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB httpipe.> 1\r\nPING\r\n");
        bus.wait_for_pong();
        bus
    }

    fn send(&mut self, bytes: &[u8]) {
        self.wire.get_mut().write_all(bytes).expect("NATS is there");
    }

    /// Says something, and waits until NATS has it.
    pub(crate) fn say(&mut self, subject: &str, payload: &[u8]) {
        self.send(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        self.send(payload);
        self.send(b"\r\nPING\r\n");
        self.wait_for_pong();
    }

    fn wait_for_pong(&mut self) {
        while self.read_op() != "PONG" {}
    }

    /// Reads one operation, and keeps it if it is a message. Returns its first word.
    fn read_op(&mut self) -> String {
        let mut line = String::new();
        self.wire.read_line(&mut line).expect("NATS says something within ten seconds");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"PING") {
            self.send(b"PONG\r\n");
        }
        if words.first() == Some(&"MSG") {
            let len: usize = words[words.len() - 1].parse().expect("a length");
            let mut bytes = vec![0; len + 2];
            self.wire.read_exact(&mut bytes).expect("a message");
            bytes.truncate(len);
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(len);
            let line = serde_json::from_slice(&bytes[..end]).unwrap_or_default();
            let subject = words[1].to_owned();
            self.heard.push_back(Said { subject, line, bytes });
        }
        words.first().map_or_else(String::new, |word| (*word).to_owned())
    }

    fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.heard.pop_front() {
                return said;
            }
            self.read_op();
        }
    }

    /// Returns what `look` makes of the first message for which it returns something. Panics with
    /// `what` if none comes in time, however much else is said.
    pub(crate) fn first<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self, &Said) -> Option<T>,
    ) -> T {
        let ask = || {
            let said = self.next();
            look(self, &said)
        };
        eventually(what, ask, String::new)
    }

    /// Returns the next message of a kind. Those before it are forgotten.
    pub(crate) fn next_of(&mut self, kind: &str) -> Said {
        let what = format!("a message of kind `{kind}` comes");
        self.first(&what, |_, said| said.of_kind(kind).map(|_| said.clone()))
    }
}
