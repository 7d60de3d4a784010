//! Two servers that start on the socket file of a dead one: one gets it, and the other says so.

use crate::support::{Server, has_strace};

#[test]
fn of_two_servers_that_start_on_a_stale_socket_file_one_gets_it_and_keeps_it() {
    if !has_strace() {
        return;
    }
    let mut dead = Server::with("workers = 1").top("listen = \"unix:callers\"").start();
    dead.signal("KILL");
    dead.exit_code();
    let path = format!("unix:{}", dead.dir().join("callers").display());
    let slow = || {
        // Both look at the file before one of them removes it.
        let calls = "?unlink,?unlinkat";
        let strace = format!(
            "strace -D -f --seccomp-bpf -qq -o /dev/null -e trace={calls} \
             -e inject={calls}:delay_enter=700000"
        );
        Server::with("workers = 1")
            .top(&format!("listen = \"{path}\""))
            .under(&strace)
            .start_mute(&path, "")
    };
    let servers = [slow(), slow()];
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
