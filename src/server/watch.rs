//! `run --watch`: reloads by itself when the configuration or a file of a program has changed.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::app::Server;
use super::reload::Rejection;
use super::reload::load;
use crate::config::launch::survey;
use crate::config::stamp::Stamps;
use crate::config::{Config, PoolSettings};
use crate::watch::Hints;

/// A change is over when the files have looked the same for this long: editors write a file in
/// several steps, and `git checkout` writes many.
const SETTLED: Duration = Duration::from_millis(100);
/// How long a change may go on before it is taken as it is.
const SETTLED_AT_LAST: Duration = Duration::from_secs(5);
/// How often to look although the kernel reports every change, to be safe.
const LOOK: Duration = Duration::from_secs(2);
/// How often to look if the kernel does not, or while the configuration is refused.
const LOOK_OFTEN: Duration = Duration::from_secs(1);
/// Looking takes at most one part in this many of the time.
const SHARE: u32 = 20;

/// What is looked at.
#[derive(Clone, Debug)]
struct WatchedFiles {
    /// The configuration, and the files with its secrets.
    configuration: Vec<PathBuf>,
    pools: Vec<Arc<PoolSettings>>,
    /// Modules beside those of functions count too: one may be what is missing.
    sees_neighbours: bool,
}

/// What it looks like at one moment.
#[derive(Debug, Default)]
struct Picture {
    /// The configuration, then the files of each pool; `None`: there are too many.
    stamps: Vec<Option<Stamps>>,
    directories: Vec<PathBuf>,
    took: Duration,
}

/// Reloads whenever something has changed, until the server stops.
pub(super) async fn reload_on_change(server: Rc<Server>) {
    let mut watched = WatchedFiles::of(&server);
    // As it was when it was loaded: a change since then counts.
    let mut known = watched.as_loaded(&server);
    watched.announce(&known);
    let mut hints = Hints::new();
    let mut picture = watched.look().await;
    // The problems for which the configuration was refused the last time.
    let mut refused = None;
    let mut is_gap_told = false;
    while !server.is_draining() {
        picture.watch_with(&mut hints);
        // The files are looked at after they are watched, so that no change is missed.
        picture = watched.look().await;
        if picture.stamps != known {
            picture = watched.settle(picture).await;
            known.clone_from(&picture.stamps);
            refused = None;
            let wider = WatchedFiles { sees_neighbours: true, ..watched.clone() };
            let neighbours = wider.look().await;
            match server.reload_after_all().await {
                Ok(_) => {
                    watched = WatchedFiles::of(&server);
                    known = watched.as_loaded(&server);
                    hints = Hints::new();
                }
                Err(Rejection { why, is_of_program: true, .. }) => {
                    tell(&why);
                    (watched, known) = (wider, neighbours.stamps);
                    hints = Hints::new();
                }
                Err(Rejection { why, tried: None, .. }) => {
                    tell(&why);
                    refused = Some(why);
                }
                Err(Rejection { why, tried: Some(config), .. }) => {
                    tell(&why);
                    // A file that only this configuration names may be what is wrong.
                    watched.take(&config);
                    known = watched.as_loaded_in(&config);
                    hints = Hints::new();
                }
            }
            continue;
        }
        if let Some(why) = hints.gap().filter(|_| !is_gap_told) {
            is_gap_told = true;
            tracing::warn!(why, "not told of every change: the files are looked at every second");
        }
        let is_sure = hints.gap().is_none() && refused.is_none();
        let pause = if is_sure { LOOK } else { LOOK_OFTEN };
        tokio::time::timeout(pause, hints.next()).await.ok();
        tokio::time::sleep(picture.took * SHARE).await;
        if refused.is_some() {
            // A file that only the refused configuration names is not watched.
            let problems = load(&server).await.err().map(|rejection| rejection.why);
            match &problems {
                None => known.clear(),
                Some(text) if refused != problems => tell(text),
                Some(_) => {}
            }
            refused = problems;
        }
    }
}

/// Logs why a reload was refused, a line for each problem.
fn tell(problems: &str) {
    for problem in problems.lines() {
        tracing::error!("{problem}");
    }
    tracing::error!("not reloaded; what ran before goes on");
}

impl WatchedFiles {
    fn of(server: &Server) -> Self {
        let mut watched =
            Self { configuration: Vec::new(), pools: Vec::new(), sees_neighbours: false };
        watched.take(&server.current().config);
        watched
    }

    /// Watches the files of this configuration from now on.
    fn take(&mut self, config: &Config) {
        self.configuration = config.files.paths().map(Path::to_owned).collect();
        self.pools.clone_from(&config.pools);
    }

    /// The stamps that were taken when the current configuration was loaded.
    fn as_loaded(&self, server: &Server) -> Vec<Option<Stamps>> {
        self.as_loaded_in(&server.current().config)
    }

    fn as_loaded_in(&self, config: &Config) -> Vec<Option<Stamps>> {
        let pools = self.pools.iter().map(|pool| Some(pool.files.clone()));
        std::iter::once(Some(config.files.clone())).chain(pools).collect()
    }

    /// Looks at all files, beside the server's thread: a disk may be slow.
    async fn look(&self) -> Picture {
        let watched = self.clone();
        tokio::task::spawn_blocking(move || watched.look_now()).await.unwrap_or_default()
    }

    fn look_now(&self) -> Picture {
        let begun = Instant::now();
        let mut picture = Picture::default();
        picture.stamps.push(Some(Stamps::of_files(self.configuration.iter())));
        for pool in &self.pools {
            match survey(&pool.program.launch) {
                Ok((stamps, directories)) => {
                    picture.stamps.push(Some(stamps));
                    picture.directories.extend(directories);
                }
                Err(_) => picture.stamps.push(None),
            }
        }
        if self.sees_neighbours {
            let launches = self.pools.iter().map(|pool| &pool.program.launch);
            let files = launches.flat_map(|launch| launch.files.iter().flatten());
            picture.stamps.push(Some(Stamps::beside(files)));
        }
        picture.took = begun.elapsed();
        picture
    }

    /// Waits until nothing changes.
    async fn settle(&self, mut picture: Picture) -> Picture {
        let begun = Instant::now();
        while begun.elapsed() < SETTLED_AT_LAST {
            tokio::time::sleep(SETTLED.max(picture.took * SHARE)).await;
            let again = self.look().await;
            let is_settled = again.stamps == picture.stamps;
            picture = again;
            if is_settled {
                break;
            }
        }
        picture
    }

    /// Says which files are watched.
    fn announce(&self, known: &[Option<Stamps>]) {
        let names = |stamps: &Stamps| {
            let name = |path: &Path| path.file_name().map(|name| name.display().to_string());
            stamps.present().filter_map(name).take(FILES_SHOWN).collect::<Vec<_>>().join(", ")
        };
        for (pool, stamps) in self.pools.iter().zip(known.iter().skip(1)) {
            let Some(stamps) = stamps else { continue };
            let (count, files) = (stamps.present().count(), names(stamps));
            tracing::info!(pool = pool.name, count, files, "watching; `watch` adds files");
        }
    }
}

/// How many names of files the log shows for each pool.
const FILES_SHOWN: usize = 8;

impl Picture {
    fn watch_with(&self, hints: &mut Hints) {
        let files = self.stamps.iter().flatten().flat_map(Stamps::paths);
        hints.watch(files, self.directories.iter().map(PathBuf::as_path));
    }
}
