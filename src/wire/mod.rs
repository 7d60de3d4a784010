//! Bytes to messages and back, and whose answer a message is.
//!
//! Pure: nothing here reads, writes, waits or knows a process. The way of one call through this
//! room: [`Correlator::ask`] writes the question down and frames it with the [`Encoder`]; the
//! [`Decoder`] cuts messages out of what the worker wrote; [`Correlator::received`] says whose
//! answer each is; [`Judge::judge`] says what the answer is worth.
//!
//! What a worker wrote is never guessed at: a stream that cannot be cut ([`Broken`]), a message
//! that belongs to no call ([`Received::Mismatch`]) and an answer that may be another's
//! ([`Verdict::Doubtful`]) all mean that the worker is out of step and must be stopped.

mod answer;
mod correlate;
mod decode;
mod encode;
mod http_reply;
mod json_id;
mod length;

pub use answer::{Judge, Verdict};
pub use correlate::{Correlator, Received, Refused, Share};
pub use decode::{Broken, Decoder};
pub use encode::{Encoder, TooLong};
