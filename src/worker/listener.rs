//! Who hears what goes through the pipes of a worker.
//!
//! Pure: what is done with it is decided elsewhere.

use std::fmt;

use crate::base::CallId;

/// Hears what goes through the pipes of one worker. It copies what it wants to keep, and returns
/// soon.
pub trait WireListener: fmt::Debug {
    /// These bytes were written to the worker. `call` is the first call whose question begins in
    /// them.
    fn wrote(&self, bytes: &[u8], call: Option<CallId>);

    /// These bytes were read from the worker, as they came.
    fn read(&self, bytes: &[u8]);

    /// This message was cut from them, and answers this call.
    fn cut(&self, message: &[u8], call: CallId);

    /// This message was cut from them, and answers no call.
    fn stray(&self, message: &[u8]);
}
