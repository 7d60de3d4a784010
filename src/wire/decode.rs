//! Bytes to answers: cuts the next message off the front of what a worker wrote.
//!
//! Pure: messages are cut without copying, and no byte is searched twice: a message of 16 MiB
//! costs the same in one piece as in pieces of one byte. (`until:` searches the length of its
//! sentinel again for each piece.)
//!
//! A line ends before LF, or before CR LF. The limit holds for the message without its end. A
//! message is rejected as soon as it must exceed the limit, so a worker can make the server hold
//! no more than the limit and one read.

use bytes::{Buf, Bytes, BytesMut};

use super::cut::{Broken, Cut, SearchState, fits, length_without_return, may_still_fit, next_line};
use super::length;
use super::sentinel::Sentinel;
use crate::base::ByteRegex;
use crate::config::Framing;

/// Cuts messages out of one worker's output.
#[derive(Clone, Debug)]
pub struct Decoder {
    end: MessageEnd,
    limit: usize,
    progress: SearchState,
}

/// How the end of a message is known.
#[derive(Clone, Debug)]
enum MessageEnd {
    Line,
    Nul,
    Lines(usize),
    Block,
    LastLine(ByteRegex),
    Until(Sentinel),
    Binary(length::Prefix),
    Netstring,
    ContentLength,
    /// Not the bytes tell where a message ends.
    Outside,
}

impl Decoder {
    /// A decoder for `framing.reply` of a pool with this `message_max`, in bytes.
    pub fn new(framing: &Framing, message_max: usize) -> Self {
        let end = match framing {
            Framing::Line => MessageEnd::Line,
            Framing::Nul => MessageEnd::Nul,
            Framing::Lines(count) => MessageEnd::Lines((*count).max(1)),
            Framing::Block => MessageEnd::Block,
            Framing::Until(text) => MessageEnd::Until(Sentinel::new(text)),
            Framing::LastLine(regex) => MessageEnd::LastLine(regex.clone()),
            Framing::U16 => MessageEnd::Binary(length::Prefix::U16),
            Framing::U32 => MessageEnd::Binary(length::Prefix::U32),
            Framing::U32le => MessageEnd::Binary(length::Prefix::U32le),
            Framing::Netstring => MessageEnd::Netstring,
            Framing::ContentLength => MessageEnd::ContentLength,
            Framing::Turn | Framing::Eof => MessageEnd::Outside,
        };
        Self { end, limit: message_max, progress: SearchState::default() }
    }

    /// Cuts the next message off the front of `buffer`; `None` if more bytes are needed. `nonce`
    /// is the nonce of the oldest call in the worker: without one, a sentinel with `{nonce}` is
    /// not found.
    ///
    /// Between two uses, bytes may only be added to the end of `buffer`. After any other change,
    /// use [`Decoder::reset`].
    ///
    /// # Errors
    ///
    /// [`Broken`]. After it, neither the buffer nor the decoder can be used again.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        nonce: Option<&[u8]>,
    ) -> Result<Option<Bytes>, Broken> {
        let Some(cut) = self.find(buffer, nonce)? else { return Ok(None) };
        self.progress = SearchState::default();
        let mut message = buffer.split_to(cut.next);
        message.truncate(cut.end);
        message.advance(cut.start);
        Ok(Some(if cut.has_returns { without_returns(&message) } else { message.freeze() }))
    }

    /// Forgets the progress in an unfinished message, after a change to the front of `buffer`.
    pub fn reset(&mut self) {
        self.progress = SearchState::default();
    }

    /// Returns true if a message has begun and is not whole. If false, a silent worker is between
    /// two messages.
    pub fn is_mid_message(&self, buffer: &BytesMut) -> bool {
        !buffer.is_empty()
    }

    #[inline]
    fn find(&mut self, buffer: &[u8], nonce: Option<&[u8]>) -> Result<Option<Cut>, Broken> {
        let (progress, limit) = (&mut self.progress, self.limit);
        match &self.end {
            MessageEnd::Line => find_lines(buffer, progress, limit, |_, _| true),
            MessageEnd::Nul => find_nul(buffer, progress, limit),
            MessageEnd::Lines(count) => {
                find_lines(buffer, progress, limit, |lines, _| lines == *count)
            }
            MessageEnd::LastLine(regex) => {
                find_lines(buffer, progress, limit, |_, line| regex.is_match(line))
            }
            MessageEnd::Block => find_block(buffer, progress, limit),
            MessageEnd::Until(sentinel) => sentinel.find(buffer, nonce, progress, limit),
            MessageEnd::Binary(prefix) => length::find_binary(*prefix, buffer, limit),
            MessageEnd::Netstring => length::find_netstring(buffer, limit),
            MessageEnd::ContentLength => length::find_content_length(buffer, progress, limit),
            MessageEnd::Outside => may_still_fit(buffer, 1, limit),
        }
    }
}

/// Finds a message that ends with the first line for which `is_last(number, line)` is true.
#[inline]
fn find_lines(
    buffer: &[u8],
    progress: &mut SearchState,
    limit: usize,
    is_last: impl Fn(usize, &[u8]) -> bool,
) -> Result<Option<Cut>, Broken> {
    while let Some((end, next)) = next_line(buffer, progress) {
        let start = progress.line_start;
        progress.lines += 1;
        fits(end, limit)?;
        if is_last(progress.lines, &buffer[start..end]) {
            return Ok(Some(Cut { start: 0, end, next, has_returns: progress.has_returns }));
        }
        progress.has_returns |= end + 1 < next;
        progress.line_start = next;
    }
    may_still_fit(buffer, 2, limit)
}

/// Finds a message that ends before the first empty line.
fn find_block(
    buffer: &[u8],
    progress: &mut SearchState,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    while let Some((end, next)) = next_line(buffer, progress) {
        let start = progress.line_start;
        if start == end {
            let end = buffer[..start].strip_suffix(b"\n").map_or(0, length_without_return);
            fits(end, limit)?;
            return Ok(Some(Cut { start: 0, end, next, has_returns: progress.has_returns }));
        }
        progress.has_returns |= end + 1 < next;
        progress.line_start = next;
    }
    may_still_fit(buffer, 4, limit)
}

fn find_nul(
    buffer: &[u8],
    progress: &mut SearchState,
    limit: usize,
) -> Result<Option<Cut>, Broken> {
    if let Some(found) = memchr::memchr(0, &buffer[progress.searched..]) {
        let end = progress.searched + found;
        fits(end, limit)?;
        return Ok(Some(Cut { start: 0, end, next: end + 1, has_returns: false }));
    }
    progress.searched = buffer.len();
    may_still_fit(buffer, 1, limit)
}

/// Joins the lines of a message by LF where its inner lines end with CR LF.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Encoder;

    const NONCE: &[u8] = b"c0ffee";

    fn until(text: &str) -> Framing {
        Framing::Until(text.to_owned())
    }

    fn last_line(regex: &str) -> Framing {
        Framing::LastLine(ByteRegex::new(regex).expect("a regex"))
    }

    fn all_framings() -> Vec<Framing> {
        vec![
            Framing::Line,
            Framing::Nul,
            Framing::Lines(1),
            Framing::Lines(3),
            Framing::Block,
            until("> "),
            until("abab"),
            until("{nonce}\n"),
            last_line("^(OK|ERR)"),
            Framing::U16,
            Framing::U32,
            Framing::U32le,
            Framing::Netstring,
            Framing::ContentLength,
        ]
    }

    /// What comes out when the bytes come in these pieces: messages, then how it broke.
    fn cut<'a>(
        framing: &Framing,
        limit: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Option<Broken>) {
        let (mut decoder, mut buffer) = (Decoder::new(framing, limit), BytesMut::new());
        let mut messages = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.next(&mut buffer, Some(NONCE)) {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => break,
                    Err(broken) => return (messages, Some(broken)),
                }
            }
        }
        (messages, None)
    }

    /// Without what was found, which says only as much as had come.
    fn without_found(
        (messages, broken): (Vec<Vec<u8>>, Option<Broken>),
    ) -> (Vec<Vec<u8>>, Option<Broken>) {
        let broken = broken.map(|broken| match broken {
            Broken::Malformed { expected, .. } => {
                Broken::Malformed { expected, found: String::new() }
            }
            too_big @ Broken::TooBig { .. } => too_big,
        });
        (messages, broken)
    }

    fn is_cut_into(framing: &Framing, stream: &[u8], expected: &[&[u8]]) {
        let expected: Vec<_> = expected.iter().map(|message| message.to_vec()).collect();
        assert_eq!(cut(framing, 1000, [stream]), (expected.clone(), None), "{framing:?}, at once");
        let one_by_one = cut(framing, 1000, stream.chunks(1));
        assert_eq!(one_by_one, (expected, None), "{framing:?}, byte by byte");
    }

    fn breaks(framing: &Framing, limit: usize, stream: &[u8]) -> Broken {
        let (messages, broken) = cut(framing, limit, [stream]);
        assert_eq!(messages, Vec::<Vec<u8>>::new(), "{framing:?}");
        broken.unwrap_or_else(|| panic!("{framing:?} took {}", stream.escape_ascii()))
    }

    #[test]
    fn real_programs_are_understood() {
        use Framing::{Block, ContentLength, Line, Lines, Netstring, U16, U32};
        // sed, jq, gp, squid
        is_cut_into(&Line, b"X b\n[1,2]\n\n7 ERR\n", &[b"X b", b"[1,2]", b"", b"7 ERR"]);
        is_cut_into(&Line, b"a\r\nb\rc\n\r\n", &[b"a", b"b\rc", b""]);
        // addr2line
        is_cut_into(&Lines(2), b"main\nf.c:1\n??\n??:0\n", &[b"main\nf.c:1", b"??\n??:0"]);
        // hunspell: one word, none, two
        let answers = b"& helo 2 1: hole, help\n\n\n*\n+ a\n\n";
        is_cut_into(&Block, answers, &[b"& helo 2 1: hole, help", b"", b"*\n+ a"]);
        // exiftool, sqlite3, a prompt
        is_cut_into(&until("{ready}\n"), b"12.57\n{ready}\n{ready}\n", &[b"12.57\n", b""]);
        is_cut_into(&until("<EOA>\n"), b"[{\"x\":2}]\n<EOA>\n", &[b"[{\"x\":2}]\n"]);
        is_cut_into(&until("{nonce}\n"), b"<EOA>\nc0ffee\n", &[b"<EOA>\n"]);
        is_cut_into(&until("> "), b"1> > 2> ", &[b"1", b"", b"2"]);
        // mecab, dot, gpg-agent
        is_cut_into(&last_line("^EOS$"), b"EOS\na\tb\nEOS\n", &[b"EOS", b"a\tb\nEOS"]);
        is_cut_into(&last_line("^stop$"), b"graph 1 2\nstop\n", &[b"graph 1 2\nstop"]);
        is_cut_into(&last_line("^(OK|ERR)"), b"D x\nOK\nERR 1 no\n", &[b"D x\nOK", b"ERR 1 no"]);
        // ejabberd, erlang
        is_cut_into(&U16, b"\0\x02\0\x01\0\0", &[b"\0\x01", b""]);
        is_cut_into(&U32, b"\0\0\0\x03a\0\n", &[b"a\0\n"]);
        is_cut_into(&Framing::U32le, b"\x03\0\0\0abc", &[b"abc"]);
        is_cut_into(&Netstring, b"5:hello,0:,3:a,b,", &[b"hello", b"", b"a,b"]);
        is_cut_into(&Framing::Nul, b"a\nb\0\0", &[b"a\nb", b""]);
        // clangd, tsserver
        let headers = b"content-type: x; y=z\r\nCONTENT-LENGTH:2\r\n\r\n{}Content-Length: 0\n\n";
        is_cut_into(&ContentLength, headers, &[b"{}", b""]);
    }

    #[test]
    fn lines_that_end_with_cr_lf_are_joined_by_lf() {
        is_cut_into(&Framing::Lines(2), b"a\r\nb\r\n", &[b"a\nb"]);
        is_cut_into(&Framing::Block, b"a\r\nb\rc\r\n\r\nd\n\r\n", &[b"a\nb\rc", b"d"]);
        is_cut_into(&last_line("^OK$"), b"a\r\n\r\nOK\r\n", &[b"a\n\nOK"]);
    }

    #[test]
    fn what_is_not_whole_is_waited_for() {
        let unfinished: [(Framing, &[u8]); 9] = [
            (Framing::Line, b"abc\r"),
            (Framing::Lines(3), b"a\nb\n"),
            (Framing::Block, b"a\n\r"),
            (until("> "), b"abc>"),
            (last_line("^OK$"), b"a\nOK"),
            (Framing::U32, b"\0\0\0\x02a"),
            (Framing::Netstring, b"3:abc"),
            (Framing::ContentLength, b"Content-Length: 3\r\n\r\nab"),
            (Framing::ContentLength, b"Content-Length: 3\r\n"),
        ];
        for (framing, bytes) in unfinished {
            let mut decoder = Decoder::new(&framing, 1000);
            let mut buffer = BytesMut::from(bytes);
            assert_eq!(decoder.next(&mut buffer, None), Ok(None), "{framing:?}");
            assert!(decoder.is_mid_message(&buffer), "{framing:?}");
        }
    }

    #[test]
    fn between_two_messages_nothing_is_unfinished() {
        let mut decoder = Decoder::new(&Framing::Line, 10);
        let mut buffer = BytesMut::from(&b"a\n"[..]);
        assert!(decoder.next(&mut buffer, None).is_ok_and(|message| message.is_some()));
        assert!(!decoder.is_mid_message(&buffer));
    }

    #[test]
    fn the_nonce_of_the_oldest_call_ends_its_answer_and_no_other_does() {
        let mut decoder = Decoder::new(&until("<{nonce}>"), 100);
        let mut buffer = BytesMut::from(&b"a<2><1>b<2>"[..]);
        assert_eq!(decoder.next(&mut buffer, None), Ok(None));
        let first = decoder.next(&mut buffer, Some(b"1")).expect("whole").expect("found");
        assert_eq!(first, "a<2>");
        let second = decoder.next(&mut buffer, Some(b"2")).expect("whole").expect("found");
        assert_eq!(second, "b");
    }

    #[test]
    fn a_message_as_long_as_the_limit_passes_and_one_byte_more_does_not() {
        let texts: [&[u8]; 2] = [b"OK345678", b"OK3456789"];
        for framing in all_framings() {
            if matches!(framing, Framing::Lines(3)) {
                continue;
            }
            let encoder = Encoder::new(&framing, 100);
            let streams = texts.map(|text| {
                let mut stream = BytesMut::new();
                encoder.encode(b"", text, Some(NONCE), &mut stream).expect("short");
                stream
            });
            let good = cut(&framing, 8, [&streams[0][..]]);
            assert_eq!(good, (vec![texts[0].to_vec()], None), "{framing:?}");
            assert_eq!(breaks(&framing, 8, &streams[1]), Broken::TooBig { limit: 8 });
        }
    }

    #[test]
    fn what_ends_a_message_does_not_count_as_part_of_it() {
        let streams: [(Framing, &[u8]); 7] = [
            (Framing::Line, b"OK345678\r\n"),
            (Framing::Lines(1), b"OK345678\r\n"),
            (last_line("^OK"), b"OK345678\r\n"),
            (Framing::Block, b"OK345678\r\n\r\n"),
            (until("12345678"), b"OK34567812345678"),
            (Framing::Netstring, b"8:OK345678,"),
            (Framing::ContentLength, b"Content-Length: 8\r\nX: 12345678\r\n\r\nOK345678"),
        ];
        for (framing, stream) in streams {
            let expected = (vec![b"OK345678".to_vec()], None);
            assert_eq!(cut(&framing, 8, stream.chunks(1)), expected, "{framing:?}");
        }
    }

    #[test]
    fn a_header_may_not_be_endless_in_one_piece_or_in_many() {
        let line = b"X: 0123456789\r\n";
        let header =
            |lines: usize| [&line.repeat(lines)[..], b"Content-Length: 0\r\n\r\n"].concat();
        let (good, bad) = (header(500), header(600));
        for size in [1, 100, bad.len()] {
            let framing = Framing::ContentLength;
            assert_eq!(cut(&framing, 8, good.chunks(size)), (vec![Vec::new()], None));
            let (messages, broken) = cut(&framing, 8, bad.chunks(size));
            assert!(messages.is_empty() && broken.is_some(), "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_message_is_stopped_soon_after_the_limit() {
        for framing in all_framings().into_iter().take(9) {
            assert_eq!(
                breaks(&framing, 8, &[b'x'; 20]),
                Broken::TooBig { limit: 8 },
                "{framing:?}"
            );
        }
        let nonce_unknown = Decoder::new(&until("{nonce}"), 8).next(&mut [0; 20][..].into(), None);
        assert_eq!(nonce_unknown, Err(Broken::TooBig { limit: 8 }));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes() {
        let limit = 16 << 20;
        let streams: [(Framing, &[u8]); 6] = [
            (Framing::U32, b"\xff\xff\xff\xff"),
            (Framing::U32le, b"\x01\0\0\x01"),
            (Framing::Netstring, b"999999999999:"),
            (Framing::Netstring, b"99999999999999999999999999999999"),
            (Framing::ContentLength, b"Content-Length: 9223372036854775808\r\n"),
            (Framing::ContentLength, b"Content-Length: 1000000000000\r\n"),
        ];
        for (framing, stream) in streams {
            assert_eq!(breaks(&framing, limit, stream), Broken::TooBig { limit }, "{framing:?}");
        }
    }

    #[test]
    fn a_message_without_an_end_is_rejected_with_the_byte_that_makes_it_too_long() {
        for (framing, end_length) in [
            (Framing::Line, 2),
            (Framing::Lines(2), 2),
            (last_line("^OK$"), 2),
            (Framing::Block, 4),
            (Framing::Nul, 1),
            (until("> "), 2),
            (until("{nonce}\n"), 7),
        ] {
            let mut decoder = Decoder::new(&framing, 10);
            let mut buffer = BytesMut::from(&vec![b'x'; 10 + end_length - 1][..]);
            assert_eq!(decoder.next(&mut buffer, Some(NONCE)), Ok(None), "{framing:?}");
            buffer.extend_from_slice(b"x");
            let rejected = decoder.next(&mut buffer, Some(NONCE));
            assert_eq!(rejected, Err(Broken::TooBig { limit: 10 }), "{framing:?}");
        }
    }

    #[test]
    fn a_header_of_8_kib_passes_and_one_byte_more_does_not() {
        let end = "\r\nContent-Length: 0\r\n\r\n";
        let header = |length: usize| format!("X: {}{end}", "y".repeat(length - 3 - end.len()));
        let framing = Framing::ContentLength;
        assert_eq!(cut(&framing, 10, [header(8192).as_bytes()]), (vec![Vec::new()], None));
        let broken = breaks(&framing, 10, header(8193).as_bytes());
        assert!(matches!(broken, Broken::Malformed { .. }), "{broken}");
    }

    #[test]
    fn what_does_not_follow_the_framing_is_said_in_words() {
        let long_header = [b"X: ".as_slice(), &[b'y'; 9000]].concat();
        let streams: [(Framing, &[u8]); 12] = [
            (Framing::Netstring, b"05:hello,"),
            (Framing::Netstring, b"00:,"),
            (Framing::Netstring, b":,"),
            (Framing::Netstring, b"-1:,"),
            (Framing::Netstring, b"1 :a,"),
            (Framing::Netstring, b"1:ab"),
            (Framing::ContentLength, b"Content-Length: -1\r\n"),
            (Framing::ContentLength, b"Content-Length: 12abc\r\n"),
            (Framing::ContentLength, b"Content-Length:\r\n"),
            (Framing::ContentLength, b"Content-Type: x\r\n\r\n"),
            (Framing::ContentLength, b"Content-Length: 1\r\nContent-Length: 1\r\n"),
            (Framing::ContentLength, &long_header),
        ];
        for (framing, stream) in streams {
            let broken = breaks(&framing, 1 << 20, stream);
            assert!(matches!(broken, Broken::Malformed { .. }), "{broken}");
        }
        let broken = breaks(&Framing::ContentLength, 99, b"Debug: \x1b[0m\n\n");
        assert_eq!(broken.to_string(), "expected a `Content-Length`, got something else");
        assert_eq!(broken.found(), Some(r#""Debug: \x1b[0m\n\n""#));
    }

    #[test]
    fn no_byte_is_searched_twice() {
        // What is left of the buffer to search when the next piece comes is at most the part of
        // an ending that may have begun; so pieces of one byte cost no more than one big one.
        for (framing, again, begin) in [
            (Framing::Line, 0, ""),
            (Framing::Nul, 0, ""),
            (Framing::Lines(1 << 30), 0, ""),
            (Framing::Block, 0, ""),
            (until("abababac"), 7, ""),
            (until("{nonce}"), 5, ""),
            (last_line("^OK$"), 0, ""),
            (Framing::ContentLength, 0, "X: "),
        ] {
            let (mut decoder, mut buffer) = (Decoder::new(&framing, 1 << 20), BytesMut::new());
            buffer.extend_from_slice(begin.as_bytes());
            for byte in b"ab".repeat(1000) {
                buffer.extend_from_slice(&[byte]);
                assert_eq!(decoder.next(&mut buffer, Some(NONCE)), Ok(None));
                assert!(buffer.len() - decoder.progress.searched <= again, "{framing:?}");
            }
        }
    }

    #[test]
    fn messages_share_the_memory_they_were_read_into() {
        let mut buffer = BytesMut::from(&b"0123456789\nabc\n"[..]);
        let place = buffer.as_ptr();
        let mut decoder = Decoder::new(&Framing::Line, 100);
        let message = decoder.next(&mut buffer, None).expect("whole").expect("a line");
        assert_eq!(message.as_ptr(), place);
    }

    /// Bytes that the framings care about come often.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\0".to_vec()),
            Just(b"\0\0\0\x02".to_vec()),
            Just(b"OK".to_vec()),
            Just(b"> ".to_vec()),
            Just(b"ab".to_vec()),
            Just(b"c0ffee\n".to_vec()),
            Just(b"2:ab,".to_vec()),
            Just(b"Content-Length: 3\r\n\r\nabc".to_vec()),
            Just(b"X:".to_vec()),
            any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_pieces_a_stream_comes_in_change_nothing(
            stream in noise(),
            framing in prop::sample::select(all_framings()),
            sizes in prop::collection::vec(1..5_usize, 0..40),
            limit in 0..20_usize,
        ) {
            let mut rest = &stream[..];
            let mut pieces = Vec::new();
            for size in sizes {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let in_pieces = without_found(cut(&framing, limit, pieces));
            prop_assert_eq!(in_pieces, without_found(cut(&framing, limit, [&stream[..]])));
        }

        #[test]
        fn what_is_encoded_comes_out_again(
            texts in prop::collection::vec("[^\u{0}\r\n]{0,20}", 0..5),
            framing in prop::sample::select(all_framings()),
        ) {
            let encoder = Encoder::new(&framing, 1000);
            let mut stream = BytesMut::new();
            let mut expected = Vec::new();
            for text in texts {
                let text = match framing {
                    Framing::Lines(3) => format!("{text}\n\n{text}"),
                    Framing::LastLine(_) => format!("x{text}\n\nOK {text}"),
                    Framing::Block => format!("x{text}\n {text}"),
                    Framing::Until(_) => text.replace("ab", "").replace("> ", ""),
                    _ => text,
                };
                if matches!(&framing, Framing::Until(end) if end == "abab" && text.ends_with('a')) {
                    continue;
                }
                encoder.encode(b"", text.as_bytes(), Some(NONCE), &mut stream).expect("short");
                expected.push(text.into_bytes());
            }
            prop_assert_eq!(cut(&framing, 1000, [&stream[..]]), (expected, None));
        }
    }
}
