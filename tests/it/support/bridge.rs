//! A way to NATS, or between two of its servers, that loses, holds, slows or cuts what goes over it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::nats::Nats;
use super::pause;

/// A way over which messages go as a test wants it. Dropping it cuts it.
pub(crate) struct Bridge {
    port: u16,
    book: Arc<Book>,
}

#[derive(Default)]
struct Book {
    rules: Mutex<BridgeRules>,
    changed: Condvar,
}

#[derive(Default)]
struct BridgeRules {
    /// The next message of this kind is lost on its way to NATS.
    loses: Option<&'static str>,
    lost: usize,
    /// From the next message of this kind on nothing goes to NATS.
    holds: Option<&'static str>,
    is_held: bool,
    /// Each message takes so long to NATS.
    delay: Duration,
    is_cut: bool,
    is_over: bool,
    wires: Vec<TcpStream>,
}

impl Book {
    fn rules(&self) -> MutexGuard<'_, BridgeRules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a message with this payload may go. Returns false if it is lost.
    fn may_go(&self, payload: &[u8]) -> bool {
        let is = |kind: Option<&str>| {
            kind.is_some_and(|kind| payload.starts_with(format!("{{\"{kind}\":").as_bytes()))
        };
        let mut rules = self.rules();
        if is(rules.loses) {
            rules.loses = None;
            rules.lost += 1;
            return false;
        }
        if is(rules.holds) {
            (rules.holds, rules.is_held) = (None, true);
        }
        let delay = rules.delay;
        let held = self.changed.wait_while(rules, |rules| rules.is_held && !rules.is_cut);
        drop(held);
        if !delay.is_zero() {
            pause(delay, "a slow way");
        }
        true
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.book.rules().is_over = true;
        self.cut();
        // The last one wakes who accepts them.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Bridge {
    /// A way to this NATS server.
    pub(crate) fn to(nats: &Nats) -> Self {
        Self::to_address(&format!("127.0.0.1:{}", nats.port()))
    }

    /// A way to what listens there.
    pub(crate) fn to_address(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let book = Arc::new(Book::default());
        let (rules, address) = (Arc::clone(&book), address.to_owned());
        thread::spawn(move || {
            for wire in listener.incoming() {
                if rules.rules().is_over {
                    return;
                }
                let far = TcpStream::connect(&address);
                if let (Ok(near), Ok(far)) = (wire, far) {
                    connect(&rules, &near, &far);
                }
            }
        });
        Self { port, book }
    }

    /// Returns its near end.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The next message of this kind is lost.
    pub(crate) fn loses(&self, kind: &'static str) {
        self.book.rules().loses = Some(kind);
    }

    /// Returns how many messages were lost.
    pub(crate) fn lost(&self) -> usize {
        self.book.rules().lost
    }

    /// From the next message of this kind on nothing arrives.
    pub(crate) fn holds(&self, kind: &'static str) {
        self.book.rules().holds = Some(kind);
    }

    /// Returns true if there is something that is held.
    pub(crate) fn has_held(&self) -> bool {
        self.book.rules().is_held
    }

    /// What was held arrives now.
    pub(crate) fn lets_go(&self) {
        self.book.rules().is_held = false;
        self.book.changed.notify_all();
    }

    /// Each message takes so long from now on.
    pub(crate) fn slows(&self, delay: Duration) {
        self.book.rules().delay = delay;
    }

    /// Ends all connections, and lets no other begin.
    pub(crate) fn cut(&self) {
        let mut rules = self.book.rules();
        rules.is_cut = true;
        for wire in rules.wires.drain(..) {
            drop(wire.shutdown(Shutdown::Both));
        }
        self.book.changed.notify_all();
    }

    /// Connections may begin again.
    pub(crate) fn heal(&self) {
        self.book.rules().is_cut = false;
    }
}

/// Carries what goes between these two until one of them ends.
fn connect(book: &Arc<Book>, near: &TcpStream, far: &TcpStream) {
    let copy = |wire: &TcpStream| wire.try_clone().expect("a descriptor");
    {
        let mut rules = book.rules();
        if rules.is_cut {
            return;
        }
        rules.wires.extend([copy(near), copy(far)]);
    }
    for wire in [near, far] {
        wire.set_nodelay(true).expect("a socket");
    }
    let (book, there) = (Arc::clone(book), (copy(near), copy(far)));
    thread::spawn(move || {
        drop(carry(&book, &there.0, &there.1));
        drop(there.1.shutdown(Shutdown::Both));
    });
    let (mut far, mut near) = (copy(far), copy(near));
    thread::spawn(move || {
        drop(std::io::copy(&mut far, &mut near));
        drop(near.shutdown(Shutdown::Both));
    });
}

/// Carries operations of the protocol of NATS: lines, and after some of them a payload whose length is
/// their last word.
fn carry(book: &Book, from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut all = Vec::new();
        if from.read_until(b'\n', &mut all)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&all).into_owned();
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let mut goes = true;
        if matches!(verb, "PUB" | "HPUB" | "RMSG" | "HMSG" | "LMSG") {
            let len: usize = words.next_back().and_then(|it| it.parse().ok()).expect("a length");
            let start = all.len();
            all.resize(start + len + 2, 0);
            from.read_exact(&mut all[start..])?;
            goes = book.may_go(&all[start..]);
        }
        if goes {
            to.write_all(&all)?;
        }
    }
}
