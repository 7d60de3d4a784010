//! A small blocking HTTP/1.1 client that can also misbehave: raw bytes, half a request, slow
//! bytes, an early close. Every read has a bound.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use super::socket::Socket;
use super::{CALLER_PATIENCE, Stopwatch, Took, sleep};

/// A caller; each request has a connection of its own unless [`Client::connect`] is used.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: String,
}

/// One kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<Socket>,
}

/// A request that was sent and whose answer was not read yet.
#[derive(Debug)]
pub(crate) struct Pending {
    connection: Connection,
    method: String,
    sent: Stopwatch,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body, as text.
    pub(crate) body: String,
    /// From the end of the request to the end of the answer.
    pub(crate) took: Duration,
    /// That time, with how much of it the machine was busy.
    watched: Took,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Returns a caller of this address: `127.0.0.1:3000` or `unix:/path`.
    pub(crate) fn of(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Opens a connection to keep or to misuse.
    pub(crate) fn connect(&self) -> Connection {
        let stream = Socket::connect(&self.address).expect("the server accepts");
        Connection { stream: BufReader::new(stream) }
    }

    /// Returns true if nothing listens there.
    pub(crate) fn is_refused(&self) -> bool {
        Socket::connect(&self.address).is_err()
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.get_later(target).answer()
    }

    pub(crate) fn get_later(&self, target: &str) -> Pending {
        self.later("GET", target, &[], "")
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Answer {
        self.post_later(target, body).answer()
    }

    pub(crate) fn post_later(&self, target: &str, body: &str) -> Pending {
        self.later("POST", target, &[], body)
    }

    /// Sends any request, with header lines such as `X-Timeout: 1s`, and reads the answer.
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        self.later(method, target, headers, body).answer()
    }

    /// Sends any request; its answer is read later.
    pub(crate) fn later(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &str,
    ) -> Pending {
        let mut connection = self.connect();
        connection.send(&request(method, target, headers, body));
        Pending { connection, method: method.to_owned(), sent: Stopwatch::start() }
    }
}

impl Pending {
    pub(crate) fn answer(mut self) -> Answer {
        let mut answer = self.connection.answer_to(&self.method);
        answer.is_timed(self.sent);
        answer
    }

    /// Closes the connection without reading the answer.
    pub(crate) fn leave(self) {
        self.connection.close();
    }
}

impl Connection {
    /// Sends a request and reads its answer; the connection stays open.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(&request("GET", target, &[], ""));
        self.answer()
    }

    pub(crate) fn post(&mut self, target: &str, body: &str) -> Answer {
        self.send(&request("POST", target, &[], body));
        self.answer()
    }

    /// Sends a request and reads its answer; `None` if the server closed the connection instead.
    pub(crate) fn try_post(&mut self, target: &str, body: &str) -> Option<Answer> {
        let bytes = request("POST", target, &[], body);
        self.stream.get_mut().write_all(&bytes).ok()?;
        self.try_answer()
    }

    /// Reads the next answer; `None` if the server closed the connection instead.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let is_open = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        is_open.then(|| self.answer())
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Sends these bytes. Returns false if the server has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Sends these bytes one by one with a pause, until the server closes the connection.
    pub(crate) fn send_slowly(&mut self, bytes: &[u8], between: Duration) {
        for byte in bytes {
            if self.stream.get_mut().write_all(&[*byte]).is_err() {
                return;
            }
            sleep(between);
        }
    }

    /// Reads the next answer, to a request that was not HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// Reads until the server closes, and returns the text.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset means that the server closed, as an end does.
        let result = self.stream.read_to_end(&mut bytes);
        let timed_out = result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "the server neither answered nor closed: {bytes:?}");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads until the connection ends. Returns the text, and true if the end was no reset.
    pub(crate) fn rest_and_end(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let in_order = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error} after {bytes:?}"),
        };
        (String::from_utf8_lossy(&bytes).into_owned(), in_order)
    }

    /// Returns the address that the server sees.
    pub(crate) fn own_address(&self) -> String {
        self.stream.get_ref().own_address().expect("it is TCP").to_string()
    }

    /// Closes the sending side. Answers can still be read.
    pub(crate) fn finish_sending(&self) {
        self.stream.get_ref().finish_sending();
    }

    /// Lets the kernel hold few bytes that were not read.
    pub(crate) fn hold_little(&self) {
        self.stream.get_ref().hold_little();
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Sends a request whose answer is read with [`Self::head`] and [`Self::chunk`].
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &[&str], body: &str) {
        self.send(&request(method, target, headers, body));
    }

    /// Reads status and header of the next answer.
    pub(crate) fn head(&mut self) -> Answer {
        let mut line = self.line();
        while line.starts_with("HTTP/1.1 100") {
            self.line();
            line = self.line();
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Answer {
            status,
            headers,
            body: String::new(),
            took: Duration::ZERO,
            watched: Took::default(),
        }
    }

    /// Reads the next chunk of the body. It is empty at the end; `None` if the connection broke.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        if self.stream.read_line(&mut size).ok()? == 0 {
            return None;
        }
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk has a size");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        Some(String::from_utf8_lossy(&chunk).into_owned())
    }

    fn answer_to(&mut self, method: &str) -> Answer {
        let started = Stopwatch::start();
        let mut answer = self.head();
        let status = answer.status;
        let has_body = method != "HEAD" && !matches!(status, 204 | 304);
        if has_body {
            answer.body = String::from_utf8_lossy(&self.body(&answer)).into_owned();
        }
        answer.is_timed(started);
        answer
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let size = self.line();
                let size = usize::from_str_radix(&size, 16).expect("a chunk has a size");
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).expect("a chunk is whole");
                self.line();
                if size == 0 {
                    return body;
                }
            }
        }
        match answer.header("content-length").parse() {
            Ok(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).expect("the body is whole");
            }
            Err(_) => {
                self.stream.read_to_end(&mut body).expect("the body ends with the connection");
            }
        }
        body
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        let length =
            read.unwrap_or_else(|error| panic!("no answer within {CALLER_PATIENCE:?}: {error}"));
        assert!(length > 0, "the server closed the connection instead of answering");
        line.trim_end().to_owned()
    }
}

impl Answer {
    fn is_timed(&mut self, since: Stopwatch) {
        self.watched = since.took();
        self.took = self.watched.time;
    }

    /// Returns true if the answer came within this time, with an allowance for a busy machine.
    pub(crate) fn is_within(&self, limit: Duration) -> bool {
        self.watched.is_below(limit)
    }

    /// Returns the value of a header, whose name may be in any case; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let wanted = name.to_ascii_lowercase();
        let found = self.headers.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, value)| value)
    }

    /// Returns all headers in their order, with names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {:?}", self.status, self.body))
    }

    /// Returns the failure code from the body, after a check that the header has the same; empty if
    /// the answer is no failure.
    pub(crate) fn code(&self) -> String {
        if self.status < 400 {
            return String::new();
        }
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!(self.header("httpipe-failure"), code, "header and body agree: {self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        code
    }

    /// Returns the detail of the problem document.
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// Returns the bytes of a request.
pub(crate) fn request(method: &str, target: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        text.push_str("Host: 127.0.0.1\r\n");
    }
    for line in headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}
