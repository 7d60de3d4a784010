//! One connection to a Redis or Valkey, and the three scripts that are asked over it.
//!
//! Each script is one round trip, and Redis runs it as one step.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::followers::Followers;
use super::tls;
use crate::cache::shared::{
    ENDED, LEASE, NOTE, RunToken, SharedKey, SharedSeen, SharedValue, VALUE_MAX, read, write,
};
use crate::config::{SharedCacheSettings, SharedPlace};

/// How long it may take until a connection can be used.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks for an answer (`KEYS[1]`), then for the end of the run that was waited for (`KEYS[3]`), then for
/// a run that is under way (`KEYS[2]`), whose server learns that somebody waits; else begins a run.
const LOOK: &str = "
local answer = redis.call('GET', KEYS[1])
if answer then
  if #answer > tonumber(ARGV[3]) then return {'unusable'} end
  return {'answer', answer, redis.call('PTTL', KEYS[1])}
end
if KEYS[3] then
  local note = redis.call('GET', KEYS[3])
  if note and #note <= tonumber(ARGV[3]) then return {'note', note} end
end
if ARGV[1] == '' then return {'nothing'} end
local run = redis.call('GET', KEYS[2])
if run then
  if string.sub(run, 33) == '' then redis.pcall('SET', KEYS[2], run .. '+', 'KEEPTTL') end
  return {'runs', string.sub(run, 1, 32)}
end
local begun = redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if type(begun) == 'table' and begun.err then return {'refused'} end
return {'leads'}
";

/// Keeps an answer, and ends a run: those who wait for it, if any do, are told.
const END: &str = "
local kept = true
if ARGV[2] ~= '' then kept = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
local run = ARGV[1] ~= '' and redis.call('GET', KEYS[2])
if run and string.sub(run, 1, 32) == ARGV[1] then
  redis.call('DEL', KEYS[2])
  if string.sub(run, 33) == '+' then
    if ARGV[4] ~= '' then redis.pcall('SET', KEYS[3], ARGV[4], 'PX', ARGV[5]) end
    redis.pcall('PUBLISH', ARGV[6], ARGV[1])
  end
end
if type(kept) == 'table' and kept.err then return 'refused' end
return 'ok'
";

/// Says that a run goes on.
const RENEW: &str = "
local run = redis.call('GET', KEYS[1])
if run and string.sub(run, 1, 32) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 'ok'
";

/// A connection that can be used.
#[derive(Clone, Debug)]
pub(super) struct RedisConnection {
    redis: MultiplexedConnection,
    look: Arc<str>,
    end: Arc<str>,
    renew: Arc<str>,
}

/// What reads and writes for a connection, until it ends.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Why there is no connection. Holds no password.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotConnected {
    /// Nobody is there.
    #[error("{0}")]
    Unreachable(io::Error),
    /// The two do not agree on TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// It was too slow.
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// It refuses something.
    #[error("{what} is refused: {why}")]
    Refused {
        /// What it refuses.
        what: &'static str,
        /// What it says.
        why: String,
    },
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

impl RedisConnection {
    /// Connects, logs in, and tries what calls will need. Ends of runs that others
    /// tell go to `followers`.
    pub(super) async fn open(
        settings: &SharedCacheSettings,
        followers: Arc<Followers>,
    ) -> Result<(Self, Driver), NotConnected> {
        let opened = tokio::time::timeout(PATIENCE, open(settings, followers)).await;
        let (redis, mut driver) = opened.unwrap_or(Err(NotConnected::Silent))?;
        let prepared = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                biased;
                prepared = prepare(redis) => prepared,
                () = &mut driver => Err(NotConnected::Unreachable(io::ErrorKind::BrokenPipe.into())),
            }
        });
        let connection = prepared.await.unwrap_or(Err(NotConnected::Silent))?;
        Ok((connection, driver))
    }

    /// Looks for the answer to a question, and for the end of the run that was waited for. Begins the
    /// run with the name `begins` if there is neither, nor a run under way.
    pub(super) async fn look(
        &self,
        key: &SharedKey,
        waited: Option<RunToken>,
        begins: Option<RunToken>,
    ) -> Result<SharedSeen, RedisError> {
        let note = waited.map(|run| key.note(run));
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.look).arg(if note.is_some() { 3 } else { 2 });
        command.arg(&key.answer).arg(key.lease()).arg(note);
        command.arg(begins.map(|run| run.to_string()).unwrap_or_default());
        command.arg(LEASE.as_millis() as u64).arg(VALUE_MAX);
        let value: Value = command.query_async(&mut self.redis.clone()).await?;
        Ok(seen(&key.question, &value).unwrap_or(SharedSeen::Unusable))
    }

    /// Keeps what became of a question, and ends its run. Returns false if nothing can be kept there.
    pub(super) async fn end(
        &self,
        key: &SharedKey,
        run: Option<RunToken>,
        kept: Option<(&SharedValue, Duration)>,
        note: Option<&SharedValue>,
    ) -> Result<bool, RedisError> {
        let text = |written: &SharedValue| {
            let text = write(&key.question, written);
            // Else others would wait for each other's runs in turn.
            let is_too_long = text.is_none() && matches!(written, SharedValue::Reply(_));
            let apart = || write(&key.question, &SharedValue::Apart).filter(|_| is_too_long);
            text.or_else(apart).unwrap_or_default()
        };
        let (kept, ttl) = kept.unzip();
        let run_name = run.map(|run| run.to_string()).unwrap_or_default();
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.end).arg(3);
        command.arg(&key.answer).arg(key.lease()).arg(key.note(run.unwrap_or(RunToken(0))));
        command.arg(run_name).arg(kept.map(text).unwrap_or_default());
        command.arg(ttl.unwrap_or_default().as_millis().max(1) as u64);
        command.arg(note.map(text).unwrap_or_default());
        command.arg(NOTE.as_millis() as u64).arg(ENDED);
        let said: String = command.query_async(&mut self.redis.clone()).await?;
        Ok(said == "ok")
    }

    /// Says that a run goes on.
    pub(super) async fn renew(&self, key: &SharedKey, run: RunToken) -> Result<(), RedisError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.renew).arg(1).arg(key.lease());
        command.arg(run.to_string()).arg(LEASE.as_millis() as u64);
        command.query_async(&mut self.redis.clone()).await
    }

    /// Returns what it drops where its memory is full; `None` if it does not say so.
    pub(super) async fn eviction(&self) -> Option<String> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory-policy");
        let told: Vec<(String, String)> =
            command.query_async(&mut self.redis.clone()).await.ok()?;
        told.into_iter().next().map(|(_, policy)| policy)
    }
}

async fn open(
    settings: &SharedCacheSettings,
    followers: Arc<Followers>,
) -> Result<(MultiplexedConnection, Driver), NotConnected> {
    let stream: Box<dyn Bytes> = match &settings.place {
        SharedPlace::Unix(path) => {
            Box::new(UnixStream::connect(path).await.map_err(NotConnected::Unreachable)?)
        }
        SharedPlace::Tcp { host, port, secure } => {
            let tcp = TcpStream::connect((host.as_str(), *port)).await;
            let tcp = tcp.map_err(NotConnected::Unreachable)?;
            // Without it each small request would wait for an acknowledgement.
            tcp.set_nodelay(true).map_err(NotConnected::Unreachable)?;
            match secure {
                false => Box::new(tcp),
                true => Box::new(
                    tls::secure(tcp, host, settings.ca.as_deref())
                        .await
                        .map_err(NotConnected::Tls)?,
                ),
            }
        }
    };
    let mut about = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(i64::from(settings.database))
        .set_skip_set_lib_name();
    if let Some(user) = &settings.user {
        about = about.set_username(user);
    }
    if let Some(password) = &settings.password {
        about = about.set_password(password.reveal());
    }
    let hear = move |push: PushInfo| -> Result<(), SendError> {
        if push.kind == PushKind::Message
            && let Some(Value::BulkString(run)) = push.data.last()
            && let Some(run) = RunToken::read(run)
        {
            followers.ended(run);
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new().set_push_sender(hear).set_response_timeout(None);
    let opened = MultiplexedConnection::new_with_config(&about, stream, config).await;
    let (redis, driver) = opened.map_err(refused("the login"))?;
    Ok((redis, Box::pin(driver)))
}

/// Does what every connection needs once.
async fn prepare(mut redis: MultiplexedConnection) -> Result<RedisConnection, NotConnected> {
    redis.subscribe(ENDED).await.map_err(refused("SUBSCRIBE"))?;
    let mut load = async |script| {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(script);
        let sum: Result<String, _> = command.query_async(&mut redis).await;
        sum.map(Arc::from).map_err(refused("SCRIPT LOAD"))
    };
    let (look, end, renew) = (load(LOOK).await?, load(END).await?, load(RENEW).await?);
    let connection = RedisConnection { redis, look, end, renew };
    let key = SharedKey { answer: "hp1:{}:try".to_owned(), question: bytes::Bytes::new() };
    connection.look(&key, None, None).await.map_err(refused("EVALSHA"))?;
    Ok(connection)
}

fn refused(what: &'static str) -> impl Fn(RedisError) -> NotConnected {
    move |error| NotConnected::Refused { what, why: error.to_string() }
}

/// Reads the answer of the script that looks; `None` if it is none.
fn seen(question: &[u8], value: &Value) -> Option<SharedSeen> {
    let Value::Array(parts) = value else { return None };
    let text = |place: usize| match parts.get(place) {
        Some(Value::BulkString(text)) => Some(&**text),
        _ => None,
    };
    let written = |text: &[u8]| read(question, text);
    Some(match text(0)? {
        b"answer" => match (written(text(1)?), parts.get(2)?) {
            (Ok(written), Value::Int(left)) if *left > 0 => {
                SharedSeen::Value(written, Duration::from_millis(left.unsigned_abs()))
            }
            // One without a time would be kept for ever.
            _ => SharedSeen::Unusable,
        },
        b"note" => written(text(1)?).map_or(SharedSeen::Unusable, SharedSeen::Ended),
        b"runs" => SharedSeen::Runs(RunToken::read(text(1)?)?),
        b"leads" => SharedSeen::Leads,
        b"nothing" => SharedSeen::Nothing,
        b"refused" => SharedSeen::Refused,
        _ => return None,
    })
}
