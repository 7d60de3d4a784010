//! Where a message stands in the bytes that a worker wrote, and why there is none.
//!
//! Pure: what all decoders share: the place of a message, the notes about one that is not whole
//! yet, line ends, and the limit on its length.

/// Why a worker's output cannot be cut into messages. The worker must be stopped.
///
/// The text of this error may be told to callers: it repeats nothing of what the worker wrote,
/// which may be the answer to someone else. Operators should also see [`Broken::found`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A message is longer than `message_max`, or announces that it will be.
    #[error("a message longer than {limit} bytes (`message_max`)")]
    TooBig {
        /// `message_max`, in bytes.
        limit: usize,
    },
    /// The bytes do not follow the framing.
    #[error("expected {expected}, got something else")]
    Malformed {
        /// What had to come, in words.
        expected: &'static str,
        /// What came instead, escaped and cut short. Not for callers.
        found: String,
    },
}

impl Broken {
    /// What the worker wrote instead, escaped and cut short. For the log, never for callers.
    pub fn found(&self) -> Option<&str> {
        match self {
            Self::TooBig { .. } => None,
            Self::Malformed { found, .. } => Some(found),
        }
    }

    pub(super) fn malformed(expected: &'static str, found: &[u8]) -> Self {
        let shown = &found[..found.len().min(40)];
        Self::Malformed { expected, found: format!("\"{}\"", shown.escape_ascii()) }
    }
}

/// Where a message stands in the buffer, and where the next one begins.
pub(super) struct Cut {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) next: usize,
    /// An inner line ends with a CR, which is not part of the message.
    pub(super) has_returns: bool,
}

/// What is known about the unfinished message at the front of the buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct SearchState {
    /// No end was found before this place.
    pub(super) searched: usize,
    /// Where the line that is being searched began.
    pub(super) line_start: usize,
    /// How many lines have ended.
    pub(super) lines: usize,
    /// One of those lines ended with CR LF.
    pub(super) has_returns: bool,
    /// The value of the `Content-Length` header.
    pub(super) length: Option<usize>,
    /// Where the header ended and the body begins.
    pub(super) body: Option<usize>,
}

/// Finds the end of the current line and the beginning of the next one.
#[inline]
pub(super) fn next_line(buffer: &[u8], progress: &mut SearchState) -> Option<(usize, usize)> {
    let Some(found) = memchr::memchr(b'\n', &buffer[progress.searched..]) else {
        progress.searched = buffer.len();
        return None;
    };
    let feed = progress.searched + found;
    progress.searched = feed + 1;
    let line = &buffer[progress.line_start..feed];
    Some((progress.line_start + length_without_return(line), feed + 1))
}

/// The length of a line without the CR at its end.
pub(super) fn length_without_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Checks the length of a message whose end was found.
pub(super) fn fits(length: usize, limit: usize) -> Result<(), Broken> {
    if length > limit { Err(Broken::TooBig { limit }) } else { Ok(()) }
}

/// Checks the length of a message whose end was not found. The end takes at most `end_length`
/// bytes, and the last of them has not come: once there is no room for it within the limit, the
/// message must exceed the limit.
#[inline]
pub(super) fn may_still_fit(
    buffer: &[u8],
    end_length: usize,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    if buffer.len() >= limit.saturating_add(end_length) {
        return Err(Broken::TooBig { limit });
    }
    Ok(None)
}
