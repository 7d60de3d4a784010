//! Framing: questions to bytes, bytes to messages, answers to replies.

use bytes::{Bytes, BytesMut};
use httpipe::testing::base::ByteRegex;
use httpipe::testing::config::Framing;
use httpipe::testing::wire::{Decoder, Encoder, Judge};

use crate::{Bench, pool};

const LIMIT: usize = 16 << 20;
const MESSAGES: u32 = 64;

pub(crate) fn all(bench: &Bench) {
    for (name, framing) in [
        ("line", Framing::Line),
        ("nul", Framing::Nul),
        ("block", Framing::Block),
        ("u16", Framing::U16),
        ("u32", Framing::U32),
        ("netstring", Framing::Netstring),
        ("content-length", Framing::ContentLength),
    ] {
        encode(bench, name, &framing);
        decode(bench, name, &framing, &framed(&framing, b"10|55", 1));
    }
    // Only answers use these framings.
    decode(bench, "lines:2", &Framing::Lines(2), b"10\n55\n");
    decode(bench, "until:done", &Framing::Until("done".into()), b"10|55 done");
    let number = ByteRegex::new("^[0-9]+$").expect("it is well formed");
    decode(bench, "last-line:^[0-9]+$", &Framing::LastLine(number), b"the result is\n55\n");
    let long = vec![b'7'; 1 << 20];
    decode_one(bench, "codec: decode a line of 1 MiB", &long);
    decode_in_pieces(bench, "codec: decode a line of 1 MiB in pieces of 4 KiB", &long);
    judge(bench);
}

fn encode(bench: &Bench, name: &str, framing: &Framing) {
    let encoder = Encoder::new(framing, LIMIT);
    let mut out = BytesMut::with_capacity(1 << 16);
    bench.run(&format!("codec: encode {name}"), MESSAGES, || {
        out.clear();
        for _ in 0..MESSAGES {
            encoder.encode(b"", b"1000", None, &mut out).expect("it is short");
        }
    });
}

fn framed(framing: &Framing, text: &[u8], count: u32) -> BytesMut {
    let mut out = BytesMut::new();
    for _ in 0..count {
        Encoder::new(framing, LIMIT).encode(b"", text, None, &mut out).expect("it is short");
    }
    out
}

/// Decodes one read with many copies of `answer`, as the program writes it.
fn decode(bench: &Bench, name: &str, framing: &Framing, answer: &[u8]) {
    let bytes = answer.repeat(MESSAGES as usize);
    let mut decoder = Decoder::new(framing, LIMIT);
    bench.run(&format!("codec: decode {name}, {MESSAGES} in a read"), MESSAGES, || {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut count = 0;
        while decoder.next(&mut buffer, None).expect("it is well formed").is_some() {
            count += 1;
        }
        assert_eq!(count, MESSAGES);
    });
}

fn decode_one(bench: &Bench, name: &str, text: &[u8]) {
    let bytes = framed(&Framing::Line, text, 1);
    let mut decoder = Decoder::new(&Framing::Line, LIMIT);
    bench.run(name, 1, || {
        let mut buffer = BytesMut::from(&bytes[..]);
        decoder.next(&mut buffer, None).expect("it is well formed").expect("it is whole")
    });
}

/// Decodes a long message from many reads. No byte may be searched twice.
fn decode_in_pieces(bench: &Bench, name: &str, text: &[u8]) {
    let bytes = framed(&Framing::Line, text, 1);
    let mut decoder = Decoder::new(&Framing::Line, LIMIT);
    bench.run(name, 1, || {
        let mut buffer = BytesMut::with_capacity(bytes.len());
        let mut found = None;
        for piece in bytes.chunks(4096) {
            buffer.extend_from_slice(piece);
            found = decoder.next(&mut buffer, None).expect("it is well formed");
        }
        found.expect("it is whole")
    });
}

fn judge(bench: &Bench) {
    let with_pattern = Judge::new(&pool("reply = \"{input}|{result}\"").program.wire);
    let answer = Bytes::from_static(b"10|55");
    bench.run("codec: judge {input}|{result}", 1, || {
        with_pattern.judge(b"10", answer.clone(), false)
    });
    let with_error = Judge::new(
        &pool("reply = \"{input}|{result}\"\nerror = \"e|{input}|{message}\"").program.wire,
    );
    bench.run("codec: judge with an error pattern before", 1, || {
        with_error.judge(b"10", answer.clone(), false)
    });
    let json = Judge::new(&pool("reply = \"json\"").program.wire);
    let document = Bytes::from_static(br#"{"result":"55","of":[1,2,3]}"#);
    bench.run("codec: judge json", 1, || json.judge(b"10", document.clone(), true));
}
