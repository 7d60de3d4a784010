//! Framings that give a message's length before its bytes: binary prefixes, netstrings and
//! `Content-Length` headers.
//!
//! Pure: a length above the limit is rejected as soon as it is read, before the server waits for
//! the message or takes memory for it.

use super::cut::{Broken, Cut, SearchState, next_line};

/// The most bytes of a `Content-Length` header, its empty line included.
const HEADER_MAX: usize = 8 * 1024;

/// The kinds of binary prefixes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prefix {
    U16,
    U32,
    U32le,
}

pub(super) fn find_binary(
    prefix: Prefix,
    buffer: &[u8],
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    let (start, length) = match prefix {
        Prefix::U16 => {
            let Some(bytes) = buffer.first_chunk() else { return Ok(None) };
            (2, u32::from(u16::from_be_bytes(*bytes)))
        }
        Prefix::U32 => {
            let Some(bytes) = buffer.first_chunk() else { return Ok(None) };
            (4, u32::from_be_bytes(*bytes))
        }
        Prefix::U32le => {
            let Some(bytes) = buffer.first_chunk() else { return Ok(None) };
            (4, u32::from_le_bytes(*bytes))
        }
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= limit);
    let length = length.ok_or(Broken::TooBig { limit })?;
    Ok(whole(buffer, start, length, 0))
}

pub(super) fn find_netstring(buffer: &[u8], limit: usize) -> Result<Option<Cut>, Broken> {
    let expected = "a netstring's length without leading zeros and a colon";
    let digits = buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 1 && buffer[0] == b'0' {
        return Err(Broken::malformed(expected, buffer));
    }
    let length = read_length(&buffer[..digits], limit)?;
    match buffer.get(digits) {
        None => return Ok(None),
        Some(b':') if digits > 0 => {}
        Some(_) => return Err(Broken::malformed(expected, buffer)),
    }
    let Some(cut) = whole(buffer, digits + 1, length, 1) else { return Ok(None) };
    if buffer[cut.end] != b',' {
        return Err(Broken::malformed("the comma after a netstring", &buffer[cut.end..]));
    }
    Ok(Some(cut))
}

pub(super) fn find_content_length(
    buffer: &[u8],
    progress: &mut SearchState,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    while progress.body.is_none() {
        let Some((end, next)) = next_line(buffer, progress) else {
            if buffer.len() > HEADER_MAX {
                return Err(Broken::malformed("a header of at most 8 KiB", buffer));
            }
            return Ok(None);
        };
        if next > HEADER_MAX {
            return Err(Broken::malformed("a header of at most 8 KiB", buffer));
        }
        let line = &buffer[progress.line_start..end];
        if line.is_empty() {
            progress.body = Some(next);
        } else if let Some(length) = read_header(line, limit)?
            && progress.length.replace(length).is_some()
        {
            return Err(Broken::malformed("`Content-Length` once", line));
        }
        progress.line_start = next;
    }
    let start = progress.body.expect("the loop ends when the header does");
    let header = &buffer[..start];
    let length = progress.length.ok_or_else(|| Broken::malformed("a `Content-Length`", header))?;
    Ok(whole(buffer, start, length, 0))
}

/// Returns the value of a header line if its name is `Content-Length`.
fn read_header(line: &[u8], limit: usize) -> Result<Option<usize>, Broken> {
    let expected = "a header line such as `Content-Length: 12`";
    let colon = memchr::memchr(b':', line).ok_or_else(|| Broken::malformed(expected, line))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if !name.trim_ascii_end().eq_ignore_ascii_case(b"content-length") {
        return Ok(None);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Broken::malformed(expected, line));
    }
    read_length(value, limit).map(Some)
}

/// Reads decimal digits. Stops once the number exceeds the limit, so any number of digits is safe.
fn read_length(digits: &[u8], limit: usize) -> Result<usize, Broken> {
    digits.iter().try_fold(0_usize, |length, digit| {
        let length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        if length > limit { Err(Broken::TooBig { limit }) } else { Ok(length) }
    })
}

/// Returns the message of this length, if all of it and the `after` bytes behind it are there.
fn whole(buffer: &[u8], start: usize, length: usize, after: usize) -> Option<Cut> {
    let end = start.checked_add(length)?;
    let next = end.checked_add(after)?;
    (buffer.len() >= next).then_some(Cut { start, end, next, has_returns: false })
}
