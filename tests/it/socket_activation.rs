//! Sockets that a service manager opened and passes to the server, by `LISTEN_FDS`.

use std::fs::File;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{LentSocket, Over, Plan, Server, whole_machine};

fn plan() -> Plan {
    Server::with("workers = 2")
}

#[test]
fn several_sockets_are_served_each_for_its_purpose() {
    let (tcp, file, admin) = (LentSocket::tcp(), LentSocket::file("lent"), LentSocket::tcp());
    let mut server =
        plan().lend(&[&tcp, &admin, &file], "listen:admin:httpipe.socket").start_unready();
    server.wait_for_log("the sockets of the service manager take the place of `listen`");
    for socket in [&tcp, &file] {
        assert_eq!(socket.client().post("/", "x").body, "x", "{}", socket.address());
        server.wait_for_log(&format!("\"address\":\"{}\"", socket.address()));
    }
    assert_eq!(admin.client().get("/live").status, 200);
    assert_eq!(tcp.client().get("/live").status, 404, "callers are no operators");
    assert_eq!(server.status()["listen"].as_array().map(Vec::len), Some(2));
    server.signal("TERM");
    assert_eq!(server.exit_code(), 0);
    // The next server gets the same ones.
    let mut next = plan().lend(&[&tcp, &file], "").start();
    assert_eq!(file.client().post("/", "y").body, "y", "the file was not removed");
    next.signal("TERM");
    assert_eq!(next.exit_code(), 0);
}

#[test]
fn sockets_that_are_for_another_process_are_left_alone() {
    let lent = LentSocket::tcp();
    let server = plan().lend(&[&lent], "admin").env("LISTEN_PID", "1").start();
    assert_ne!(server.url(), format!("http://{}", lent.address()));
    assert_eq!(server.answers("x").body, "x");
}

#[test]
fn what_cannot_be_used_ends_the_start_with_a_remedy() {
    let stream = || LentSocket::wrong(UnixStream::pair().expect("free descriptors").0);
    let datagram = || LentSocket::wrong(UnixDatagram::unbound().expect("free descriptors"));
    let file = || LentSocket::wrong(File::open("/dev/null").expect("it is there"));
    let cases: [(LentSocket, &str, &str, &str); 8] = [
        (datagram(), "", "", "it is not a stream socket"),
        (stream(), "", "", "it is a connection, or it does not listen"),
        (file(), "", "", "it is not a socket"),
        (LentSocket::tcp(), "adimn", "", "FileDescriptorName= is `listen` for callers"),
        (LentSocket::tcp(), "a:b", "", "LISTEN_FDNAMES has 2 names for 1 sockets"),
        (LentSocket::tcp(), "admin", "admin = \"off\"", "and `admin` is \"off\""),
        (open(), "admin", "", "set `admin_token`"),
        (datagram(), "admin", "", "needs ListenStream=, and no Accept=yes"),
    ];
    for (socket, names, keys, said) in cases {
        let ended = plan().top(keys).lend(&[&socket], names).refused();
        assert_eq!(ended.code, 2, "{said}: {ended:?}");
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        assert!(ended.stderr.contains("\n\nhint: "), "{ended:?}");
    }
    let (one, other) = (LentSocket::tcp(), LentSocket::tcp());
    let ended = plan().lend(&[&one, &other], "admin:admin").refused();
    assert!(ended.code == 2 && ended.stderr.contains("the second one"), "{ended:?}");
    let ended = plan().lend(&[&one], "").env("LISTEN_FDS", "60").refused();
    assert!(ended.code == 2 && ended.stderr.contains("is not open"), "{ended:?}");
}

/// A socket that other machines could reach, if there were any.
fn open() -> LentSocket {
    LentSocket::wrong(std::net::TcpListener::bind("0.0.0.0:0").expect("there is a free port"))
}

/// Callers with a connection for each call, and callers that keep theirs as long as they may, ask
/// all the time while one server takes the place of another.
#[test]
fn no_call_is_lost_over_a_restart() {
    let _alone = whole_machine();
    let sockets = [LentSocket::tcp(), LentSocket::file("restart")];
    let start = |threads: u32| {
        let plan = plan().top(&format!("threads = {threads}"));
        plan.lend(&[&sockets[0], &sockets[1]], "").start()
    };
    let mut server = start(1);
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (over, answers, socket) = (&over, &answers, &sockets[index % 2]);
            scope.spawn(move || {
                let mut kept = None;
                while !over.load(Ordering::Relaxed) {
                    let mut connection = kept.take().unwrap_or_else(|| socket.client().connect());
                    let answer = connection.post("/", "x");
                    assert_eq!((answer.status, &*answer.body), (200, "x"), "{answer:?}");
                    answers.fetch_add(1, Ordering::Relaxed);
                    let is_last = answer.header("connection") == "close";
                    kept = Some(connection).filter(|_| index >= 4 && !is_last);
                }
            });
        }
        let _over = Over(&over);
        for threads in [2, 1, 2, 1] {
            let before = answers.load(Ordering::Relaxed);
            server.wait_until("calls are answered", |_| {
                answers.load(Ordering::Relaxed) > before + 100
            });
            server.signal("TERM");
            assert_eq!(server.exit_code(), 0);
            server = start(threads);
        }
    });
}
