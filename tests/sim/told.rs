//! How calls end, as their callers see it.

use super::model::{Checked, Serial, ensure};
use super::oracle::Oracle;

impl Oracle {
    /// A caller is told that their own deadline passed while a worker holds the call.
    pub(crate) fn expired(&mut self, serial: Serial) -> Checked {
        let now = self.now;
        let ask = &mut self.asks[serial];
        ensure(ask.caller_deadline == Some(now), || {
            format!("call {serial} expires at the wrong time")
        })?;
        ensure(!ask.holders.is_empty(), || format!("call {serial} expires in the queue"))?;
        ensure(ask.alone_since.is_none(), || format!("call {serial} expires though nobody waits"))?;
        ask.alone_since = Some(now);
        ask.told += 1;
        Ok(())
    }

    /// A call left the core's books.
    pub(crate) fn ended(&mut self, serial: Serial, abandoned: bool) -> Checked {
        let ask = &mut self.asks[serial];
        ensure(ask.ended.is_none(), || format!("call {serial} is answered twice"))?;
        let is_alone = ask.alone_since.is_some();
        ensure(abandoned == is_alone, || {
            format!("call {serial}: abandoned is {abandoned}, {ask:?}")
        })?;
        ask.ended = Some(self.now);
        ask.told += u32::from(!abandoned);
        self.open.remove(&serial);
        ensure(self.asks[serial].told <= 1, || format!("the caller of {serial} is told twice"))
    }
}
