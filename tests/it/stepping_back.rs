//! A worker that computes for long gives way to others.

use crate::support::{Pending, Server, whole_machine};

/// The nice value of a process; `None` if it has ended.
fn niceness(id: u32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19 - 3)?.parse().ok()
}

#[test]
fn a_worker_that_computes_for_long_gives_way_until_its_answer() {
    let _machine = whole_machine();
    let processors = std::thread::available_parallelism().expect("Linux tells").get();
    let server = Server::with(&format!("workers = {processors}")).start();
    server.wait_for_count("httpipe_workers{state=\"ready\"}", processors as f64);
    let own = niceness(std::process::id()).expect("we live");
    let steps = |server: &Server| {
        let workers = server.workers().into_iter();
        workers.filter_map(niceness).map(|nice| nice - own).collect::<Vec<_>>()
    };
    assert!(steps(&server).iter().all(|step| *step == 0), "{:?}", steps(&server));

    let long = |number| server.client().post_later("/", &format!("burn 2000 {number}"));
    let long: Vec<Pending> = (0..processors).map(long).collect();
    server.wait_until("one has stepped back", |it| steps(it).iter().any(|step| *step > 0));
    for (number, call) in long.into_iter().enumerate() {
        assert_eq!(call.answer().body, format!("burn 2000 {number}"));
    }
    // It has come forward, or another one is in its place where that is not permitted.
    server.wait_until("all are there again", |it| {
        let steps = steps(it);
        steps.len() >= processors && steps.iter().all(|step| *step == 0)
    });
    assert_eq!(server.answers("short").body, "short");
}
