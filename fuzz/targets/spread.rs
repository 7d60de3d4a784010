//! What other hosts send: any bytes are read or refused, and what is read can be written again. And
//! whatever parts of questions and answers come in whichever order, no more is kept than is allowed.

#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use httpipe::testing::base::{CallId, NodeId, Question, RunId, WorkerId};
use httpipe::testing::pool::away::Granted;
use httpipe::testing::spread::message::HostMessage;
use httpipe::testing::spread::{
    EndSize, GuestEnd, HostDesk, HostStep, OwnerDesk, OwnerStep, PartOfAnswer, Seating, SentBefore,
    Sizes, ToHost, ToOwner,
};
use libfuzzer_sys::fuzz_target;

const PEER: NodeId = NodeId(7);
const RUN: RunId = RunId { call: 1, attempt: 1, key: 9 };
const SIZES: Sizes = Sizes { whole: 8, piece: 4, window: 16, named: 2, cost: 1 };
const MOST: u64 = 40;
const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A number, small more often than not.
fn number(byte: u8) -> u64 {
    match byte {
        0..=240 => u64::from(byte % 48),
        _ => u64::MAX - u64::from(byte - 241),
    }
}

fn body(byte: u8) -> Bytes {
    Bytes::from_static(&BODY[..usize::from(byte) % BODY.len()])
}

fn owner(now: Instant, bytes: &[u8]) {
    let mut desk = OwnerDesk::new();
    desk.carries(SIZES);
    desk.takes_at_most(MOST);
    desk.hear(now, PEER, ToOwner::Claim { claim: 1 });
    let granted = Granted { call: CallId(1), run: RUN, left: Duration::from_secs(30) };
    desk.granted(now, PEER, 1, Some((granted, Question::plain(BODY))));
    for [what, at, len, text] in bytes.as_chunks().0 {
        let len = (what & 16 != 0).then(|| number(*len));
        let cut = what & 32 != 0;
        let at = number(*at);
        let before = match what & 3 {
            0 => SentBefore::Nothing,
            1 => SentBefore::Body(at),
            _ => SentBefore::Parts(at),
        };
        desk.hear(now, PEER, match what % 6 {
            0..=2 => {
                ToOwner::Part(PartOfAnswer { run: RUN, at, len, cut, body: body(*text) })
            }
            3 => ToOwner::Answer { run: RUN, before, claim: None },
            4 => ToOwner::More { run: RUN, taken: at },
            _ => {
                let (unknown, sent) = (vec![], vec![(RUN, at)]);
                ToOwner::Pong { ping: at, unknown, sure: cut, alone: false, sent }
            }
        });
        if what & 64 != 0 {
            desk.took(PEER, RUN);
        }
        for step in desk.take_steps() {
            match step {
                OwnerStep::TakePart { part, .. } => assert!(part.len() as u64 <= MOST),
                OwnerStep::Take { before, .. } => assert!(before.len() as u64 <= MOST),
                _ => {}
            }
        }
    }
}

fn host(now: Instant, bytes: &[u8]) {
    let mut desk = HostDesk::<()>::new(NodeId(1));
    desk.carries(now, SIZES);
    desk.takes_at_most(MOST);
    desk.demand(now, PEER, 1, 9);
    desk.reserved(now, WorkerId(3));
    let left = Duration::from_secs(30);
    for [what, at, len, text] in bytes.as_chunks().0 {
        let at = number(*at);
        desk.hear(now, PEER, match what % 6 {
            0 => {
                let question = Question::plain(body(*text));
                ToHost::Grant { claim: 1, run: RUN, left, ping: 0, question, len: number(*len) }
            }
            1..=3 => ToHost::Part { run: RUN, at, body: body(*text) },
            4 => ToHost::More { run: RUN, taken: at },
            _ => ToHost::Ping { ping: at, holds: vec![RUN], is_whole: true },
        });
        if what & 64 != 0 && desk.room((PEER, RUN)).is_some() {
            desk.part((PEER, RUN), 3);
        }
        if what & 128 != 0 {
            let size = EndSize { body: usize::from(*len), rest: 0 };
            desk.ended(now, (PEER, RUN), GuestEnd::Answer(()), size);
        }
        desk.settled(now, Seating::default());
        for step in desk.take_steps() {
            if let HostStep::Give { question: Some(question), .. } = step {
                assert!(question.text.len() as u64 <= MOST);
                desk.begun((PEER, RUN), CallId(1));
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = Bytes::copy_from_slice(bytes);
    if let Ok((message, body)) = HostMessage::decode(&whole) {
        let again = HostMessage::decode(&message.encode(&body));
        assert_eq!(again, Ok((message, body)));
    }
    let now = Instant::now();
    owner(now, bytes);
    host(now, bytes);
});
