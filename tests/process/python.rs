//! A fork server with a program of a test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use httpipe::testing::worker::fork_server::{ForkServer, Started};
use httpipe::testing::worker::guard::Guard;

use crate::support::shell;

pub(crate) const WORKER: &str = include_str!("../../python/httpipe/_worker.py");
const BOOT: &str = include_str!("../../python/boot.py");
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A file with a program whose function `answer` is served. Removed at the end.
pub(crate) struct Program(pub(crate) PathBuf);

impl Program {
    pub(crate) fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (id, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("httpipe_fork_{id}_{number}.py"));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Starts a fork server. Returns it with its description, for which it waits.
pub(crate) async fn described(
    worker: &str,
    program: &Program,
    guard: &Guard,
) -> (ForkServer, String) {
    let mut launch = shell("");
    launch.program = "/usr/bin/python3".into();
    launch.name = "python3".into();
    let target = format!("{}:answer", program.0.display());
    launch.arguments = vec!["-c".into(), BOOT.into(), target, "fork_server".into()];
    launch.env.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
    let Started { server, .. } = ForkServer::start(&launch, guard).await.expect("starts");
    let loaded = tokio::time::timeout(LONG, server.load(&[worker.as_bytes()])).await;
    let description = loaded.expect("in time").expect("a description");
    (server, String::from_utf8(description).expect("text"))
}
