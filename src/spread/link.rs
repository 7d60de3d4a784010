//! The connection to NATS: it connects, subscribes, connects again, and says when it is cut off.
//!
//! What is sent while there is no connection is dropped, and so is what could not be written when one
//! ends: a message that comes late would be of no use, and those who send ask again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::dial::{Dialed, NotDialed, dial};
use super::nats::{ClientWriter, ServerInfo, ServerOp, ServerReader};
use crate::config::SpreadSettings;

/// The shortest and the longest time between two attempts to connect.
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// So long after a cut, servers that were cut off together come back together, for calls that are away
/// wait for it.
const SOON_FOR: Duration = Duration::from_secs(4);
/// How long they wait then between two attempts, at most.
const RETRY_SOON: Duration = Duration::from_millis(250);
/// How often a server that says nothing is asked whether it is there.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long it may say nothing until the connection counts as cut.
const SILENCE_MOST: Duration = Duration::from_secs(2);
/// Most bytes that wait to be written while the server takes none of them.
const BACKLOG_MOST: usize = 32 << 20;
/// How often an error that repeats is logged.
const TELL_AGAIN: Duration = Duration::from_mins(1);
/// Most refusals that are remembered as logged.
const REFUSALS_MOST: usize = 64;

/// How long the next attempt to connect waits.
#[derive(Debug)]
struct RetryPause {
    delay: Duration,
    cut_at: Instant,
}

impl RetryPause {
    /// A connection that was there since `begun` was cut.
    fn cut(&mut self, begun: Instant, now: Instant) {
        self.cut_at = now;
        // A server that takes the login and then ends the connection is no new one.
        if now.duration_since(begun) >= RETRY_MOST {
            self.delay = RETRY_LEAST;
        }
    }

    /// Returns how long to wait now.
    fn next(&mut self, now: Instant) -> Duration {
        let is_soon = now.duration_since(self.cut_at) < SOON_FOR;
        let delay = self.delay.min(if is_soon { RETRY_SOON } else { RETRY_MOST });
        self.delay = delay * 2;
        delay
    }
}

/// Who uses a link.
pub trait LinkUser {
    /// There is a connection, and all subscriptions are made.
    fn connected(&self);

    /// There is none any longer.
    fn cut(&self);

    /// The server takes messages of another size from now on.
    fn resized(&self);

    /// A message has come; `None` if it says that nobody has heard what was sent.
    fn heard(&self, sid: u64, subject: &str, payload: Option<&Bytes>);
}

/// What operators are told of a link.
#[derive(Clone, Debug, Default)]
pub struct LinkReport {
    /// There is a connection.
    pub connected: bool,
    /// The server that is connected, or was last.
    pub server: Option<String>,
    /// Since when there is a connection, or none.
    pub since: Option<SystemTime>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Most bytes of a message.
    pub max_payload: usize,
}

/// The connection to NATS. It lives on one thread.
pub struct NatsLink {
    settings: SpreadSettings,
    name: String,
    echo: bool,
    writer: RefCell<ClientWriter>,
    /// Wakes who writes.
    waker: RefCell<Option<Waker>>,
    subscriptions: RefCell<BTreeMap<u64, Subscription>>,
    next_sid: Cell<u64>,
    report: RefCell<LinkReport>,
    /// The error that was logged last, and when.
    told: RefCell<Option<(String, Instant)>>,
    /// What the server refuses, as far as it was logged.
    refusals: RefCell<Vec<String>>,
    heard_at: Cell<Instant>,
    /// How much was written.
    written: Cell<u64>,
    /// How many pings were sent, and how many of them nothing waits for any longer.
    asked: Cell<u64>,
    answered: Cell<u64>,
    /// Wakes who waits for the answer to a ping.
    answer: Notify,
}

#[derive(Debug)]
struct Subscription {
    subject: String,
    group: Option<String>,
}

impl std::fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsLink").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Why a connection has ended.
enum LinkCut {
    Io(io::Error),
    Silent,
    Full,
    Refused(String),
}

impl std::fmt::Display for LinkCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection is cut: {error}"),
            Self::Silent => f.write_str("it says nothing any longer"),
            Self::Full => f.write_str("it does not take what it is sent"),
            Self::Refused(why) => write!(f, "it says `{why}`"),
        }
    }
}

impl NatsLink {
    /// A link that [`NatsLink::run`] connects. `name` is what the server calls this client.
    pub fn new(settings: SpreadSettings, name: String) -> Rc<Self> {
        Rc::new(Self {
            settings,
            name,
            echo: false,
            writer: RefCell::default(),
            waker: RefCell::default(),
            subscriptions: RefCell::default(),
            next_sid: Cell::new(1),
            report: RefCell::default(),
            told: RefCell::default(),
            refusals: RefCell::default(),
            heard_at: Cell::new(Instant::now()),
            written: Cell::default(),
            asked: Cell::default(),
            answered: Cell::default(),
            answer: Notify::new(),
        })
    }

    /// Returns what operators are told.
    pub fn report(&self) -> LinkReport {
        self.report.borrow().clone()
    }

    /// Returns true if there is a connection.
    pub fn is_connected(&self) -> bool {
        self.report.borrow().connected
    }

    /// Returns how many bytes a message may have.
    pub fn max_payload(&self) -> usize {
        self.report.borrow().max_payload
    }

    /// Subscribes, now and at each connection. Of the subscriptions of all clients with the same
    /// `group`, one gets each message. Returns the number of the subscription.
    pub fn subscribe(&self, subject: String, group: Option<&str>) -> u64 {
        let sid = self.next_sid.get();
        self.next_sid.set(sid + 1);
        let group = group.map(str::to_owned);
        if self.is_connected() {
            self.write(|writer| writer.subscribe(sid, &subject, group.as_deref()));
        }
        self.subscriptions.borrow_mut().insert(sid, Subscription { subject, group });
        sid
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, sid: u64) {
        if self.subscriptions.borrow_mut().remove(&sid).is_some() && self.is_connected() {
            self.write(|writer| writer.unsubscribe(sid));
        }
    }

    /// Sends a message; `unheard` is where the server says that nobody has subscribed to its subject.
    /// Returns false if there is no connection, or if the server would end it for so large a message.
    /// That it was sent does not say that it arrives.
    pub fn send(&self, subject: &str, unheard: Option<&str>, payload: &[u8]) -> bool {
        let can_go = self.is_connected() && payload.len() <= self.max_payload();
        if can_go {
            self.write(|writer| writer.publish(subject, unheard, payload));
        }
        can_go
    }

    /// Waits until the server has all that was sent, or the connection is cut.
    pub async fn flush(&self) {
        if !self.is_connected() {
            return;
        }
        // The server takes what it is sent in order.
        self.ask();
        let last = self.asked.get();
        loop {
            let answer = self.answer.notified();
            if self.answered.get() >= last {
                return;
            }
            answer.await;
        }
    }

    /// Sends a ping.
    fn ask(&self) {
        self.asked.update(|asked| asked + 1);
        self.write(ClientWriter::ping);
    }

    fn write(&self, write: impl FnOnce(&mut ClientWriter)) {
        write(&mut self.writer.borrow_mut());
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Keeps a connection for ever.
    pub async fn run(&self, user: &dyn LinkUser) {
        let mut pause = RetryPause { delay: RETRY_LEAST, cut_at: Instant::now() };
        let mut next = fastrand::usize(..);
        loop {
            next = next.wrapping_add(1);
            let server = &self.settings.servers[next % self.settings.servers.len()];
            let shown = server.to_string();
            match dial(&self.settings, server, &self.name, self.echo).await {
                Ok(dialed) => {
                    let begun = Instant::now();
                    let cut = self.converse(dialed, &shown, user).await;
                    pause.cut(begun, Instant::now());
                    self.cut_off();
                    user.cut();
                    self.tell(&format!("{shown}: {cut}"), "connecting again");
                }
                Err(NotDialed { step, why }) => {
                    let hint = match step {
                        super::dial::DialStep::Tcp => "is `nats-server` running there?",
                        _ => "`httpipe check` looks at each step of the way to NATS",
                    };
                    self.tell(&format!("{shown}: {why}"), hint);
                }
            }
            // Not all at once, if many have lost the same server.
            let delay = pause.next(Instant::now());
            tokio::time::sleep(delay.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Notes an error, and logs it unless it was just logged.
    fn tell(&self, error: &str, hint: &str) {
        self.report.borrow_mut().last_error = Some(error.to_owned());
        let mut told = self.told.borrow_mut();
        let now = Instant::now();
        let is_new = told
            .as_ref()
            .is_none_or(|(last, at)| last != error || now.duration_since(*at) >= TELL_AGAIN);
        if is_new {
            tracing::error!(why = error, hint, "no connection to NATS");
            *told = Some((error.to_owned(), now));
        }
    }

    fn cut_off(&self) {
        let mut report = self.report.borrow_mut();
        report.connected = false;
        report.since = Some(SystemTime::now());
        *self.writer.borrow_mut() = ClientWriter::default();
        // No answer will come.
        self.answered.set(self.asked.get());
        self.answer.notify_waiters();
    }

    /// Uses a connection until it is cut. Returns why it was.
    async fn converse(&self, dialed: Dialed, server: &str, user: &dyn LinkUser) -> LinkCut {
        let Dialed { wire, reader, info } = dialed;
        {
            let mut report = self.report.borrow_mut();
            report.connected = true;
            report.server = Some(server.to_owned());
            report.since = Some(SystemTime::now());
            report.max_payload = payload_of(&info);
            let mut writer = self.writer.borrow_mut();
            for (sid, Subscription { subject, group }) in self.subscriptions.borrow().iter() {
                writer.subscribe(*sid, subject, group.as_deref());
            }
        }
        self.heard_at.set(Instant::now());
        let (version, name) = (&info.version, &info.server_name);
        tracing::info!(server, name, version, "connected to NATS");
        user.connected();
        let (read, write) = tokio::io::split(wire);
        tokio::select! {
            cut = self.read(read, reader, user) => cut,
            cut = self.keep_writing(write) => cut,
            cut = self.keep_asking() => cut,
        }
    }

    async fn read(
        &self,
        mut wire: impl AsyncRead + Unpin,
        mut reader: ServerReader,
        user: &dyn LinkUser,
    ) -> LinkCut {
        loop {
            loop {
                match reader.next_op() {
                    Ok(Some(op)) => {
                        if let Some(cut) = self.take(op, user) {
                            return cut;
                        }
                    }
                    Ok(None) => break,
                    Err(not) => {
                        return LinkCut::Io(io::Error::new(io::ErrorKind::InvalidData, not));
                    }
                }
            }
            match wire.read_buf(reader.room()).await {
                Ok(0) => return LinkCut::Io(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.heard_at.set(Instant::now()),
                Err(error) => return LinkCut::Io(error),
            }
        }
    }

    fn take(&self, op: ServerOp, user: &dyn LinkUser) -> Option<LinkCut> {
        match op {
            ServerOp::Msg { sid, subject, payload } => {
                if self.subscriptions.borrow().contains_key(&sid) {
                    user.heard(sid, &subject, payload.as_ref());
                }
            }
            ServerOp::Ping => self.write(ClientWriter::pong),
            ServerOp::Info(info) => {
                let most = payload_of(&info);
                let before = std::mem::replace(&mut self.report.borrow_mut().max_payload, most);
                if before != most {
                    tracing::info!(before, most, "NATS takes messages of another size");
                    user.resized();
                }
                if info.is_leaving {
                    tracing::info!("the NATS server is about to stop");
                }
            }
            // The connection stays, and what was refused is not subscribed to.
            ServerOp::Refused(why) if why.starts_with("Permissions Violation") => {
                self.report.borrow_mut().last_error = Some(why.clone());
                let mut refusals = self.refusals.borrow_mut();
                if !refusals.contains(&why) && refusals.len() < REFUSALS_MOST {
                    let hint = "examples/spread/nats.conf has the permissions that each node needs";
                    tracing::error!(why, hint, "the NATS server refuses something");
                    refusals.push(why);
                }
            }
            ServerOp::Refused(why) => return Some(LinkCut::Refused(why)),
            ServerOp::Pong => {
                self.answered.set(self.asked.get().min(self.answered.get() + 1));
                self.answer.notify_waiters();
            }
            ServerOp::Fine => {}
        }
        None
    }

    async fn keep_writing(&self, mut wire: impl AsyncWrite + Unpin) -> LinkCut {
        loop {
            let out = poll_fn(|context| {
                let mut writer = self.writer.borrow_mut();
                if writer.waiting() > 0 {
                    return Poll::Ready(writer.bytes().split());
                }
                match &mut *self.waker.borrow_mut() {
                    Some(waker) => waker.clone_from(context.waker()),
                    empty => *empty = Some(context.waker().clone()),
                }
                Poll::Pending
            });
            let out = out.await;
            if let Err(error) = self.write_out(&mut wire, &out).await {
                return LinkCut::Io(error);
            }
        }
    }

    /// Writes all of it, and counts each byte that goes, so that a slow connection is not taken for one
    /// that stands still.
    async fn write_out(&self, wire: &mut (impl AsyncWrite + Unpin), out: &[u8]) -> io::Result<()> {
        let mut rest = out;
        while !rest.is_empty() {
            let count = wire.write(rest).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[count..];
            self.written.update(|written| written + count as u64);
        }
        wire.flush().await
    }

    /// Asks a server that says nothing whether it is there.
    async fn keep_asking(&self) -> LinkCut {
        loop {
            let written = self.written.get();
            tokio::time::sleep(PING_EVERY).await;
            let silence = self.heard_at.get().elapsed();
            if silence >= SILENCE_MOST {
                return LinkCut::Silent;
            }
            let is_stuck = self.written.get() == written;
            if is_stuck && self.writer.borrow().waiting() > BACKLOG_MOST {
                return LinkCut::Full;
            }
            if silence >= PING_EVERY {
                self.ask();
            }
        }
    }
}

fn payload_of(info: &ServerInfo) -> usize {
    usize::try_from(info.max_payload).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    #[derive(Default)]
    struct User {
        resized: Cell<u32>,
    }

    impl LinkUser for User {
        fn connected(&self) {}
        fn cut(&self) {}
        fn resized(&self) {
            self.resized.update(|count| count + 1);
        }
        fn heard(&self, _: u64, _: &str, _: Option<&Bytes>) {}
    }

    /// Runs `server` at the other end of a connection through which few bytes go at once.
    async fn converse(server: impl AsyncFnOnce(&NatsLink, &User, DuplexStream)) {
        let link = NatsLink::new(SpreadSettings::for_tests(), "test".to_owned());
        let (user, (wire, other)) = (User::default(), duplex(16));
        let info = ServerInfo { max_payload: 1000, ..ServerInfo::default() };
        let (wire, reader) = (Box::new(wire), ServerReader::new(1000));
        let conversation = link.converse(Dialed { wire, reader, info }, "it", &user);
        tokio::select! {
            biased;
            cut = conversation => panic!("{cut}"),
            () = server(&link, &user, other) => {}
        }
    }

    #[test]
    fn one_that_is_cut_off_comes_back_soon_also_where_it_was_away_long_before() {
        let (begun, seconds) = (Instant::now(), Duration::from_secs);
        let mut pause = RetryPause { delay: RETRY_LEAST, cut_at: begun };
        let millis = [100, 200, 250, 250].map(Duration::from_millis);
        assert_eq!([(); 4].map(|()| pause.next(begun)), millis);
        let later = begun + SOON_FOR;
        for _ in 0..9 {
            pause.next(later);
        }
        assert_eq!(pause.next(later), RETRY_MOST);
        let back = begun + seconds(60);
        pause.cut(back, back + seconds(2));
        assert_eq!(pause.next(back + seconds(2)), RETRY_SOON, "calls that are away wait for it");
        pause.cut(back, back + seconds(9));
        assert_eq!(pause.next(back + seconds(9)), RETRY_LEAST);
    }

    async fn read_until(server: &mut DuplexStream, end: &str) {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            server.read_buf(&mut all).await.expect("it is open");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_has_arrived_once_the_server_answers_what_came_after_it() {
        converse(async |link, _, mut server| {
            assert!(link.send("a", None, &[b'x'; 900]));
            let mut flush = pin!(link.flush());
            let mut is_done = async || {
                poll_fn(|context| Poll::Ready(flush.as_mut().poll(context).is_ready())).await
            };
            assert!(!is_done().await);
            read_until(&mut server, "x\r\nPING\r\n").await;
            assert!(!is_done().await, "the server may be gone before it has read it");
            server.write_all(b"PONG\r\n").await.expect("it is open");
            while !is_done().await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_connection_is_none_that_stands_still() {
        converse(async |link, _, mut server| {
            assert!(link.send("a", None, &[b'x'; 900]));
            // It is being written.
            tokio::task::yield_now().await;
            for _ in 0..=BACKLOG_MOST / 1000 {
                assert!(link.send("a", None, &[b'x'; 1000]));
            }
            for _ in 0..20 {
                server.read_exact(&mut [0; 16]).await.expect("it is open");
                tokio::time::advance(Duration::from_millis(200)).await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_less_from_now_on_is_sent_less() {
        converse(async |link, user, mut server| {
            for _ in 0..2 {
                let said = b"INFO {\"max_payload\":100}\r\nPING\r\n";
                server.write_all(said).await.expect("it is open");
                read_until(&mut server, "PONG\r\n").await;
            }
            assert_eq!((link.max_payload(), user.resized.get()), (100, 1));
            assert!(!link.send("a", None, &[b'x'; 101]));
        })
        .await;
    }
}
