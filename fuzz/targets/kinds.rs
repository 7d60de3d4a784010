//! What a worker of functions writes, cut anywhere: each call ends at most once, and its parts come
//! before its end.

#![no_main]

use bytes::{Bytes, BytesMut};
use httpipe::testing::base::Question;
use httpipe::testing::config::{Framing, Matching, ProgressShape, ReplyShape, StreamEnd};
use httpipe::testing::wire::{Correlator, Decoder, Encoder, Judge, Received, Share, Verdict};
use libfuzzer_sys::fuzz_target;

/// Calls that are open at the beginning; their tags are 1 to this.
const CALLS: usize = 4;

/// What was received, for one way to cut the bytes.
fn received(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut correlator: Correlator<usize> = Correlator::matching(Matching::Tag, [].iter());
    correlator = correlator.ending_with(StreamEnd::Kind).telling(ProgressShape::Kind);
    let judge = Judge::of(ReplyShape::Kinds, None, 500);
    let encoder = Encoder::new(&Framing::U32, 1 << 20);
    let mut out = BytesMut::new();
    for call in 0..CALLS {
        let question = Question::plain("f {}");
        correlator.ask(call, &question, &encoder, &mut out).expect("a short question");
    }
    let mut decoder = Decoder::new(&Framing::U32, 1 << 16);
    let mut buffer = BytesMut::new();
    let mut ended = [false; CALLS];
    let mut log = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            let message = match decoder.next(&mut buffer, None) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(broken) => {
                    log.push(broken.to_string());
                    return log;
                }
            };
            match correlator.received(message) {
                Received::Answer { token, text, share, .. } => {
                    assert!(!ended[token], "a call ends once");
                    ended[token] = share.is_last();
                    let verdict = match share {
                        Share::End => None,
                        _ => Some(judge.judge(b"f {}", text, true)),
                    };
                    assert!(!matches!(verdict, Some(Verdict::Doubtful { .. })));
                    log.push(format!("{token} {share:?} {verdict:?}"));
                }
                Received::Progress { token, progress } => {
                    assert!(!ended[token], "progress comes before the end");
                    log.push(format!("{token} {}", progress.json()));
                }
                Received::Mismatch(why) => {
                    log.push(why);
                    return log;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    log
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    assert_eq!(received(&bytes, usize::from(*piece)), received(&bytes, usize::MAX));
});
