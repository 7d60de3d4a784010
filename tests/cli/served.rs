//! Starts a server as a person does, to see whether it does what `check` said.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::Room;

/// A running server; it is stopped at the end.
pub(crate) struct Served {
    server: Child,
    address: String,
}

impl Served {
    /// Runs the server with these arguments, on a free port.
    pub(crate) fn start(room: &Room, arguments: &[&str]) -> Self {
        let options = ["run", "--listen", "127.0.0.1:0", "--admin", "off", "--log", "json"];
        let mut command = room.command(&[&options[..], arguments].concat());
        let mut server = command.stderr(Stdio::piped()).spawn().expect("the binary can be run");
        let mut log = BufReader::new(server.stderr.take().expect("it is a pipe"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("text") > 0, "it does not listen:\n{said}");
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split('"').next().expect("an address").to_owned();
            }
            said += &line;
        };
        // Nobody else reads the log, and a full pipe would stop nothing but the log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { server, address }
    }

    /// Asks one question and returns the status and the body.
    pub(crate) fn ask(&self, question: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let (address, length) = (&self.address, question.len());
        let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        let request = format!("{head}X-Timeout: 20s\r\nContent-Length: {length}\r\n\r\n{question}");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.server);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        self.server.wait().ok();
    }
}
