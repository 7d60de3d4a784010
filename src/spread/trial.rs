//! Tries the way to other servers for `check`: the connection, each subject, and who else is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::dial::{DialStep, Dialed, NatsWire, NotDialed, dial, read_op};
use super::hosts::{OtherNodes, OtherPool};
use super::message::{HostMessage, TRIAL};
use super::nats::{ClientWriter, ServerInfo, ServerOp, ServerReader};
use super::node::Seal;
use super::subject::Subjects;
use crate::base::NodeId;
use crate::config::{PoolSettings, SpreadSettings};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long others are listened for; each says every second that it is there.
const LISTEN_FOR: Duration = Duration::from_millis(1300);
/// Where the server sets it lower, messages become many.
const PAYLOAD_ENOUGH: u64 = 256 << 10;

const RIGHTS: &str = "allow its user what examples/spread/nats.conf does";

/// What was found out of the way to other servers.
#[derive(Debug, Default)]
pub struct SpreadTrial {
    /// The NATS server that was tried.
    pub server: String,
    /// Its version.
    pub version: String,
    /// How long one round trip took.
    pub took: Option<Duration>,
    /// How many subjects were tried.
    pub subjects: usize,
    /// Most bytes of a message; 0 if it is not known.
    pub max_payload: u64,
    /// The other servers, in words.
    pub others: Vec<String>,
    /// What makes it fail, and what to do about it.
    pub errors: Vec<(String, String)>,
    /// What is unwise, and what to do about it.
    pub warnings: Vec<(String, String)>,
}

/// Does what calls will do. `has_callers`: calls may come to this server itself.
pub async fn try_spread(
    settings: &SpreadSettings,
    pools: &[Arc<PoolSettings>],
    has_callers: bool,
) -> SpreadTrial {
    let mut trial = SpreadTrial::default();
    let mut failed = Vec::new();
    for server in &settings.servers {
        match dial(settings, server, "httpipe check", true).await {
            Ok(_) if !trial.server.is_empty() => {}
            Ok(dialed) => {
                trial.server = server.to_string();
                let pools: Vec<TriedPool<'_>> =
                    pools.iter().filter_map(|pool| TriedPool::of(pool)).collect();
                let mut probe = SubjectProbe::new(dialed, &mut trial);
                let subjects = Subjects::of(&settings.name);
                if let Err(why) = probe.try_all(&subjects, &pools, has_callers).await {
                    trial.errors.push((why, "see its log".to_owned()));
                }
            }
            Err(not) => failed.push((format!("{server}: {not}"), hint(&not, settings).to_owned())),
        }
    }
    if trial.server.is_empty() {
        trial.errors.append(&mut failed);
    }
    trial.warnings.append(&mut failed);
    trial
}

fn hint(not: &NotDialed, settings: &SpreadSettings) -> &'static str {
    match not.step {
        DialStep::Tcp => "start `nats-server` there, or correct `nats` of [spread]",
        DialStep::Greeting => {
            "name the port of NATS for clients, which is 4222 unless it was changed"
        }
        DialStep::Tls => "name the certificates of who signed for it in `ca` of [spread]",
        DialStep::Login if settings.creds.is_none() => {
            "name who this server is in `creds` of [spread]"
        }
        DialStep::Login => {
            "see what `creds` of [spread] names, and the users in the configuration of NATS"
        }
    }
}

/// One pool that is shared.
struct TriedPool<'a> {
    name: &'a str,
    seal: Seal,
    facts: Vec<(String, Seal)>,
    can_host: bool,
}

impl<'a> TriedPool<'a> {
    fn of(settings: &'a PoolSettings) -> Option<Self> {
        let facts = super::node::facts_of(settings.program.spread.as_deref()?);
        let seal = Seal::of_pool(&settings.name, &facts);
        let can_host = settings.rules.workers_most > 0;
        Some(Self { name: &settings.name, seal, facts, can_host })
    }
}

/// A connection that subjects are tried with.
struct SubjectProbe<'a> {
    wire: Box<dyn NatsWire>,
    reader: ServerReader,
    writer: ClientWriter,
    sids: u64,
    trial: &'a mut SpreadTrial,
    others: OtherNodes,
}

/// What this server does with a subject.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    publishes: bool,
    subscribes: bool,
}

impl<'a> SubjectProbe<'a> {
    fn new(Dialed { wire, reader, info }: Dialed, trial: &'a mut SpreadTrial) -> Self {
        let ServerInfo { server_name: _, version, max_payload, headers, .. } = info;
        trial.version = version;
        trial.max_payload = max_payload;
        if max_payload < PAYLOAD_ENOUGH {
            let message =
                format!("`max_payload` is {max_payload} bytes, so larger calls take many messages");
            trial
                .warnings
                .push((message, "leave it at 1MB in the configuration of NATS".to_owned()));
        }
        if !headers {
            let message = "it cannot tell that nobody listens: a host that dies is noticed late";
            let hint = "use nats-server 2.2 or later, without `no_header_support`";
            trial.warnings.push((message.to_owned(), hint.to_owned()));
        }
        let (writer, others) = (ClientWriter::default(), OtherNodes::default());
        Self { wire, reader, writer, sids: 0, trial, others }
    }

    async fn try_all(
        &mut self,
        subjects: &Subjects,
        pools: &[TriedPool<'_>],
        has_callers: bool,
    ) -> Result<(), String> {
        let can_host = pools.iter().any(|pool| pool.can_host);
        let both = Uses { publishes: true, subscribes: true };
        // It stays subscribed, so it hears others from here on.
        self.try_subject(&subjects.hosts(), both).await?;
        let node = NodeId(fastrand::u128(..));
        let of_role = |publishes, subscribes| Uses { publishes, subscribes };
        self.try_subject(&subjects.owner(node), of_role(can_host, has_callers)).await?;
        self.try_subject(&subjects.host(node), of_role(has_callers, can_host)).await?;
        if has_callers {
            let unheard = subjects.all_unheard(node);
            self.try_subject(&unheard, of_role(false, true)).await?;
        }
        for pool in pools {
            // Nobody listens there, so nobody is disturbed.
            let seal = Seal(fastrand::u64(..));
            let demand = subjects.demand(pool.name, seal);
            self.try_subject(&demand, of_role(true, pool.can_host)).await?;
            let hungry = subjects.hungry(pool.name, seal);
            self.try_subject(&hungry, of_role(has_callers, pool.can_host)).await?;
        }
        let until = Instant::now() + LISTEN_FOR;
        while let Ok(op) =
            tokio::time::timeout_at(until.into(), read_op(&mut self.wire, &mut self.reader)).await
        {
            self.hear(&op.map_err(|error| format!("it ends the connection: {error}"))?);
        }
        self.tell_others(pools);
        Ok(())
    }

    /// Publishes and subscribes as this server will, and waits until the server has done it. What comes
    /// back shows that the way is open.
    async fn try_subject(&mut self, subject: &str, uses: Uses) -> Result<(), String> {
        if !(uses.publishes || uses.subscribes) {
            return Ok(());
        }
        self.trial.subjects += 1;
        self.sids += 1;
        let sid = self.sids;
        if uses.subscribes {
            self.writer.subscribe(sid, subject, None);
        }
        if uses.publishes {
            self.writer.publish(subject, None, TRIAL);
        }
        let (begun, refused) = (Instant::now(), self.trial.errors.len());
        let mut awaited = uses.publishes && uses.subscribes;
        // The server answers in order, except that its own message may come after the first.
        for _ in 0..2 {
            self.writer.ping();
            awaited &= !self.until_pong(sid).await?;
            if !awaited || self.trial.errors.len() > refused {
                self.trial.took.get_or_insert(begun.elapsed());
                return Ok(());
            }
        }
        let message = format!("what is sent to `{subject}` does not come back");
        self.trial.errors.push((message, RIGHTS.to_owned()));
        Ok(())
    }

    /// Returns true if a message has come for this subscription before the server has answered.
    async fn until_pong(&mut self, sid: u64) -> Result<bool, String> {
        let asked = async {
            self.wire.write_all(&self.writer.bytes().split()).await?;
            self.wire.flush().await
        };
        asked.await.map_err(|error| format!("it ends the connection: {error}"))?;
        let mut has_come = false;
        loop {
            let next = timeout(PATIENCE, read_op(&mut self.wire, &mut self.reader)).await;
            let next = next.map_err(|_| "it does not answer".to_owned())?;
            let op = next.map_err(|error| format!("it ends the connection: {error}"))?;
            match &op {
                ServerOp::Pong => return Ok(has_come),
                ServerOp::Msg { sid: of, .. } => has_come |= *of == sid,
                _ => {}
            }
            self.hear(&op);
        }
    }

    fn hear(&mut self, op: &ServerOp) {
        match op {
            ServerOp::Msg { payload: Some(payload), .. } => {
                if let Ok((HostMessage::Beat(beat), _)) = HostMessage::decode(payload) {
                    self.others.heard(Instant::now(), beat);
                }
            }
            ServerOp::Ping => self.writer.pong(),
            ServerOp::Refused(why) => {
                self.trial.errors.push((format!("it says `{why}`"), RIGHTS.to_owned()));
            }
            _ => {}
        }
    }

    /// Says who else is there, and which of them share calls.
    fn tell_others(&mut self, pools: &[TriedPool<'_>]) {
        for (_, beat) in self.others.all() {
            let name = format!("{} ({})", beat.machine, beat.node.tag());
            for theirs in &beat.pools.0 {
                let Some(ours) = pools.iter().find(|pool| pool.name == theirs.name) else {
                    continue;
                };
                let pool = &theirs.name;
                if ours.seal == theirs.seal {
                    let workers = match theirs.workers {
                        1 => "1 worker".to_owned(),
                        workers => format!("{workers} workers"),
                    };
                    let state = if beat.draining { ", draining" } else { "" };
                    self.trial.others.push(format!("{name}: `{pool}`, {workers}{state}"));
                    continue;
                }
                let differs = OtherPool { beat, pool: theirs }.differs_in(&ours.facts);
                let keys: Vec<_> = differs.iter().map(|key| format!("`{key}`")).collect();
                let keys = match &keys[..] {
                    // What it has was not said, or is a key of a later version.
                    [] => "other keys".to_owned(),
                    keys => format!("another {}", keys.join(", ")),
                };
                self.trial.others.push(format!("{name}: `{pool}` with {keys}"));
                let message = format!(
                    "host {name} has {keys} of pool `{pool}`, so it shares no calls with this server"
                );
                let hint = "give both the same, unless one of them is about to be replaced";
                self.trial.warnings.push((message, hint.to_owned()));
            }
        }
        for pool in pools.iter().filter(|pool| !pool.can_host) {
            if self.others.workers_for(pool.name, pool.seal).1 == 0 {
                let message = format!("no host has workers for pool `{}` now", pool.name);
                let hint = "start one with the same file: `httpipe run FILE --listen off`";
                self.trial.warnings.push((message, hint.to_owned()));
            }
        }
    }
}
