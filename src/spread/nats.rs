//! The protocol between a client and a NATS server, as far as it is used here.
//!
//! Pure. Lines end with CR LF; the payload of a message follows its line. The server is not trusted
//! with the length of a line, the size of a payload or the number of bytes that are kept for one.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Most bytes of a line. `INFO` lists the servers of a cluster and is the longest.
const LINE_MAX: usize = 64 << 10;
/// The status of a message that says that nobody has subscribed to its subject.
const NO_RESPONDERS: &[u8] = b"503";

/// Something that a server sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerOp {
    /// What it is.
    Info(Box<ServerInfo>),
    /// A message.
    Msg {
        /// The subscription that it is for.
        sid: u64,
        /// Where it was sent to.
        subject: String,
        /// Its payload; `None`: nobody has subscribed to what was sent with this subject as the place
        /// for a reply.
        payload: Option<Bytes>,
    },
    /// It wants a `PONG`.
    Ping,
    /// It has done all that was sent before the `PING`.
    Pong,
    /// It has done what was asked.
    Fine,
    /// It refuses something, in its words.
    Refused(String),
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of what servers send")]
pub struct ServerInfo {
    /// Its name.
    pub server_name: String,
    /// Its version.
    pub version: String,
    /// Most bytes of a payload.
    pub max_payload: u64,
    /// It speaks TLS only.
    pub tls_required: bool,
    /// A client must say who it is.
    pub auth_required: bool,
    /// It can tell that nobody has subscribed.
    pub headers: bool,
    /// What a client signs to prove who it is.
    pub nonce: String,
    /// It will stop soon.
    #[serde(rename = "ldm")]
    pub is_leaving: bool,
}

/// Who a client is, in the words of `CONNECT`.
#[derive(Clone, Default, Serialize)]
pub struct Login {
    /// The name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// What an operator has signed for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// The public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// The signed nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of what servers read")]
struct Connect<'a> {
    #[serde(flatten)]
    login: &'a Login,
    name: &'a str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    echo: bool,
    headers: bool,
    no_responders: bool,
}

/// Why what a server sends is not the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it does not speak the protocol of NATS: {0}")]
pub struct NotNats(&'static str);

/// Cuts what a server sends into operations.
#[derive(Debug)]
pub struct ServerReader {
    bytes: BytesMut,
    /// How many of the bytes hold no end of the line that is read.
    searched: usize,
    /// Most bytes of a payload.
    payload_max: usize,
}

impl ServerReader {
    /// A reader that refuses larger payloads.
    pub fn new(payload_max: usize) -> Self {
        Self { bytes: BytesMut::new(), searched: 0, payload_max }
    }

    /// Returns where further bytes go.
    pub fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(8 << 10);
        &mut self.bytes
    }

    /// Returns true if no byte is left over.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the next operation; `None` if it has not come in full.
    ///
    /// # Errors
    ///
    /// If the bytes are not the protocol. Nothing after it can be read.
    pub fn next_op(&mut self) -> Result<Option<ServerOp>, NotNats> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes[self.searched..]) else {
            self.searched = self.bytes.len();
            return if self.searched > LINE_MAX { Err(NotNats("a long line")) } else { Ok(None) };
        };
        let end = self.searched + end;
        if end > LINE_MAX {
            return Err(NotNats("a long line"));
        }
        let line = &self.bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (verb, rest) = match line.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let op = match &verb.to_ascii_uppercase()[..] {
            b"MSG" => return self.message(end, false),
            b"HMSG" => return self.message(end, true),
            b"INFO" => ServerOp::Info(Box::new(
                serde_json::from_slice(rest).map_err(|_| NotNats("an INFO that is not JSON"))?,
            )),
            b"PING" => ServerOp::Ping,
            b"PONG" => ServerOp::Pong,
            b"+OK" => ServerOp::Fine,
            b"-ERR" => {
                let text = String::from_utf8_lossy(rest);
                ServerOp::Refused(text.trim().trim_matches('\'').to_owned())
            }
            _ => return Err(NotNats("an unknown operation")),
        };
        self.bytes.advance(end + 1);
        self.searched = 0;
        Ok(Some(op))
    }

    /// Reads a message whose line ends at `end`: its subject, its subscription, perhaps where a reply
    /// goes, perhaps how long its headers are, and how long all is.
    fn message(&mut self, end: usize, has_headers: bool) -> Result<Option<ServerOp>, NotNats> {
        const BAD: NotNats = NotNats("a message whose line cannot be read");
        let line = std::str::from_utf8(&self.bytes[..end]).map_err(|_| BAD)?;
        let mut words = [""; 6];
        let mut count = 0;
        for word in line.split_ascii_whitespace().skip(1) {
            *words.get_mut(count).ok_or(BAD)? = word;
            count += 1;
        }
        let lengths = 1 + usize::from(has_headers);
        let is_right = count == 2 + lengths || count == 3 + lengths;
        let number = |at: usize| words[at].parse::<usize>().map_err(|_| BAD);
        if !is_right {
            return Err(BAD);
        }
        let total = number(count - 1)?;
        let headers = if has_headers { number(count - 2)? } else { 0 };
        if total > self.payload_max.saturating_add(LINE_MAX) || headers > total {
            return Err(NotNats("a message that is too large"));
        }
        if self.bytes.len() < end + 1 + total + 2 {
            // The line is found again at once, and looked at once more.
            self.searched = end;
            self.bytes.reserve(end + 1 + total + 2 - self.bytes.len());
            return Ok(None);
        }
        let (subject, sid) = (words[0].to_owned(), words[1].parse().map_err(|_| BAD)?);
        self.bytes.advance(end + 1);
        self.searched = 0;
        let head = self.bytes.split_to(headers);
        let payload = self.bytes.split_to(total - headers).freeze();
        if &self.bytes[..2] != b"\r\n" {
            return Err(NotNats("a message that does not end where it says"));
        }
        self.bytes.advance(2);
        let status = head.strip_prefix(b"NATS/1.0 ").unwrap_or_default();
        let is_unheard = status.starts_with(NO_RESPONDERS);
        Ok(Some(ServerOp::Msg { sid, subject, payload: (!is_unheard).then_some(payload) }))
    }
}

/// Writes what a client sends.
#[derive(Debug, Default)]
pub struct ClientWriter {
    bytes: BytesMut,
}

impl ClientWriter {
    /// Says who the client is, and asks for a `PONG`. Its own messages do not come back if not `echo`.
    pub fn connect(&mut self, login: &Login, name: &str, has_tls: bool, echo: bool) {
        let connect = Connect {
            login,
            name,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            verbose: false,
            pedantic: false,
            tls_required: has_tls,
            echo,
            headers: true,
            no_responders: true,
        };
        self.bytes.put_slice(b"CONNECT ");
        // Texts and switches can always be written.
        serde_json::to_writer((&mut self.bytes).writer(), &connect).unwrap_or_default();
        self.bytes.put_slice(b"\r\nPING\r\n");
    }

    /// Subscribes. Of the subscriptions with the same `group`, one gets each message.
    pub fn subscribe(&mut self, sid: u64, subject: &str, group: Option<&str>) {
        let group = group.map(|group| format!("{group} ")).unwrap_or_default();
        self.bytes.put_slice(format!("SUB {subject} {group}{sid}\r\n").as_bytes());
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, sid: u64) {
        self.bytes.put_slice(format!("UNSUB {sid}\r\n").as_bytes());
    }

    /// Sends a message. `unheard` is told if nobody has subscribed to the subject.
    pub fn publish(&mut self, subject: &str, unheard: Option<&str>, payload: &[u8]) {
        self.bytes.reserve(subject.len() + payload.len() + 64);
        self.bytes.put_slice(b"PUB ");
        self.bytes.put_slice(subject.as_bytes());
        if let Some(unheard) = unheard {
            self.bytes.put_slice(b" ");
            self.bytes.put_slice(unheard.as_bytes());
        }
        self.bytes.put_slice(b" ");
        self.bytes.put_slice(itoa::Buffer::new().format(payload.len()).as_bytes());
        self.bytes.put_slice(b"\r\n");
        self.bytes.put_slice(payload);
        self.bytes.put_slice(b"\r\n");
    }

    /// Asks for a `PONG`.
    pub fn ping(&mut self) {
        self.bytes.put_slice(b"PING\r\n");
    }

    /// Answers a `PING`.
    pub fn pong(&mut self) {
        self.bytes.put_slice(b"PONG\r\n");
    }

    /// Returns what is to be sent; what was sent is advanced over.
    pub fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Returns how many bytes are to be sent.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<Vec<ServerOp>, NotNats> {
        let mut reader = ServerReader::new(1 << 20);
        let mut all = Vec::new();
        for piece in bytes.chunks(step) {
            reader.room().put_slice(piece);
            while let Some(op) = reader.next_op()? {
                all.push(op);
            }
        }
        Ok(all)
    }

    fn msg(sid: u64, subject: &str, payload: Option<&'static [u8]>) -> ServerOp {
        let payload = payload.map(Bytes::from_static);
        ServerOp::Msg { sid, subject: subject.to_owned(), payload }
    }

    #[test]
    fn however_it_is_cut_the_same_is_read() {
        let sent = b"INFO {\"max_payload\":1048576,\"nonce\":\"x\",\"later\":[]} \r\nPING\r\n\
            MSG a.b 7 3\r\na\r\n\r\nMSG a 8 reply.to 0\r\n\r\n+OK\r\nPONG\r\n\
            HMSG gone 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n\
            HMSG a.c 9 r 22 25\r\nNATS/1.0\r\nA: b 503\r\n\r\nxyz\r\n\
            -ERR 'Permissions Violation for Publish to \"a\"'\r\n";
        let info =
            ServerInfo { max_payload: 1 << 20, nonce: "x".to_owned(), ..ServerInfo::default() };
        let expected = vec![
            ServerOp::Info(Box::new(info)),
            ServerOp::Ping,
            msg(7, "a.b", Some(b"a\r\n")),
            msg(8, "a", Some(b"")),
            ServerOp::Fine,
            ServerOp::Pong,
            msg(9, "gone", None),
            msg(9, "a.c", Some(b"xyz")),
            ServerOp::Refused("Permissions Violation for Publish to \"a\"".to_owned()),
        ];
        for step in 1..sent.len() {
            assert_eq!(read(sent, step).as_ref(), Ok(&expected), "{step}");
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        for sent in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"INFO no\r\n",
            b"MSG a 7\r\n",
            b"MSG a 7 r r 3\r\nabc\r\n",
            b"MSG a x 3\r\nabc\r\n",
            b"MSG a 7 -3\r\nabc\r\n",
            b"MSG a 7 99999999\r\n",
            b"MSG a 7 18446744073709551615\r\n",
            b"MSG a 7 3\r\nabcd\r\n",
            b"HMSG a 7 9 3\r\nabc\r\n",
            b"MSG \xff 7 3\r\nabc\r\n",
        ] {
            assert!(read(sent, 5).is_err(), "{}", sent.escape_ascii());
        }
        assert!(read(&vec![b'x'; LINE_MAX + 2], 1 << 20).is_err());
    }

    #[test]
    fn what_is_written_is_the_protocol() {
        let mut writer = ClientWriter::default();
        writer.subscribe(1, "a.>", Some("g"));
        writer.subscribe(2, "b", None);
        writer.publish("b", Some("u"), b"x\r\n");
        writer.publish("b", None, b"");
        writer.unsubscribe(1);
        writer.ping();
        writer.pong();
        let expected =
            b"SUB a.> g 1\r\nSUB b 2\r\nPUB b u 3\r\nx\r\n\r\nPUB b 0\r\n\r\nUNSUB 1\r\n\
            PING\r\nPONG\r\n";
        assert_eq!(writer.bytes()[..], expected[..]);
        let mut writer = ClientWriter::default();
        let login = Login { user: Some("u".to_owned()), ..Login::default() };
        writer.connect(&login, "n", true, false);
        let text = String::from_utf8(writer.bytes().to_vec()).expect("a text");
        assert!(text.starts_with("CONNECT {\"user\":\"u\",\"name\":\"n\","), "{text}");
        assert!(text.ends_with("\"no_responders\":true}\r\nPING\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let whole = read(&bytes, 1000);
            prop_assert_eq!(read(&bytes, 7), whole);
        }
    }
}
