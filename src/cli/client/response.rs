//! Reads a response of HTTP/1.1 from any reader: its head, then its body as it comes.
//!
//! It speaks only to the admin listener of httpipe, so it knows what that sends: a length, chunks,
//! or the end of the connection.

use std::io::{self, BufRead, BufReader, Read};

/// How long a head may be.
const HEAD_MOST: u64 = 64 << 10;

/// A response whose head was read.
#[derive(Debug)]
pub(crate) struct AdminResponse<R> {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<R>,
    rest: Rest,
}

/// How much of the body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// This many bytes.
    Bytes(u64),
    /// This many bytes of a chunk, and then more chunks.
    Chunk(u64),
    /// The size of a chunk, which may not be there yet: what came before is not kept back for it.
    BeforeChunk { is_first: bool },
    /// All until the connection ends.
    Unknown,
}

/// What answered is not HTTP.
#[derive(Debug, thiserror::Error)]
#[error("what answers does not speak HTTP")]
struct NotHttp;

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NotHttp)
}

/// Returns true if an error says that what answered is not HTTP.
pub(crate) fn is_not_http(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NotHttp>)
}

impl<R: Read> AdminResponse<R> {
    /// Reads the head of a response.
    pub(crate) fn read(reader: R) -> io::Result<Self> {
        let mut reader = BufReader::new(reader);
        let mut head = reader.by_ref().take(HEAD_MOST);
        let first = line(&mut head)?;
        let mut words = first.split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let status = words.next().and_then(|word| word.parse().ok()).filter(|_| is_http);
        let status = status.ok_or_else(not_http)?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut head)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(not_http)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, reader, rest: Rest::Unknown };
        if response.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            response.rest = Rest::BeforeChunk { is_first: true };
        } else if let Ok(length) = response.header("content-length").parse() {
            response.rest = Rest::Bytes(length);
        }
        Ok(response)
    }

    /// Returns the value of a header, whose name is in lower case; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    /// Reads the size of the next chunk.
    fn next_chunk(&mut self, is_first: bool) -> io::Result<()> {
        let mut short = self.reader.by_ref().take(1 << 10);
        if !is_first && !line(&mut short)?.is_empty() {
            return Err(not_http());
        }
        let size = line(&mut short)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| not_http())?;
        self.rest = if size == 0 { Rest::Bytes(0) } else { Rest::Chunk(size) };
        Ok(())
    }
}

impl<R: Read> Read for AdminResponse<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if let Rest::BeforeChunk { is_first } = self.rest
            && !to.is_empty()
        {
            self.next_chunk(is_first)?;
        }
        let most = match self.rest {
            Rest::BeforeChunk { .. } => 0,
            Rest::Bytes(left) | Rest::Chunk(left) => {
                to.len().min(left.try_into().unwrap_or(usize::MAX))
            }
            Rest::Unknown => to.len(),
        };
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut to[..most])?;
        match &mut self.rest {
            Rest::Unknown | Rest::BeforeChunk { .. } => {}
            Rest::Bytes(_) | Rest::Chunk(_) if count == 0 => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off"));
            }
            Rest::Bytes(left) => *left -= count as u64,
            Rest::Chunk(left) => {
                *left -= count as u64;
                if *left == 0 {
                    self.rest = Rest::BeforeChunk { is_first: false };
                }
            }
        }
        Ok(count)
    }
}

/// Reads a line without its end. An end of the connection is an error.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(not_http());
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| not_http())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> io::Result<(u16, String)> {
        let mut response = AdminResponse::read(text.as_bytes())?;
        let mut body = String::new();
        response.read_to_string(&mut body)?;
        Ok((response.status, body))
    }

    #[test]
    fn a_body_ends_with_its_length_its_last_chunk_or_the_connection() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "ab"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nabc", "abc"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
                "abc",
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
        ] {
            assert_eq!(whole(text).expect(text), (200, body.to_owned()));
        }
    }

    /// A reader whose last bytes never come.
    struct Waiting<'a>(&'a [u8]);

    impl Read for Waiting<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "it waits for what is not there yet");
            self.0.read(to)
        }
    }

    #[test]
    fn a_chunk_is_handed_out_before_the_next_one_is_there() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        let mut response = AdminResponse::read(Waiting(text.as_bytes())).expect("a head");
        let mut buffer = [0; 10];
        assert_eq!(response.read(&mut buffer).expect("a chunk"), 2);
    }

    #[test]
    fn what_breaks_off_or_is_not_http_is_an_error() {
        for (text, is_http) in [
            ("SSH-2.0-OpenSSH_9\r\n\r\n", false),
            ("", false),
            ("HTTP/1.1 banana\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false),
        ] {
            let error = whole(text).expect_err(text);
            assert_eq!(is_not_http(&error), !is_http, "{text:?} {error}");
        }
    }
}
