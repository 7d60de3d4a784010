//! How a service manager and the server speak with each other: the sockets that it passes
//! (`sd_listen_fds(3)`) and what it is told (`sd_notify(3)`).
//!
//! systemd made both up, and others follow them. The variables are a few lines each, so no crate
//! is needed. Where no service manager has set them, nothing happens here.

mod notify;
mod sockets;

pub use notify::ServiceManager;
pub use sockets::{BadVariable, SocketPurpose, passed_sockets};
