//! Servers that start and stop on the same socket file at the same time do not take it from each
//! other.

use std::time::Duration;

use crate::support::{Plan, Server, has_strace, pause};

/// Plans a server on this address that takes long to remove a file.
fn slow(address: &str) -> Plan {
    let calls = "?unlink,?unlinkat";
    let strace = format!(
        "strace -D -f --seccomp-bpf -qq -o /dev/null -e trace={calls} \
         -e inject={calls}:delay_enter=700000"
    );
    on(address).under(&strace)
}

fn on(address: &str) -> Plan {
    Server::with("workers = 1").top(&format!("listen = \"{address}\""))
}

#[test]
fn of_two_servers_that_start_on_a_stale_socket_file_one_gets_it_and_keeps_it() {
    if !has_strace() {
        return;
    }
    let mut dead = on("unix:callers").start();
    dead.signal("KILL");
    dead.exit_code();
    let address = format!("unix:{}", dead.dir().join("callers").display());
    // Both look at the file before one of them has removed it.
    let servers = [0, 1].map(|_| slow(&address).start_mute(&address, ""));
    let says = |server: &Server, text| server.log_lines().iter().any(|line| line.contains(text));
    let is_refused = |server: &Server| says(server, "another program listens there");
    for server in &servers {
        server.wait_until("it has started, or has said why not", |server| {
            says(server, "\"message\":\"listening on") || is_refused(server)
        });
    }
    assert_eq!(servers.iter().filter(|server| is_refused(server)).count(), 1);
    assert_eq!(servers[0].answers("hello").body, "hello");
}

#[test]
fn a_server_that_stops_does_not_remove_the_socket_file_of_one_that_starts() {
    if !has_strace() {
        return;
    }
    let place = on("unix:other").start();
    let address = format!("unix:{}", place.dir().join("callers").display());
    let mut old = slow(&address).start();
    old.signal("TERM");
    pause(Duration::from_millis(300), "it is about to remove its file");
    let new = on(&address).start();
    assert_eq!(old.exit_code(), 0);
    assert_eq!(new.answers("hello").body, "hello");
}
