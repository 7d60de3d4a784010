//! How one task waits for another: the tools that no library has in this shape.
//!
//! Imports nothing of ours and needs no runtime, only wakers.

pub mod at_once;
pub mod bulk;
pub mod memory;
pub mod parts;
pub mod pieces;
pub mod seldom;
