//! Reads the keys file again when it has changed, while the rest of the configuration stays.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::app::Server;
use crate::config::WhoMayAsk;
use crate::config::callers::KeysSettings;
use crate::config::stamp::Stamps;

/// How often to look.
const LOOK: Duration = Duration::from_secs(5);
/// A change is over when the file has looked the same for this long.
const SETTLED: Duration = Duration::from_millis(100);
/// How many times to look whether it is over. A file that changes all the time is read as it is.
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
        if of_configuration(&server) != loaded || look(path).await == seen {
            continue;
        }
        seen = settled(path).await;
        let read = path.clone();
        let read = tokio::task::spawn_blocking(move || KeysSettings::read(read)).await;
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

/// Looks at the file, beside the server's thread: a disk may be slow.
async fn look(path: &std::path::Path) -> Stamps {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || Stamps::of_file(&path)).await.unwrap_or_default()
}

/// Waits until the file no longer changes.
async fn settled(path: &std::path::Path) -> Stamps {
    let mut stamps = look(path).await;
    for _ in 0..SETTLED_LOOKS {
        tokio::time::sleep(SETTLED).await;
        let again = look(path).await;
        if again == stamps {
            break;
        }
        stamps = again;
    }
    stamps
}
