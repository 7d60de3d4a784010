//! A reload: which pools get new workers, when the old ones go, and what the operator is told.

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::app::{Generation, Server};
use super::{announce, descriptors};
use crate::admin::Replace;
use crate::base::ExitReason;
use crate::config::check::WAYS_OUT;
use crate::config::launch::stamps;
use crate::config::{Config, PoolSettings, TlsSettings, WhoMayAsk};
use crate::pool::Pool;
use crate::worker::describe::describe;

/// How long new workers that nothing asked must keep running before a reload relies on them.
const TRIAL: Duration = Duration::from_millis(200);
/// How many times a reload begins again because a file of a program has changed meanwhile.
const ROUNDS_MOST: usize = 5;

/// What a reload did, in words for the operator.
#[derive(Debug)]
pub(super) struct Changes {
    /// One line for each pool, and for whatever else has changed.
    pub(super) lines: Vec<String>,
    /// Nothing is different from before.
    pub(super) is_idle: bool,
}

/// Why a reload was refused.
#[derive(Debug)]
pub(super) struct Rejection {
    /// In words for the operator.
    pub(super) why: String,
    /// The configuration that was tried; `None`: it could not be loaded, or nothing was tried.
    pub(super) tried: Option<Arc<Config>>,
    /// A program could not say what it serves.
    pub(super) is_of_program: bool,
}

impl From<String> for Rejection {
    fn from(why: String) -> Self {
        Self { why, tried: None, is_of_program: false }
    }
}

/// The pools of a configuration that is to take the place of the current one.
struct Candidate {
    config: Arc<Config>,
    members: Vec<NextPool>,
}

/// One pool of the next configuration.
struct NextPool {
    pool: Rc<Pool>,
    edition: u64,
    fate: Fate,
}

/// What a reload does with a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its workers stay.
    Kept,
    /// Its workers take the place of others.
    Replaces,
    /// There was no pool of its name.
    New,
}

/// Why a round of a reload did not end with the new configuration in place.
enum Halt {
    /// A file of a pool has changed since the configuration was loaded.
    Again(Rejection),
    Refused(Rejection),
}

impl Server {
    /// Loads the configuration again and replaces the current one. A pool keeps its workers if its
    /// program and its files are unchanged, unless `replace` says otherwise. For the others new
    /// workers are started, and the old ones go only when the new ones are ready.
    ///
    /// # Errors
    ///
    /// The problems, in words. The current configuration stays.
    pub(super) async fn reload(&self, replace: &Replace) -> Result<Changes, Rejection> {
        self.access.open_again();
        match self.reloading.try_lock() {
            Ok(one) => self.reload_alone(&one, replace).await,
            Err(_) => Err("another reload is under way".to_owned().into()),
        }
    }

    /// Reloads after the reload that is under way, if there is one: that one may have read an
    /// older file. For SIGHUP, whose sender cannot be told to try again.
    pub(super) async fn reload_after_all(&self) -> Result<Changes, Rejection> {
        self.access.open_again();
        self.reload_alone(&self.reloading.lock().await, &Replace::Changed).await
    }

    async fn reload_alone(
        &self,
        _one: &MutexGuard<'_, ()>,
        replace: &Replace,
    ) -> Result<Changes, Rejection> {
        self.manager.reloading();
        let reloaded = self.reload_in_rounds(replace).await;
        self.manager.reloaded(reloaded.as_ref().err().map(|refused| &*refused.why));
        reloaded
    }

    async fn reload_in_rounds(&self, replace: &Replace) -> Result<Changes, Rejection> {
        let mut round = 1;
        loop {
            match self.reload_round(replace).await {
                Ok(report) => {
                    log(&report);
                    return Ok(report);
                }
                Err(Halt::Again(_)) if round < ROUNDS_MOST => round += 1,
                Err(Halt::Again(refused) | Halt::Refused(refused)) => return Err(refused),
            }
        }
    }

    async fn reload_round(&self, replace: &Replace) -> Result<Changes, Halt> {
        if self.is_draining() {
            return Err(refuse("the server is stopping"));
        }
        let config = load(self).await.map_err(Halt::Refused)?;
        if self.is_draining() {
            return Err(refuse("the server is stopping"));
        }
        known(replace, &config).map_err(|why| refuse(&why))?;
        descriptors::suffice(&config).map_err(|why| refuse(&why))?;
        // Certificates are demanded only by a server that was started with TLS.
        let is_said = config.callers.who != WhoMayAsk::Unsaid
            || (self.entrance().is_secure() && config.says_who_may_ask());
        if !is_said && !self.is_private() {
            let why = format!("anybody could call everything at this server: {WAYS_OUT}");
            return Err(refuse(&why));
        }
        let old = self.current();
        let members = config.pools.iter().map(|settings| self.member(&old, settings, replace));
        let members = members.collect();
        let next = Candidate { config: Arc::new(config), members };
        if let Err(halt) = next.come_up().await {
            return Err(next.give_up(halt).await);
        }
        let editions = next.members.iter().map(|member| member.edition).collect();
        let (common, config) = (self.preparing(), Arc::clone(&next.config));
        let prepared = match apart(move || common.prepare(config, editions)).await {
            Ok(prepared) => prepared,
            Err(why) => return Err(next.give_up(refuse(&why)).await),
        };
        if self.is_draining() {
            // The new front would accept requests again.
            return Err(next.give_up(refuse("the server is stopping")).await);
        }
        let report = next.report(&old);
        if !report.is_idle {
            announce::warnings(&next.config);
        }
        for (member, settings) in next.members.iter().zip(&next.config.pools) {
            member.pool.adjust(Arc::clone(settings));
        }
        let pools = next.members.into_iter().map(|member| member.pool);
        self.put_in_place(prepared, pools.collect(), &old);
        Ok(report)
    }

    /// Keeps the pool of this name, or starts one.
    fn member(
        &self,
        old: &Generation,
        settings: &Arc<PoolSettings>,
        replace: &Replace,
    ) -> NextPool {
        let (before, edition) = match old.pool(&settings.name) {
            Some((pool, edition)) => (Some(pool), edition),
            None => (None, 0),
        };
        let is_forced = match replace {
            Replace::Changed => false,
            Replace::All => true,
            Replace::Pool(name) => *name == settings.name,
        };
        match before {
            Some(pool) if !is_forced && has_same_program(&pool.settings(), settings) => {
                NextPool { pool, edition, fate: Fate::Kept }
            }
            before => {
                let fate = if before.is_some() { Fate::Replaces } else { Fate::New };
                // What other servers have of it is no longer looked for: they may run what was before.
                let has_same_words = |pool: &Rc<Pool>| pool.settings().program == settings.program;
                let is_hidden = before.as_ref().is_some_and(has_same_words);
                let edition = edition + u64::from(is_forced || is_hidden);
                NextPool { pool: self.start_pool(settings), edition, fate }
            }
        }
    }
}

impl Candidate {
    /// Waits until the new workers of each new pool are ready. Where only some of them become
    /// ready in time, that is enough.
    async fn come_up(&self) -> Result<(), Halt> {
        let begun = Instant::now();
        let fresh = || self.members.iter().filter(|member| member.fate != Fate::Kept);
        for NextPool { pool, .. } in fresh() {
            come_up(pool, begun).await.map_err(|why| refuse(&why))?;
        }
        let settings: Vec<_> = fresh().map(|member| member.pool.settings()).collect();
        // Else some workers could run what was there before the change, and others what came.
        let changed = apart(move || settings.into_iter().find(|it| has_changed(it))).await;
        let Some(changed) = changed.map_err(|why| refuse(&why))? else { return Ok(()) };
        let name = &changed.name;
        let why = format!("the files of pool `{name}` keep changing while its workers start");
        Err(Halt::Again(why.into()))
    }

    /// Stops the workers that were started, for this reason. Returns it with the configuration.
    async fn give_up(self, mut halt: Halt) -> Halt {
        for member in self.members.into_iter().filter(|member| member.fate != Fate::Kept) {
            member.pool.stop(ExitReason::Reloaded).await;
        }
        let (Halt::Again(refused) | Halt::Refused(refused)) = &mut halt;
        refused.tried = Some(self.config);
        halt
    }

    /// Says what is different from `old`.
    fn report(&self, old: &Generation) -> Changes {
        let mut lines = Vec::new();
        let mut is_idle = true;
        for (member, settings) in self.members.iter().zip(&self.config.pools) {
            let (name, before) = (&settings.name, member.pool.settings());
            let least = settings.rules.workers_least;
            let serving = member.pool.serving().min(least);
            let mut line = match member.fate {
                Fate::Kept if before.rules == settings.rules => format!("{name}: unchanged"),
                Fate::Kept => format!("{name}: workers kept, with new limits"),
                Fate::Replaces => format!("{name}: {serving} of {least} workers replaced"),
                Fate::New => format!("{name}: new, {serving} of {least} workers ready"),
            };
            is_idle &= member.fate == Fate::Kept && before.rules == settings.rules;
            if member.fate != Fate::Kept && serving < least {
                line.push_str(", the others are still starting");
            }
            lines.push(line);
        }
        let is_gone = |name: &String| !self.config.pools.iter().any(|pool| pool.name == *name);
        let gone = old.config.pools.iter().map(|pool| &pool.name).filter(|name| is_gone(name));
        let mut others: Vec<String> = gone.map(|name| format!("{name}: removed")).collect();
        if old.config.routes != self.config.routes {
            others.push("routes: changed".to_owned());
        }
        if old.config.callers != self.config.callers {
            others.push("callers: changed".to_owned());
        }
        if is_renewed(old.config.tls.as_ref(), self.config.tls.as_ref()) {
            others.push("tls: changed".to_owned());
        }
        if old.config.cors != self.config.cors {
            others.push("cors: changed".to_owned());
        }
        if old.config.hosts != self.config.hosts {
            others.push("hosts: changed".to_owned());
        }
        if old.config.docs != self.config.docs {
            others.push("docs: changed".to_owned());
        }
        let token = &self.config.admin.token;
        if token.is_some() && old.config.admin.token != *token {
            others.push("admin_token: changed".to_owned());
        }
        if old.config.drain != self.config.drain {
            others.push("drain: changed".to_owned());
        }
        for key in unchangeable(&old.config, &self.config) {
            tracing::warn!(key, "changed; takes effect after a restart");
            others.push(format!("{key}: changed; takes effect after a restart"));
        }
        is_idle &= others.is_empty();
        lines.extend(others);
        Changes { lines, is_idle }
    }
}

impl Changes {
    /// Writes the report as the answer to the operator who asked for the reload.
    pub(super) fn text(&self) -> String {
        if self.is_idle {
            return "nothing changed\n".to_owned();
        }
        self.lines.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").expect("a string takes everything");
            text
        })
    }
}

fn refuse(why: &str) -> Halt {
    Halt::Refused(why.to_owned().into())
}

fn log(report: &Changes) {
    if report.is_idle {
        tracing::info!("reload: nothing changed");
    } else {
        tracing::info!("reloaded: {}", report.lines.join(", "));
    }
}

/// Loads the configuration on a thread of its own: neither a slow disk nor a large file keeps
/// calls waiting. A stop does not wait for that thread.
///
/// # Errors
///
/// The problems, in words.
pub(super) async fn load(server: &Server) -> Result<Config, Rejection> {
    let (source, guard) = (server.source.clone(), server.guard().clone());
    let ask = move |launch: &_, limit| describe(&guard, launch, limit);
    let load = move || {
        source.load(&ask).map_err(|problems| Rejection {
            why: problems.to_string(),
            tried: None,
            is_of_program: problems.are_of_program(),
        })
    };
    apart(load).await?
}

/// Runs work that may block on a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (send, receive) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned());
    // Who asked may have left.
    let started = thread.spawn(move || drop(send.send(work())));
    started.map_err(|error| format!("cannot start a thread: {error}"))?;
    receive.await.map_err(|_| "the reload ended in a fault of the server".to_owned())
}

/// Returns true if a file of the program has changed since the configuration was loaded.
fn has_changed(settings: &PoolSettings) -> bool {
    stamps(&settings.program.launch).ok().as_ref() != Some(&settings.files)
}

/// Checks that the pool whose workers are to be replaced exists.
fn known(replace: &Replace, config: &Config) -> Result<(), String> {
    let Replace::Pool(name) = replace else { return Ok(()) };
    if config.pools.iter().any(|pool| pool.name == *name) {
        return Ok(());
    }
    let names: Vec<String> = config.pools.iter().map(|pool| format!("`{}`", pool.name)).collect();
    Err(format!("there is no pool `{}`; the pools are {}", name.escape_debug(), names.join(", ")))
}

fn has_same_program(old: &PoolSettings, new: &PoolSettings) -> bool {
    old.program == new.program && old.files == new.files
}

/// Waits until the workers of a new pool are ready, or one of them when the time is over. Gives up
/// at once if all of them have ended before.
async fn come_up(pool: &Pool, begun: Instant) -> Result<(), String> {
    let settings = pool.settings();
    let patience = settings.rules.start_timeout + Duration::from_secs(1);
    let deadline = begun + patience;
    let started = pool.wait_started(settings.rules.workers_least);
    tokio::time::timeout_at(deadline.into(), started).await.ok();
    let is_asked = settings.program.start.probe.is_some()
        || settings.program.start.ready.is_some()
        || !settings.program.start.hello.is_empty();
    if pool.serving() > 0 && !is_asked {
        tokio::time::sleep(TRIAL).await;
    }
    let exits = pool.report().exits;
    if pool.serving() == 0 || (!is_asked && !exits.is_empty()) {
        let how = exits.last().map(|exit| format!(" ({})", exit.how)).unwrap_or_default();
        let name = pool.name();
        return Err(format!(
            "no worker of the new pool `{name}` became ready{how}; the log has its last lines"
        ));
    }
    Ok(())
}

/// Returns true if another certificate takes the place of the old one.
fn is_renewed(old: Option<&TlsSettings>, new: Option<&TlsSettings>) -> bool {
    let Some((old, new)) = old.zip(new) else { return false };
    old != new || old.stamps != new.stamps
}

/// Returns the changed keys that are read only at the start.
fn unchangeable(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let is_named = old.admin.explicit != new.admin.explicit;
    let loses_token = old.admin.token.is_some() && new.admin.token.is_none();
    let is_moved =
        old.jobs.as_ref().zip(new.jobs.as_ref()).is_some_and(|(old, new)| old.file != new.file);
    let changed = [
        ("listen", old.listen != new.listen),
        ("admin", old.admin.address != new.admin.address || is_named || loses_token),
        ("agent", old.agent != new.agent),
        ("threads", old.threads != new.threads),
        ("log", old.log != new.log),
        ("proxy_protocol", old.proxy_protocol != new.proxy_protocol),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("limits", old.limits != new.limits),
        ("cache.memory", old.cache.memory != new.cache.memory),
        ("cache.shared", old.cache.shared != new.cache.shared),
        ("jobs", old.jobs.is_some() != new.jobs.is_some()),
        ("jobs.file", is_moved),
        ("spread", old.spread != new.spread),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key)
}
