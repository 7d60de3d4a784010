//! The trial of a fork server: can workers be forked, and how long does one take?

use std::time::{Duration, Instant};

use super::fork_server::{ForkServer, Started};
use super::guard::Guard;
use super::look::Watcher;
use super::pipes::Pipes;
use super::ready::prepare;
use super::stderr::{LastWords, pump};
use crate::config::PoolSettings;

/// How long the fork server of a pool takes.
#[derive(Clone, Copy, Debug)]
pub struct ForkTimes {
    /// To load the program, once.
    pub import: Duration,
    /// To make a worker that answers.
    pub worker: Duration,
}

/// Starts the fork server of a pool of functions, and forks a worker.
///
/// # Errors
///
/// Why workers are not forked, in words for operators.
pub async fn try_fork(settings: &PoolSettings, guard: &Guard) -> Result<ForkTimes, String> {
    let python = settings.program.python.as_ref().ok_or("it serves no functions")?;
    if python.fork == Some(false) {
        return Err("`fork` is false".to_owned());
    }
    let started = ForkServer::start_functions(&settings.program.launch, guard).await;
    let Started { server, stderr, token } = started.map_err(|error| error.to_string())?;
    // A program that writes much would wait for ever if nobody read it.
    let words = LastWords::unlogged(&token);
    let trial = async {
        let loaded = server.load_functions().await?;
        if let Some(why) = loaded.unsafe_to_fork.filter(|_| python.fork.is_none()) {
            return Err(why);
        }
        let begun = Instant::now();
        let (process, streams) = server.fork(guard).await.map_err(|error| error.to_string())?;
        let mut watcher =
            Watcher::new(process.id(), streams.stdin.get_ref(), streams.stdout.get_ref());
        let pipes = Pipes::new(streams.stdin, streams.stdout, &settings.program.wire);
        let mut pipes = pipes.map_err(|error| error.to_string())?;
        let ready = prepare(&mut pipes, &mut watcher, settings, true).await;
        ready.map_err(|error| error.to_string())?;
        Ok(ForkTimes { import: loaded.import, worker: begun.elapsed() })
    };
    let limit = settings.rules.start_timeout;
    let tried = async {
        let tried = tokio::time::timeout(limit, trial).await;
        tried.unwrap_or_else(|_| Err(format!("it took longer than {limit:?} (`start_timeout`)")))
    };
    let pump = pump(stderr, words);
    tokio::select! {
        tried = tried => tried,
        never = async { pump.await; std::future::pending().await } => never,
    }
}
