//! The head of a request that is served without hyper, and the head of its response. Both are as hyper
//! reads and writes them; a test beside `bodiless` compares them.
//!
//! Pure: the date is an argument.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode, Uri};
use httparse::Status;

use super::RequestHead;

/// The first line of most responses.
pub(super) const STATUS_OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
/// A head with more fields is left to hyper.
const FIELDS_MOST: usize = 64;

/// How a response says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// There is no body.
    Nothing,
    /// It has so many bytes, at least one.
    Known(u64),
    /// It comes in chunks.
    Chunks,
}

/// What the head of a response has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadSaid {
    /// How the body goes. `None`: there is none, whatever the response has.
    pub(super) body: Option<BodyLength>,
    /// The connection ends with the response.
    pub(super) ends: bool,
}

/// Reads the head of a GET or HEAD over HTTP/1.1 that is all of these bytes into an empty one. Returns
/// whether the caller wants the connection to end with the response. `None`: it is something else, or
/// says something that concerns more than its own answer; hyper reads it again. The head then holds some of its
/// fields, and must be dropped.
pub(super) fn read(text: &Bytes, head: &mut RequestHead) -> Option<bool> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MOST];
    let mut found = httparse::Request::new(&mut []);
    let parsed = found.parse_with_uninit_headers(text, &mut room);
    if parsed != Ok(Status::Complete(text.len())) || found.version != Some(1) {
        return None;
    }
    head.method = match found.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    head.uri = Uri::from_maybe_shared(text.slice_ref(found.path?.as_bytes())).ok()?;
    debug_assert!(
        head.headers.is_empty() && head.extensions.is_empty(),
        "no other request left any"
    );
    head.headers.reserve(found.headers.len());
    let mut closes = false;
    for field in found.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            CONNECTION if field.value.eq_ignore_ascii_case(b"close") => closes = true,
            CONNECTION if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
            CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING | EXPECT | UPGRADE => return None,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value)).ok()?;
        head.headers.append(name, value);
    }
    Some(closes)
}

/// Writes the head of a response, or the rest of it if it has begun, with status 200. `is_head`: it answers HEAD.
/// `closes`: the connection ends with it, which the response may want, too. `length`: that of its body, if its header
/// says nothing else. `None`: there is no saying where such a response ends.
pub(super) fn write(
    to: &mut Vec<u8>,
    (status, headers): (StatusCode, &HeaderMap),
    length: BodyLength,
    is_head: bool,
    closes: bool,
    write_date: impl FnOnce(&mut Vec<u8>),
) -> Option<HeadSaid> {
    let has_begun = !to.is_empty();
    if status.is_informational() || has_begun && status != StatusCode::OK {
        return None;
    }
    if !has_begun {
        write_status(to, status);
    }
    let (mut said, mut has_date, mut says_close) = (None, false, false);
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH if said.is_none() => said = Some(digits(value)?),
            CONTENT_LENGTH | TRANSFER_ENCODING => return None,
            DATE => has_date = true,
            CONNECTION => says_close |= closes_connection(value),
            _ => {}
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    if closes && !says_close {
        to.extend_from_slice(b"connection: close\r\n");
    }
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match length {
        _ if said.is_some() || has_none => {}
        BodyLength::Nothing | BodyLength::Chunks if is_head => {}
        BodyLength::Nothing => to.extend_from_slice(b"content-length: 0\r\n"),
        BodyLength::Known(length) => {
            to.extend_from_slice(b"content-length: ");
            to.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            to.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunks => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if !has_date {
        to.extend_from_slice(b"date: ");
        write_date(to);
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
    let body = (!is_head && !has_none).then(|| said.map_or(length, BodyLength::Known));
    Some(HeadSaid { body, ends: closes || says_close })
}

/// Returns the number that this value is, which is digits and nothing else.
fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Returns true if this field of a connection says that it is to end.
fn closes_connection(value: &HeaderValue) -> bool {
    let mut options = value.as_bytes().split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn write_status(to: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        to.extend_from_slice(STATUS_OK);
        return;
    }
    let reason = status.canonical_reason().unwrap_or("<none>");
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        to.extend_from_slice(part.as_bytes());
    }
}

/// Writes what stands before a chunk of so many bytes.
pub(super) fn write_chunk_size(to: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        to.push(b"0123456789ABCDEF"[length >> (4 * place) & 0xf]);
    }
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// Reads a head. Returns whether the caller wants the connection to end, too.
    fn read(text: &'static str) -> Option<(RequestHead, bool)> {
        let (mut head, ()) = Request::new(()).into_parts();
        let closes = super::read(&Bytes::from_static(text.as_bytes()), &mut head)?;
        Some((head, closes))
    }

    #[test]
    fn a_whole_head_without_a_body_is_read() {
        let head = read("GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:  2 \r\nEmpty:\r\n\r\n");
        let (head, closes) = head.expect("it is one");
        assert_eq!((head.method, head.uri.to_string()), (Method::GET, "/a?b=c".to_owned()));
        let fields: Vec<_> = head.headers.iter().map(|(name, it)| (name.as_str(), it)).collect();
        let value = HeaderValue::from_static;
        let expected = [
            ("host", &value("x")),
            ("x-a", &value("1")),
            ("x-a", &value("2")),
            ("empty", &value("")),
        ];
        assert_eq!(fields, expected);
        assert!(!closes && head.extensions.is_empty());
        let last = read("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
        let (last, closes) = last.expect("it is one");
        assert!(closes && last.method == Method::HEAD);
    }

    #[test]
    fn whatever_is_more_or_less_is_left_to_hyper() {
        for text in [
            "",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\nG",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
            "get / HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET /\u{7f} HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
        ] {
            assert!(read(text).is_none(), "{text:?}");
        }
    }

    fn written(status: u16, fields: &[(&'static str, &'static str)]) -> Option<(HeadSaid, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut to = Vec::new();
        let status = StatusCode::from_u16(status).expect("a status");
        let lines = (status, &headers);
        let head = write(&mut to, lines, BodyLength::Chunks, false, false, |_| ())?;
        Some((head, String::from_utf8(to).expect("ASCII")))
    }

    #[test]
    fn a_length_that_the_response_says_itself_holds() {
        let (head, text) = written(200, &[("content-length", "5")]).expect("it ends");
        assert_eq!(head, HeadSaid { body: Some(BodyLength::Known(5)), ends: false });
        assert!(!text.contains("chunked"), "{text}");
        let (head, _) = written(200, &[("connection", "a, Close")]).expect("it ends");
        assert_eq!(head, HeadSaid { body: Some(BodyLength::Chunks), ends: true });
        assert_eq!(written(204, &[]).expect("it ends").0.body, None);
    }

    #[test]
    fn a_response_whose_end_nobody_could_find_is_not_written() {
        for fields in [
            &[("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-length", "+5")],
            &[("content-length", "")],
        ] {
            assert_eq!(written(200, fields), None, "{fields:?}");
        }
        assert_eq!(written(103, &[]), None);
        let lines = (StatusCode::CREATED, &HeaderMap::new());
        let begun = &mut STATUS_OK.to_vec();
        assert_eq!(write(begun, lines, BodyLength::Chunks, false, false, |_| ()), None);
    }

    #[test]
    fn the_size_of_a_chunk_is_hexadecimal() {
        for (length, text) in [(1, "1\r\n"), (0x1f, "1F\r\n"), (0xab_cdef, "ABCDEF\r\n")] {
            let mut to = Vec::new();
            write_chunk_size(&mut to, length);
            assert_eq!(to, text.as_bytes());
        }
    }
}
