//! Bytes to messages and back, and whose answer a message is.
//!
//! Pure: nothing here reads, writes, waits or knows a process.
