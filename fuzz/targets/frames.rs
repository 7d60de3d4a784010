//! Any bytes, cut by any framing, in one piece and in many.

#![no_main]

use bytes::BytesMut;
use httpipe::testing::base::ByteRegex;
use httpipe::testing::config::Framing;
use httpipe::testing::wire::{Broken, Decoder};
use libfuzzer_sys::fuzz_target;

const NONCE: &[u8] = b"n0";

fn framing(choice: u8) -> Framing {
    match choice % 13 {
        0 => Framing::Line,
        1 => Framing::Nul,
        2 => Framing::Lines(1),
        3 => Framing::Lines(3),
        4 => Framing::Block,
        5 => Framing::Until("abab".to_owned()),
        6 => Framing::Until("<{nonce}>".to_owned()),
        7 => Framing::LastLine(ByteRegex::new("^(OK|ERR)").expect("a regex")),
        8 => Framing::U16,
        9 => Framing::U32,
        10 => Framing::U32le,
        11 => Framing::Netstring,
        _ => Framing::ContentLength,
    }
}

/// Returns the messages, and how the stream broke.
fn cut<'a>(
    framing: &Framing,
    limit: usize,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<&'static str>) {
    let (mut decoder, mut buffer) = (Decoder::new(framing, limit), BytesMut::new());
    let mut messages = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer, Some(NONCE)) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(Broken::TooBig { .. }) => return (messages, Some("too big")),
                Err(Broken::Malformed { expected, .. }) => return (messages, Some(expected)),
            }
        }
        assert!(buffer.len() <= limit + 9000, "it holds more than one message and a header");
    }
    (messages, None)
}

fuzz_target!(|data: &[u8]| {
    let [choice, limit, size, stream @ ..] = data else { return };
    let (framing, limit) = (framing(*choice), usize::from(*limit));
    let at_once = cut(&framing, limit, std::iter::once(stream));
    assert!(at_once.0.iter().all(|message| message.len() <= limit));
    assert_eq!(at_once, cut(&framing, limit, stream.chunks(1)));
    assert_eq!(at_once, cut(&framing, limit, stream.chunks(usize::from(*size).max(1))));
});
