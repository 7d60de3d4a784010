//! What `httpipe top` is told by the server: the last status, or why there is none.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::{self, Receiver, Sender};

use crate::cli::client::{Remote, RemoteError};
use crate::report::{Status, VERSION};

/// How long the server may be silent; it speaks each second.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// How long to wait before another try.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    pub(super) status: Option<Arc<Status>>,
    /// Why the status is not of now.
    pub(super) lost: Option<String>,
}

/// Follows a server on a thread of its own, until nobody listens.
pub(super) fn follow(remote: Arc<Remote>) -> Receiver<News> {
    let (news, receiver) = watch::channel(News::default());
    std::thread::spawn(move || {
        while !news.is_closed() {
            let ended = listen(&remote, &news);
            let why = match ended {
                Ok(()) => "the server has ended the stream".to_owned(),
                Err(error) => error.words(),
            };
            news.send_modify(|news| news.lost = Some(format!("{why}; trying again")));
            std::thread::park_timeout(AGAIN);
        }
    });
    receiver
}

/// Passes events on until they end.
fn listen(remote: &Remote, news: &Sender<News>) -> Result<(), RemoteError> {
    remote.events("/events", SILENCE, |data| {
        let status = read(data).map_err(|why| remote.strange(&why))?;
        news.send_replace(News { status: Some(Arc::new(status)), lost: None });
        Ok(!news.is_closed())
    })
}

/// Reads a status.
///
/// # Errors
///
/// Why it is none.
pub(super) fn read(text: &str) -> Result<Status, String> {
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "what it sends is no status".to_owned())?;
    let version = document["version"].as_u64();
    match version {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(format!("it speaks version {version} of the status, this is {VERSION}"));
        }
        None => return Err("what it sends is no status".to_owned()),
    }
    serde_json::from_str(text).map_err(|error| format!("what it sends is no status: {error}"))
}
