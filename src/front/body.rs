//! Reads the body of a request within its limits, and makes random texts that nobody can guess.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Body;
use rustix::rand::{GetRandomFlags, getrandom};

use super::request::{check_encoding, declared_length};
use crate::base::Failure;
use crate::config::LimitSettings;
use crate::sync::memory::{Exhausted, Memory, Reservation};

/// How much of a body is read, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    bytes: u64,
    until: Instant,
    /// Whose limit `until` is, which decides about the failure.
    too_late: TooLate,
}

#[derive(Clone, Copy, Debug)]
enum TooLate {
    /// The server's.
    Server,
    /// The caller's, who waits for this time in all.
    Caller(std::time::Duration),
}

impl BodyLimits {
    /// The limits of a request whose head ended at `received`.
    pub(super) fn new(
        limits: &LimitSettings,
        received: Instant,
        caller_deadline: Option<Instant>,
    ) -> Self {
        let until = received + limits.body_timeout;
        let bytes = limits.body.0;
        match caller_deadline {
            Some(sooner) if sooner < until => {
                let too_late = TooLate::Caller(sooner.saturating_duration_since(received));
                Self { bytes, until: sooner, too_late }
            }
            _ => Self { bytes, until, too_late: TooLate::Server },
        }
    }
}

/// Reads a whole body, whose `first` bytes were read before. If the header is reason enough to refuse it, nothing is read, so a caller
/// that expects `100 Continue` is refused before it sends the body.
pub(super) async fn read<B: Body<Data = Bytes>>(
    body: Pin<&mut B>,
    first: Bytes,
    headers: &HeaderMap,
    limits: BodyLimits,
    memory: &Arc<Memory>,
) -> Result<Bytes, Failure> {
    check_encoding(headers)?;
    let announced = declared_length(headers);
    if announced.is_some_and(|length| length > limits.bytes) {
        return Err(Failure::BodyTooLarge { limit: limits.bytes });
    }
    let reading = read_to_end(body, first, limits.bytes, announced, memory.reservation());
    in_time(limits, reading).await
}

/// Reads a body up to the first piece that is more than white space.
pub(super) async fn read_beginning<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    limits: BodyLimits,
) -> Result<Bytes, Failure> {
    let reading = async {
        while let Some(data) = piece(&mut body).await? {
            if !data.trim_ascii().is_empty() {
                return Ok(data);
            }
        }
        Ok(Bytes::new())
    };
    in_time(limits, reading).await
}

async fn in_time<T>(
    limits: BodyLimits,
    reading: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout_at(limits.until.into(), reading).await {
        Ok(read) => read,
        Err(_) => Err(match limits.too_late {
            TooLate::Server => Failure::RequestTimeout,
            TooLate::Caller(after) => Failure::Timeout { after, conduct: None },
        }),
    }
}

/// Returns the next piece of a body; `None` after the last.
pub(super) async fn piece<B: Body<Data = Bytes>>(
    body: &mut Pin<&mut B>,
) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let broken =
            |_| Failure::BadRequest { detail: "the body is incomplete or malformed".into() };
        // Trailers are not part of a question.
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn read_to_end<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    mut first: Bytes,
    limit: u64,
    announced: Option<u64>,
    mut reservation: Reservation,
) -> Result<Bytes, Failure> {
    // What is not held yet costs nothing: a caller that announces a large body takes no room from others.
    let mut hold = |bytes: usize| reservation.grow_to(bytes).map_err(|Exhausted| Failure::Busy);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    // Most bodies come in one piece, which then is not copied.
    let mut all = Vec::new();
    while let Some(data) = piece(&mut body).await? {
        let so_far = first.len().max(all.len());
        if (so_far + data.len()) as u64 > limit {
            return Err(Failure::BodyTooLarge { limit });
        }
        if so_far == 0 {
            first = data;
            hold(first.len())?;
            continue;
        }
        let more = data.len() + if all.is_empty() { first.len() } else { 0 };
        if all.capacity() - all.len() < more {
            let room = room_for(all.len() + more, announced, most);
            hold(room)?;
            all.reserve_exact(room - all.len());
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(reservation.keep(if all.is_empty() { first } else { all.into() }))
}

/// Returns for how many bytes of a body room is made. The more has come, the more of the announced
/// length is believed, so few bytes are copied again.
fn room_for(so_far: usize, announced: Option<u64>, most: usize) -> usize {
    let most = announced.and_then(|it| usize::try_from(it).ok()).map_or(most, |it| it.min(most));
    let factor = if announced.is_some() { 4 } else { 2 };
    so_far.saturating_mul(factor).min(most).max(so_far)
}

/// Returns a new text that nobody can guess: 16 random bytes of the system in hexadecimal.
pub(super) fn nonce() -> String {
    let bytes: [u8; 16] = random();
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
        text
    })
}

/// Returns random bytes of the system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // getrandom(2) gives up to 256 bytes at once, and does not wait once the system is up.
    let filled = getrandom(&mut bytes, GetRandomFlags::empty());
    assert!(filled == Ok(N), "the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often room is made for a body that comes in pieces of 64 KiB.
    fn rooms(length: usize, announced: Option<u64>) -> Vec<usize> {
        let (mut rooms, mut so_far) = (vec![0], 64 << 10);
        while so_far < length {
            so_far = length.min(so_far + (64 << 10));
            if so_far > rooms[rooms.len() - 1] {
                rooms.push(room_for(so_far, announced, 16 << 20));
            }
        }
        rooms.split_off(1)
    }

    #[test]
    fn a_body_whose_length_is_known_is_moved_once_at_most() {
        assert_eq!(rooms(1_000_000, Some(1_000_000)), [512 << 10, 1_000_000]);
        assert_eq!(rooms(100_000, Some(100_000)), [100_000]);
        assert_eq!(rooms(1_000_000, None), [256 << 10, 640 << 10, 1408 << 10]);
        assert_eq!(room_for(128 << 10, Some(16 << 20), 16 << 20), 512 << 10, "it may never come");
    }
}
