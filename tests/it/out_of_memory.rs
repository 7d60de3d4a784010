//! A worker that grows until the kernel ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{MemoryGroups, Over, Server};

/// Only the memory of this worker counts: the server and the other worker are in other groups.
#[test]
fn a_worker_that_the_kernel_ends_for_its_memory_takes_only_its_own_call_with_it() {
    let Some(groups) = MemoryGroups::new() else { return };
    let server = Server::with("workers = 2\nretries = 0")
        .worker(&format!("sh limited {} demo-worker", env!("CARGO_BIN_EXE_httpipe")))
        .file("limited", &groups.program(64 << 20))
        .start();
    assert_eq!(server.answers("leak 16MiB a").body, "leak 16MiB a");
    let (descriptors, memory) = (server.descriptors(), server.memory());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut caller = server.client().connect();
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                let token = format!("token-{round}");
                let answer = caller.post("/", &token);
                assert_eq!((answer.status, &answer.body), (200, &token), "{answer:?}");
                round += 1;
            }
            round
        });
        let until_here = Over(&over);
        for round in 1..=3 {
            let answer = server.answers(&format!("leak 1GiB {round}"));
            assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"));
            assert!(answer.detail().contains("signal 9"), "{answer:?}");
            assert!(answer.is_within(Duration::from_secs(3)), "at once: {answer:?}");
            assert_eq!(groups.killed(), round, "it was the kernel");
            server.wait_until("there are two again", |s| {
                s.metric("httpipe_worker_exits_total{reason=\"crash\"}") == round as f64
                    && s.workers().len() == 2
                    && s.metric("httpipe_workers{state=\"starting\"}") == 0.0
            });
        }
        drop(until_here);
        assert!(other.join().expect("others notice nothing") > 0);
    });
    server.wait_until("nothing is left", |s| {
        s.zombies() == 0 && s.descriptors() <= descriptors + 1 && s.workers().len() == 2
    });
    assert!(server.memory().saturating_sub(memory) < 8 << 20, "it was not the server that grew");
}
