//! How a worker broke the protocol, in words for callers and for the log.
//!
//! Pure.

use crate::wire::Broken;

/// Most bytes of a worker's message that the log shows.
const SHOWN_MOST: usize = 200;

/// The worker broke the protocol and must be stopped.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfStep {
    /// How it broke the protocol.
    pub fault: Fault,
    /// A description that may be shown to callers.
    pub detail: String,
    /// What the worker wrote, escaped and cut short. Only operators may see it.
    pub said: Option<String>,
}

/// How a worker broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It wrote while nothing was asked.
    Unasked,
    /// What it wrote belongs to no call, or is no message.
    Mismatch,
    /// It wrote a message longer than `message_max`.
    TooBig,
}

impl OutOfStep {
    /// The worker wrote `said` while nothing was asked.
    pub fn unasked(said: &[u8]) -> Self {
        let detail = "it wrote something while nothing was asked".to_owned();
        Self { fault: Fault::Unasked, detail, said: Some(shown(said)) }
    }
}

impl From<Broken> for OutOfStep {
    fn from(broken: Broken) -> Self {
        let fault = match broken {
            Broken::TooBig { .. } => Fault::TooBig,
            Broken::Malformed { .. } => Fault::Mismatch,
        };
        Self { fault, detail: broken.to_string(), said: broken.found().map(str::to_owned) }
    }
}

/// Returns bytes as the log shows them: escaped and cut short.
pub fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_MOST)];
    let more = if cut.len() < bytes.len() { " ..." } else { "" };
    format!("\"{}\"{more}", cut.escape_ascii())
}
