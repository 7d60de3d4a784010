//! One address has as many connections as it may, and takes none from others.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::support::{CALLER_PATIENCE, Connection, Server};

const REFUSED: &str = "httpipe_connections_refused_total";
const OPEN: &str = "httpipe_connections";

/// Connects from this address of the loopback network, asks, and returns what comes.
fn asked_from(server: &Server, own: &str) -> String {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let own: SocketAddr = own.parse().expect("an address");
    bind(&socket, &own).expect("every address of 127.0.0.0/8 is this machine's");
    let url = server.url();
    let to: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    connect(&socket, &to).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(CALLER_PATIENCE)).expect("a time");
    let request =
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
    let mut answer = String::new();
    // One that is refused may be reset before it has sent or read anything.
    stream.write_all(request.as_bytes()).ok();
    stream.read_to_string(&mut answer).ok();
    answer
}

fn hold(server: &Server, count: usize) -> Vec<Connection> {
    let held: Vec<Connection> = (0..count).map(|_| server.client().connect()).collect();
    server.wait_until("all are open", |s| s.metric(OPEN) == count as f64);
    held
}

#[test]
fn one_connection_more_than_an_address_may_have_is_closed_at_once() {
    let server = Server::with("workers = 1").top("limits = { per_address = 3 }").start();
    let mut held = hold(&server, 3);
    for _ in 0..20 {
        assert_eq!(asked_from(&server, "127.0.0.1:0"), "");
    }
    assert_eq!((server.metric(REFUSED), server.metric(OPEN)), (20.0, 3.0));
    assert!(asked_from(&server, "127.0.0.2:0").starts_with("HTTP/1.1 200"), "another address");
    assert_eq!(held[0].post("/", "still served").status, 200);
    drop(held.pop());
    server.wait_until("one has gone", |s| s.metric(OPEN) == 2.0);
    assert!(asked_from(&server, "127.0.0.1:0").starts_with("HTTP/1.1 200"));
    let lines = server.log_lines();
    let told = lines.iter().filter(|line| line.contains("too many connections open")).count();
    assert_eq!(told, 1, "a flood does not fill the log: {lines:?}");
}

#[test]
fn whom_the_server_trusts_and_this_machine_have_no_limit_unless_it_is_said() {
    let said = "limits = { per_address = 2 }\ntrust = [\"127.0.0.3\"]";
    let server = Server::with("workers = 1").top(said).start();
    let held = hold(&server, 2);
    assert_eq!(asked_from(&server, "127.0.0.1:0"), "");
    server.rewrite("127.0.0.3", "127.0.0.1");
    server.signal("HUP");
    server.wait_for_log("callers: changed");
    let more: Vec<Connection> = (0..8).map(|_| server.client().connect()).collect();
    server.wait_until("a proxy has no limit", |s| s.metric(OPEN) == 10.0);
    drop((held, more));

    let server = Server::with("workers = 1").start();
    drop(hold(&server, 300));
    assert_eq!(server.metric(REFUSED), 0.0);
}
