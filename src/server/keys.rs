//! Reads the keys file again when it has changed, while the rest of the configuration stays.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::app::Server;
use crate::config::WhoMayAsk;
use crate::config::callers::{BadKeys, KeysSettings};
use crate::config::stamp::Stamps;

/// How often to look.
const LOOK: Duration = Duration::from_secs(5);
/// A change is over when the files have looked the same for this long.
const SETTLED: Duration = Duration::from_millis(100);
/// How many times to look whether it is over. Files that change all the time are read as they are.
const SETTLED_LOOKS: usize = 50;

/// Looks at the keys file until the server stops. What is wrong with it is logged once, and the keys
/// that were good stay good.
pub(super) async fn follow_keys(server: Rc<Server>) {
    let mut generations = server.remote_generations();
    let mut loaded: Option<(PathBuf, Stamps)> = None;
    let mut seen = Stamps::default();
    loop {
        let now = of_configuration(&server);
        if now != loaded {
            // A reload has read them, or others.
            seen = now.as_ref().map(|(_, stamps)| stamps.clone()).unwrap_or_default();
            loaded = now;
        }
        let Some((path, _)) = &loaded else {
            // There is nothing to look at before a reload.
            if generations.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::time::sleep(LOOK).await;
        if server.is_draining() {
            return;
        }
        if of_configuration(&server) != loaded || look(std::slice::from_ref(path)).await == seen {
            continue;
        }
        seen = settled(std::slice::from_ref(path)).await;
        let read = path.clone();
        let signers = server.current().config.demands_certificates();
        let read = tokio::task::spawn_blocking(move || {
            let settings = KeysSettings::read(read)?;
            settings.keys.check_certificates(signers)?;
            Ok(settings)
        });
        let read: Result<Result<_, BadKeys>, _> = read.await;
        match read {
            Ok(Ok(settings)) if of_configuration(&server) == loaded => {
                server.gate().post(&settings.keys);
                let count = settings.keys.0.len();
                tracing::info!(path = %path.display(), count, "the keys of callers are read again");
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(bad)) => tracing::error!(
                path = %path.display(),
                why = bad.what,
                hint = bad.hint,
                "the keys of callers cannot be read again; those that were good stay good"
            ),
        }
    }
}

/// Returns the file with the keys, and what it looked like when the configuration was loaded.
fn of_configuration(server: &Server) -> Option<(PathBuf, Stamps)> {
    match &server.current().config.callers.who {
        WhoMayAsk::Keys(settings) => Some((settings.path.clone(), settings.stamps.clone())),
        WhoMayAsk::Unsaid | WhoMayAsk::Anyone => None,
    }
}

/// Looks at files, beside the server's thread: a disk may be slow.
pub(super) async fn look(paths: &[PathBuf]) -> Stamps {
    let paths = paths.to_vec();
    tokio::task::spawn_blocking(move || Stamps::of_files(paths.iter())).await.unwrap_or_default()
}

/// Waits until the files no longer change.
pub(super) async fn settled(paths: &[PathBuf]) -> Stamps {
    let mut stamps = look(paths).await;
    for _ in 0..SETTLED_LOOKS {
        tokio::time::sleep(SETTLED).await;
        let again = look(paths).await;
        if again == stamps {
            break;
        }
        stamps = again;
    }
    stamps
}
