//! Bytes to messages and back, and which call a message answers.
//!
//! Pure: nothing here reads, writes, waits or knows a process. A call passes through this room in
//! four steps: [`Correlator::ask`] adds it to the books and frames its question with the
//! [`Encoder`]; the [`Decoder`] cuts messages out of the worker's output; [`Correlator::received`]
//! finds the call that each message answers; [`Judge::judge`] decides what the answer is worth.
//!
//! Nothing is guessed. A stream that cannot be cut ([`Broken`]), a message that belongs to no call
//! ([`Received::Mismatch`]) and an answer that may belong to another call ([`Verdict::Doubtful`])
//! all mean that the worker is out of step and must be stopped.

mod answer;
mod array;
mod asides;
mod cancelled;
mod correlate;
mod cut;
mod decode;
mod echo;
mod encode;
pub mod group;
mod http_reply;
mod json_id;
mod kinds;
mod length;
mod ours;
mod outgoing;
mod progress;
mod received;
mod sentinel;
mod verdict;

pub use answer::Judge;
pub use array::{BatchForm, CutItem, ItemCutter};
pub use correlate::Correlator;
pub use cut::Broken;
pub use decode::Decoder;
pub use encode::Encoder;
pub use http_reply::checked as checked_reply;
pub use json_id::{MessageReader, ReadMessage, answer_again};
pub use outgoing::{Outgoing, QuestionSink};
pub use received::{Received, Refused, Share};
pub use verdict::{CANCELLED_UNASKED, Verdict};
