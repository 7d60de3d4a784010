//! The agent port: tells load balancers how many calls this server can take now.
//!
//! A balancer connects every second or two, may send one line, and gets one. `words` has the lines,
//! `balancers` remembers who asks. Nothing that is sent here changes what the server does.

mod balancers;
mod words;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::balancers::Balancers;
pub use self::words::Offer;
use self::words::{Allotment, LINE_MOST, MISTAKEN, share};
use crate::net::Stream;
use crate::observe::metrics::{AgentResult, Metrics};
use crate::report::AgentStatus;

/// How long a balancer that says nothing is waited for: it may have nothing to say.
const LINE_PATIENCE: Duration = Duration::from_millis(200);
/// How long a pool whose only worker is being replaced is waited for.
const READY_PATIENCE: Duration = Duration::from_millis(200);
/// Longest time for an answer to be taken.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// A balancer that sends unknown lines does so each second; the log has one of them in this time.
const COMPLAINTS_APART: Duration = Duration::from_mins(10);

/// What the agent port needs of the server.
pub trait Balanced {
    /// Returns what the server can take now.
    fn offer(&self) -> Offer;

    /// Waits until the server is ready, or for ever.
    fn become_ready(&self) -> impl Future<Output = ()>;

    /// Returns true if `trust` names this address; `None`: who connects by a socket file.
    fn trusts(&self, address: Option<IpAddr>) -> bool;
}

/// Answers load balancers.
#[derive(Debug)]
pub struct Agent<B> {
    server: B,
    listen: String,
    metrics: Arc<Metrics>,
    balancers: RefCell<Balancers>,
    one_was_answered: Notify,
    last: Cell<Option<(Allotment, Instant)>>,
    /// When the log was last told of an unknown line.
    complained: Cell<Option<Instant>>,
}

impl<B: Balanced> Agent<B> {
    /// Answers for `server` at the address `listen`.
    pub fn new(server: B, listen: String, metrics: Arc<Metrics>) -> Rc<Self> {
        Rc::new(Self {
            server,
            listen,
            metrics,
            balancers: RefCell::default(),
            one_was_answered: Notify::new(),
            last: Cell::default(),
            complained: Cell::default(),
        })
    }

    /// Answers one connection, which comes from `address` unless it is by a socket file, and ends it.
    pub async fn serve(&self, stream: Stream, address: Option<IpAddr>) {
        if !self.may_ask(address) {
            return self.metrics.agent_asked(AgentResult::Refused);
        }
        match stream {
            Stream::Tcp(stream) => self.converse(stream, address).await,
            Stream::Unix(stream) => self.converse(stream, address).await,
        }
    }

    fn may_ask(&self, address: Option<IpAddr>) -> bool {
        let address = address.map(|address| address.to_canonical());
        address.is_none_or(|address| address.is_loopback()) || self.server.trusts(address)
    }

    async fn converse<S>(&self, mut stream: S, address: Option<IpAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let result = self.answer(&mut stream, address).await;
        self.metrics.agent_asked(result);
        linger(&mut stream).await;
    }

    async fn answer<S>(&self, stream: &mut S, address: Option<IpAddr>) -> AgentResult
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let sent = line(stream).await;
        let Some(share) = sent.as_deref().and_then(share) else {
            self.note_mistake(sent.as_deref());
            tell(stream, MISTAKEN).await;
            return AgentResult::Mistaken;
        };
        let allotment = self.allotment(share).await;
        if !tell(stream, &format!("{allotment}\n")).await {
            return AgentResult::Gone;
        }
        self.note_answer(address, allotment);
        match allotment {
            Allotment::Drain => AgentResult::Drain,
            Allotment::Ready { .. } => AgentResult::Ready,
        }
    }

    /// Returns what one of `share` balancers is told. A pool that has no worker for a moment, while
    /// its only one is replaced, is no reason to send callers elsewhere.
    async fn allotment(&self, share: NonZeroUsize) -> Allotment {
        if self.server.offer() == Offer::Drain {
            timeout(READY_PATIENCE, self.server.become_ready()).await.ok();
        }
        self.server.offer().part(share)
    }

    fn note_answer(&self, address: Option<IpAddr>, allotment: Allotment) {
        let now = Instant::now();
        self.last.set(Some((allotment, now)));
        self.balancers.borrow_mut().answered(now, address, allotment == Allotment::Drain);
        self.one_was_answered.notify_one();
    }

    fn note_mistake(&self, sent: Option<&[u8]>) {
        let now = Instant::now();
        if self.complained.get().is_some_and(|last| now - last < COMPLAINTS_APART) {
            return;
        }
        self.complained.set(Some(now));
        let sent = sent.map(|sent| sent.escape_ascii().to_string());
        tracing::warn!(
            sent,
            hint = "in HAProxy, write agent-send \"share=K\\n\" with the number of balancers, or no \
                    agent-send",
            "a load balancer sent an unknown line to the agent port"
        );
    }

    /// Waits until each balancer that asks knows that the server stops, but not for long. Returns at
    /// once if none asks.
    pub async fn wait_until_known(&self) {
        self.balancers.borrow_mut().stop(Instant::now());
        loop {
            let until = self.balancers.borrow().awaited_until(Instant::now());
            let Some(until) = until else { return };
            tokio::time::timeout_at(until.into(), self.one_was_answered.notified()).await.ok();
        }
    }

    /// Returns true if a balancer has asked lately.
    pub fn is_asked(&self) -> bool {
        self.balancers.borrow_mut().len(Instant::now()) > 0
    }

    /// Returns what operators are told of it.
    pub fn status(&self) -> AgentStatus {
        let last = self.last.get();
        AgentStatus {
            listen: self.listen.clone(),
            balancers: self.balancers.borrow_mut().len(Instant::now()),
            said: last.map(|(allotment, _)| allotment.to_string()),
            said_ago: last.map(|(_, at)| at.elapsed()),
        }
    }
}

/// Reads the line of a balancer. What came is taken for the line if its end does not come. Returns
/// `None` if it is too long.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = async {
        while line.len() <= LINE_MOST && !line.ends_with(b"\n") {
            let mut part = [0; LINE_MOST + 1];
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(count) => line.extend_from_slice(&part[..count]),
            }
        }
    };
    timeout(LINE_PATIENCE, read).await.ok();
    (line.len() <= LINE_MOST).then_some(line)
}

/// Sends an answer, and says that no more will come. Returns false if the other end did not take it.
async fn tell(stream: &mut (impl AsyncWrite + Unpin), answer: &str) -> bool {
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(WRITE_PATIENCE, told).await.is_ok_and(|told| told.is_ok())
}

/// Waits a moment for the other end to read its answer: a close with bytes that were not read breaks
/// the connection, and the answer can be lost with it.
async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = [0; 1024];
    timeout(LINE_PATIENCE, stream.read(&mut rest)).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        offers: RefCell<Vec<Offer>>,
        trusted: Option<IpAddr>,
    }

    impl Balanced for Fake {
        /// The last one is taken first, and the first one stays.
        fn offer(&self) -> Offer {
            let mut offers = self.offers.borrow_mut();
            if offers.len() > 1 { offers.pop().expect("there are several") } else { offers[0] }
        }

        async fn become_ready(&self) {}

        fn trusts(&self, address: Option<IpAddr>) -> bool {
            address.is_some() && address == self.trusted
        }
    }

    fn agent(offers: &[Offer]) -> Rc<Agent<Fake>> {
        let trusted = Some("10.0.0.7".parse().expect("an address"));
        let fake = Fake { offers: RefCell::new(offers.to_vec()), trusted };
        Agent::new(fake, "127.0.0.1:3002".to_owned(), Metrics::new())
    }

    const WAITED_MOST: Duration = Duration::from_secs(2);
    const FOUR: Offer = Offer::Ready { slots: 4 };

    /// Returns what a balancer reads that sends these parts.
    async fn told(agent: &Agent<Fake>, sent: &[&str]) -> (String, AgentResult) {
        let (ours, mut theirs) = tokio::io::duplex(256);
        let balancer = async {
            for part in sent {
                theirs.write_all(part.as_bytes()).await.expect("there is room");
                tokio::task::yield_now().await;
            }
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.expect("it is text");
            drop(theirs);
            text
        };
        let mut ours = ours;
        let answer = async {
            let result = agent.answer(&mut ours, None).await;
            linger(&mut ours).await;
            drop(ours);
            result
        };
        tokio::join!(balancer, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_gets_one_line() {
        for (sent, text, result) in [
            (&[][..], "ready up maxconn:4\n", AgentResult::Ready),
            (&["share=2\n"], "ready up maxconn:2\n", AgentResult::Ready),
            (&["sha", "re=2\r", "\n"], "ready up maxconn:2\n", AgentResult::Ready),
            (&["share=2"], "ready up maxconn:2\n", AgentResult::Ready),
            (&["share=9\n"], "ready up maxconn:1\n", AgentResult::Ready),
            (&["share=x\n"], MISTAKEN, AgentResult::Mistaken),
            (&["GET / HTTP/1.1\r\nHost: a\r\n\r\n"], MISTAKEN, AgentResult::Mistaken),
            (&[&"x".repeat(200)], MISTAKEN, AgentResult::Mistaken),
        ] {
            let seen = told(&agent(&[FOUR]), sent).await;
            assert_eq!(seen, (text.to_owned(), result), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_ready_is_given_a_moment() {
        let seen = told(&agent(&[Offer::Drain]), &["\n"]).await;
        assert_eq!(seen, ("drain\n".to_owned(), AgentResult::Drain));
        let seen = told(&agent(&[FOUR, Offer::Drain]), &["\n"]).await;
        assert_eq!(seen, ("ready up maxconn:4\n".to_owned(), AgentResult::Ready));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_read_is_left() {
        let agent = agent(&[FOUR]);
        let (mut ours, theirs) = tokio::io::duplex(1);
        assert_eq!(agent.answer(&mut ours, None).await, AgentResult::Gone);
        assert!(!agent.is_asked());
        drop(theirs);
    }

    #[test]
    fn strangers_on_other_machines_may_not_ask() {
        let agent = agent(&[FOUR]);
        for (address, may) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("10.0.0.8", false),
            ("::", false),
        ] {
            assert_eq!(agent.may_ask(Some(address.parse().expect("one"))), may, "{address}");
        }
        assert!(agent.may_ask(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_until_the_balancers_know() {
        let agent = agent(&[Offer::Drain, Offer::Drain, FOUR, FOUR]);
        assert!(!agent.is_asked());
        told(&agent, &["\n"]).await;
        assert!(agent.is_asked());
        assert_eq!(agent.status().said.as_deref(), Some("ready up maxconn:4"));
        let (waited, (text, _)) =
            tokio::join!(timeout(WAITED_MOST, agent.wait_until_known()), told(&agent, &["\n"]));
        assert_eq!((waited.is_ok(), &*text), (true, "drain\n"));
    }
}
