//! Bytes to answers: cuts the next message off the front of what a worker wrote.
//!
//! Pure. Messages are cut without copying, and no byte is searched twice however small the
//! pieces are in which it comes: a message of 16 MiB in pieces of one byte costs as much as in
//! one (`until:` looks at one sentinel's length again for each piece).
//!
//! A line is what stands before LF, less one CR right before it. The limit holds for what stands
//! before a message's end and is enforced as soon as it is certain to be passed, so no worker
//! can make the server hold more than that (and one read).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::length;
use crate::config::Framing;

/// Cuts messages out of one worker's output.
#[derive(Clone, Debug)]
pub struct Decoder {
    ending: Ending,
    limit: usize,
    progress: Progress,
}

/// Why a worker's output cannot be cut into messages any further. The worker must be stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A message is longer than `message_max`, or says that it will be.
    #[error("a message longer than {limit} bytes (`message_max`)")]
    TooBig {
        /// `message_max`, in bytes.
        limit: usize,
    },
    /// The bytes do not follow the framing.
    #[error("expected {expected}, got {found}")]
    Malformed {
        /// What had to come, in words.
        expected: &'static str,
        /// What came instead, escaped and cut short. For the operator only.
        found: String,
    },
}

/// Where in the buffer a message stands and where the next begins.
pub(super) struct Cut {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) next: usize,
    /// Some inner line ended with a CR, which is no part of the message.
    pub(super) returns: bool,
}

/// What is known about the unfinished message at the front of the buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The end is not before this place.
    pub(super) searched: usize,
    /// Where the line that is being searched began.
    pub(super) line_start: usize,
    /// Lines that ended.
    lines: usize,
    /// One of them ended with CR LF.
    returns: bool,
    /// The `Content-Length` that was read.
    pub(super) length: Option<usize>,
    /// The header ended here.
    pub(super) body: Option<usize>,
}

#[derive(Clone, Debug)]
enum Ending {
    Line,
    Nul,
    Lines(usize),
    Block,
    LastLine(Regex),
    Until(Sentinel),
    Binary(length::Prefix),
    Netstring,
    ContentLength,
}

/// The text that ends a message, with places for a nonce.
#[derive(Clone, Debug)]
pub(super) struct Sentinel {
    /// What stands around each `{nonce}`.
    pieces: Vec<Vec<u8>>,
    /// Of a sentinel without a nonce.
    finder: Option<Finder<'static>>,
}

impl Decoder {
    /// A decoder for `framing.reply` of a pool with this `message_max`, in bytes.
    pub fn new(framing: &Framing, message_max: usize) -> Self {
        let ending = match framing {
            Framing::Line => Ending::Line,
            Framing::Nul => Ending::Nul,
            Framing::Lines(count) => Ending::Lines((*count).max(1)),
            Framing::Block => Ending::Block,
            Framing::Until(text) => Ending::Until(Sentinel::new(text)),
            Framing::LastLine(regex) => Ending::LastLine(regex.clone()),
            Framing::U16 => Ending::Binary(length::Prefix::U16),
            Framing::U32 => Ending::Binary(length::Prefix::U32),
            Framing::U32le => Ending::Binary(length::Prefix::U32le),
            Framing::Netstring => Ending::Netstring,
            Framing::ContentLength => Ending::ContentLength,
        };
        Self { ending, limit: message_max, progress: Progress::default() }
    }

    /// Cuts the next message off the front of `buffer`; `None`: more bytes are needed. `nonce`
    /// is that of the oldest call in the worker; without one, a sentinel that holds `{nonce}`
    /// is not found.
    ///
    /// Between two calls, bytes may only be added to the end of `buffer`; else
    /// [`Decoder::reset`].
    ///
    /// # Errors
    ///
    /// [`Broken`]; from then on neither buffer nor decoder mean anything.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        nonce: Option<&[u8]>,
    ) -> Result<Option<Bytes>, Broken> {
        let Some(cut) = self.find(buffer, nonce)? else { return Ok(None) };
        self.progress = Progress::default();
        let mut message = buffer.split_to(cut.next);
        message.truncate(cut.end);
        message.advance(cut.start);
        Ok(Some(if cut.returns { without_returns(&message) } else { message.freeze() }))
    }

    /// Forgets what it knows of an unfinished message, because `buffer` was changed by others.
    pub fn reset(&mut self) {
        self.progress = Progress::default();
    }

    /// Has a message begun that is not whole? If not, a silent worker is between two messages.
    pub fn is_mid_message(&self, buffer: &BytesMut) -> bool {
        !buffer.is_empty()
    }

    #[inline]
    fn find(&mut self, buffer: &[u8], nonce: Option<&[u8]>) -> Result<Option<Cut>, Broken> {
        let (progress, limit) = (&mut self.progress, self.limit);
        match &self.ending {
            Ending::Line => find_lines(buffer, progress, limit, |_, _| true),
            Ending::Nul => find_nul(buffer, progress, limit),
            Ending::Lines(count) => find_lines(buffer, progress, limit, |lines, _| lines == *count),
            Ending::LastLine(regex) => {
                find_lines(buffer, progress, limit, |_, line| regex.is_match(line))
            }
            Ending::Block => find_block(buffer, progress, limit),
            Ending::Until(sentinel) => sentinel.find(buffer, nonce, progress, limit),
            Ending::Binary(prefix) => length::find_binary(*prefix, buffer, limit),
            Ending::Netstring => length::find_netstring(buffer, limit),
            Ending::ContentLength => length::find_content_length(buffer, progress, limit),
        }
    }
}

/// Ends with the first line for which `is_last(its number, the line)`.
#[inline]
fn find_lines(
    buffer: &[u8],
    progress: &mut Progress,
    limit: usize,
    is_last: impl Fn(usize, &[u8]) -> bool,
) -> Result<Option<Cut>, Broken> {
    while let Some((end, next)) = next_line(buffer, progress) {
        let start = progress.line_start;
        progress.lines += 1;
        fits(end, limit)?;
        if is_last(progress.lines, &buffer[start..end]) {
            return Ok(Some(Cut { start: 0, end, next, returns: progress.returns }));
        }
        progress.returns |= end + 1 < next;
        progress.line_start = next;
    }
    may_still_fit(buffer, 2, limit)
}

/// Ends with the first empty line, which is no part of the message.
fn find_block(buffer: &[u8], progress: &mut Progress, limit: usize) -> Result<Option<Cut>, Broken> {
    while let Some((end, next)) = next_line(buffer, progress) {
        let start = progress.line_start;
        if start == end {
            let end = buffer[..start].strip_suffix(b"\n").map_or(0, less_return);
            fits(end, limit)?;
            return Ok(Some(Cut { start: 0, end, next, returns: progress.returns }));
        }
        progress.returns |= end + 1 < next;
        progress.line_start = next;
    }
    may_still_fit(buffer, 4, limit)
}

fn find_nul(buffer: &[u8], progress: &mut Progress, limit: usize) -> Result<Option<Cut>, Broken> {
    if let Some(found) = memchr::memchr(0, &buffer[progress.searched..]) {
        let end = progress.searched + found;
        fits(end, limit)?;
        return Ok(Some(Cut { start: 0, end, next: end + 1, returns: false }));
    }
    progress.searched = buffer.len();
    may_still_fit(buffer, 1, limit)
}

/// Where the next line ends, and where the one after it begins.
#[inline]
pub(super) fn next_line(buffer: &[u8], progress: &mut Progress) -> Option<(usize, usize)> {
    let Some(found) = memchr::memchr(b'\n', &buffer[progress.searched..]) else {
        progress.searched = buffer.len();
        return None;
    };
    let feed = progress.searched + found;
    progress.searched = feed + 1;
    let line = &buffer[progress.line_start..feed];
    Some((progress.line_start + less_return(line), feed + 1))
}

/// The length of a line without the CR at its end.
fn less_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

fn fits(length: usize, limit: usize) -> Result<(), Broken> {
    if length > limit { Err(Broken::TooBig { limit }) } else { Ok(()) }
}

/// The end of the message was not found; is there still a place for it? It takes at most
/// `end_length` bytes, the last of which is still to come.
#[inline]
fn may_still_fit(buffer: &[u8], end_length: usize, limit: usize) -> Result<Option<Cut>, Broken> {
    if buffer.len() >= limit.saturating_add(end_length) {
        return Err(Broken::TooBig { limit });
    }
    Ok(None)
}

/// The lines of a message whose inner lines ended with CR LF, joined by LF.
fn without_returns(message: &[u8]) -> Bytes {
    let mut lines = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                lines.extend_from_slice(text);
                lines.push(b'\n');
            }
            None => lines.extend_from_slice(line),
        }
    }
    lines.into()
}

impl Sentinel {
    pub(super) fn new(text: &str) -> Self {
        let pieces: Vec<_> = text.split("{nonce}").map(|piece| piece.as_bytes().to_vec()).collect();
        let finder = match pieces.as_slice() {
            [whole] => Some(Finder::new(whole).into_owned()),
            _ => None,
        };
        Self { pieces, finder }
    }

    /// Writes it with this nonce.
    pub(super) fn write(&self, nonce: &[u8], out: &mut BytesMut) {
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(nonce);
            }
            out.extend_from_slice(piece);
        }
    }

    fn find(
        &self,
        buffer: &[u8],
        nonce: Option<&[u8]>,
        progress: &mut Progress,
        limit: usize,
    ) -> Result<Option<Cut>, Broken> {
        if let Some(finder) = &self.finder {
            return find_text(finder, buffer, progress, limit);
        }
        let Some(nonce) = nonce else { return may_still_fit(buffer, 1, limit) };
        let mut text = BytesMut::new();
        self.write(nonce, &mut text);
        find_text(&Finder::new(&text), buffer, progress, limit)
    }
}

fn find_text(
    finder: &Finder<'_>,
    buffer: &[u8],
    progress: &mut Progress,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    let length = finder.needle().len();
    if let Some(found) = finder.find(&buffer[progress.searched..]) {
        let end = progress.searched + found;
        fits(end, limit)?;
        return Ok(Some(Cut { start: 0, end, next: end + length, returns: false }));
    }
    // The sentinel may have begun in what is here already.
    progress.searched = (buffer.len() + 1).saturating_sub(length);
    may_still_fit(buffer, length, limit)
}
