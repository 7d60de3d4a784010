//! What is in questions and answers, and the answers that go to other servers in parts.

use std::collections::VecDeque;

use bytes::Bytes;
use httpipe::testing::base::{NodeId, RunId};
use httpipe::testing::spread::{EndSize, GuestEnd, GuestId, PartOfAnswer, Sizes, ToOwner};

use super::super::model::{Checked, Serial, ensure};
use super::{At, Cluster, End, EndOf, Event, Letter, micros};

/// So small that most bodies go in several parts, and the window is often full.
pub(super) const SIZES: Sizes = Sizes { whole: 24, piece: 8, window: 40, named: 4, cost: 2 };
/// How many parts a worker writes before it waits for its reader.
const AHEAD_MOST: usize = 4;

/// An answer that goes to another server in parts.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The parts that were not sent.
    parts: VecDeque<Bytes>,
    /// How the call has ended in the books.
    end: Option<End>,
}

/// The question of a call, at least as long as its number.
pub(super) fn question(serial: Serial, len: usize) -> Bytes {
    let number = format!("{serial:08}");
    number.bytes().cycle().take(len.max(8)).collect()
}

/// The number of a question.
pub(super) fn serial_of(text: &[u8]) -> Option<Serial> {
    std::str::from_utf8(text.get(..8)?).ok()?.parse().ok()
}

/// The answer to a call that comes as a whole.
pub(super) fn answer(serial: Serial, len: usize) -> Bytes {
    format!("<{serial}>").bytes().cycle().take(len).collect()
}

/// One part of an answer. Some are empty, and some go in several messages.
fn part(serial: Serial, number: u64) -> Bytes {
    let len = [3, 0, 21, 7, 40][(serial + number as usize) % 5];
    format!("{serial}.{number},").bytes().cycle().take(len).collect()
}

impl Cluster {
    /// Returns true if a worker has to wait until its parts are read.
    pub(super) fn is_held_back(&self, at: At, guest: GuestId) -> bool {
        let ahead = self.nodes[at].streams.get(&guest).map_or(0, |stream| stream.parts.len());
        ahead >= AHEAD_MOST
    }

    /// A worker has written a part of an answer to a call of another server.
    pub(super) fn forward(&mut self, at: At, guest: GuestId, serial: Serial, number: u64) {
        let stream = self.nodes[at].streams.entry(guest).or_default();
        stream.parts.push_back(part(serial, number));
        self.flush(at, guest);
    }

    /// A call of another server has ended here. What was not sent of its answer goes first. Returns
    /// false if it has no parts.
    pub(super) fn ends_forwarding(&mut self, at: At, guest: GuestId, end: &End) -> bool {
        let Some(stream) = self.nodes[at].streams.get_mut(&guest) else { return false };
        stream.end.get_or_insert(end.clone());
        self.flush(at, guest);
        true
    }

    /// Sends what may go of an answer in parts.
    pub(super) fn flush(&mut self, at: At, guest: GuestId) {
        let now = self.now;
        loop {
            let node = &mut self.nodes[at];
            let Some(stream) = node.streams.get_mut(&guest) else { return };
            let is_wanted = node.host.is_wanted(guest);
            if !is_wanted {
                stream.parts.clear();
            }
            if let Some(part) = stream.parts.front_mut() {
                let Some(room) = node.host.room(guest) else { return };
                let body = part.split_to(part.len().min(room));
                let cut = !part.is_empty();
                if !cut {
                    stream.parts.pop_front();
                }
                let Some(place) = node.host.part(guest, body.len()) else { return };
                let part = PartOfAnswer { run: guest.1, at: place, len: None, cut, body };
                let what = ToOwner::Part(part);
                self.send(at, &Letter::ToOwner { from: at, to: guest.0, what, end: None });
                continue;
            }
            if let Some(end) = stream.end.take() {
                node.streams.remove(&guest);
                let end = GuestEnd::Answer(EndOf(end));
                node.host.ended(now, guest, end, EndSize::default());
            } else if !is_wanted {
                node.streams.remove(&guest);
            }
            return;
        }
    }

    /// A caller gets a part of its answer, and reads it at once or in a while.
    pub(super) fn take_part(
        &mut self,
        at: At,
        (host, run): (NodeId, RunId),
        serial: Serial,
        part: &Bytes,
    ) -> Checked {
        self.hear_part(serial, part)?;
        if self.draw(self.habits.slow_readers) {
            let delay = micros(&mut self.rng, (0, 100_000));
            self.after(delay, Event::Took(at, host, run));
        } else {
            self.nodes[at].owner.took(host, run);
        }
        Ok(())
    }

    pub(super) fn hear_part(&mut self, serial: Serial, heard: &Bytes) -> Checked {
        let ask = &mut self.asks[serial];
        let expected = part(serial, ask.parts_heard);
        ask.has_begun = true;
        ask.parts_heard += 1;
        ensure(*heard == expected, || format!("call {serial} gets {heard:?} for {expected:?}"))
    }

    pub(super) fn hear_own_part(&mut self, serial: Serial) -> Checked {
        let part = part(serial, self.asks[serial].parts_heard);
        self.hear_part(serial, &part)
    }
}
