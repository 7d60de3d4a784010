//! httpipe serves any program that reads questions on stdin and writes answers on stdout as an
//! HTTP service.
//!
//! Modules in reading order: what things are called, what was asked for, how bytes become
//! messages, what one process is, how a pool decides, and the two listeners on top.

pub mod admin;
pub mod base;
pub mod cache;
pub mod call;
pub mod cli;
pub mod config;
pub mod front;
pub mod net;
pub mod observe;
pub mod policy;
pub mod pool;
pub mod server;
pub mod sync;
pub mod wire;
pub mod worker;
