//! Tries the shared cache for `check`: from the connection to the scripts and what a full memory does.

use std::sync::Arc;
use std::time::Instant;

use super::connect::{NotConnected, RedisConnection};
use crate::cache::SharedTrial;
use crate::cache::shared::{RunToken, SharedKey, SharedSeen};
use crate::config::SharedCacheSettings;

const LOGIN: &str =
    "see the user in `shared`, and HTTPIPE_CACHE_SHARED_PASSWORD or `shared_password`";
const RIGHTS: &str = "allow its user what docs/scale.md lists";

/// Does what calls will do, and says what is wrong or unwise.
pub async fn try_shared(settings: &SharedCacheSettings) -> SharedTrial {
    let mut trial = SharedTrial { server: settings.place.to_string(), ..SharedTrial::default() };
    let opened = RedisConnection::open(settings, Arc::default()).await;
    let (connection, driver) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            trial.error = Some((format!("it cannot be used: {why}"), hint(&why).to_owned()));
            return trial;
        }
    };
    tokio::select! {
        () = asked(settings, &connection, &mut trial) => {}
        () = driver => {
            let hint = "see its log";
            trial.error = Some(("it ends the connection".to_owned(), hint.to_owned()));
        }
    }
    trial
}

async fn asked(settings: &SharedCacheSettings, redis: &RedisConnection, trial: &mut SharedTrial) {
    let answer = format!("hp1:{{check}}:{}", RunToken(fastrand::u128(..)));
    let key = SharedKey { answer, question: bytes::Bytes::new() };
    let run = RunToken(fastrand::u128(..));
    let begun = Instant::now();
    let seen = redis.look(&key, None, Some(run)).await;
    trial.took = Some(begun.elapsed());
    let ended = redis.end(&key, Some(run), None, None).await;
    match (seen, ended) {
        (Ok(SharedSeen::Leads), Ok(_)) => {}
        (Ok(_), Ok(_)) => {
            let message = "nothing can be written there, so servers share neither answers nor runs";
            let hint = "name the primary server, not a read-only replica, and give it memory";
            trial.error = Some((message.to_owned(), hint.to_owned()));
        }
        (Err(error), _) | (_, Err(error)) => {
            trial.error = Some((format!("a script is refused: {error}"), RIGHTS.to_owned()));
        }
    }
    if trial.took.is_some_and(|took| took > settings.limit) {
        let message = format!("a look took longer than `shared_timeout` of {:?}", settings.limit);
        let hint = "calls would run without it; name one that is nearer, or raise `shared_timeout`";
        trial.warnings.push((message, hint.to_owned()));
    }
    match redis.eviction().await.as_deref() {
        Some("noeviction") => {
            let message = "`maxmemory-policy` is `noeviction`: once its memory is full, no new answers are \
                           shared";
            let hint = "set it to `allkeys-lru`, if nothing else is kept there";
            trial.warnings.push((message.to_owned(), hint.to_owned()));
        }
        Some(policy) => trial.eviction = Some(policy.to_owned()),
        None => {}
    }
}

fn hint(why: &NotConnected) -> &'static str {
    match why {
        NotConnected::Unreachable(_) => "start it, or correct `shared` of `[cache]`",
        NotConnected::Tls(_) => "name those who signed its certificate in `shared_ca`",
        NotConnected::Silent => "see whether it stands still, and which firewall is between",
        NotConnected::Refused { what: "the login", .. } => LOGIN,
        NotConnected::Refused { why, .. } if why.contains("no permissions") => RIGHTS,
        NotConnected::Refused { .. } => "see what it says, and its log",
    }
}
