//! One child process: how it is made, spoken to, watched and ended.

pub mod guard;
pub mod shim;
pub mod spawn;
pub mod stderr;
pub mod usage;
