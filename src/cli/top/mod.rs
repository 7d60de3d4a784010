//! `httpipe top` and `httpipe status`: what a running server does, live or once.

mod feed;
mod hosts;
mod jobs;
mod line;
mod picture;
mod pools;
mod table;
mod terminal;
mod view;
mod workers;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;

use self::feed::News;
use self::line::{Ink, ScreenLine};
use self::picture::{Moment, ScreenSize, page, picture, whole};
use self::terminal::Terminal;
use self::view::{KeyPress, Then, View, keys};
use super::client::{Remote, RemoteError};
use super::{FAILED, complain_with_hint, say};
use crate::config::flags::{StatusArguments, TopArguments};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How wide a line is where no terminal says it.
const WIDE: usize = 160;

/// Shows what a server does, until the user has seen enough.
pub(super) fn run(arguments: &TopArguments) -> ExitCode {
    let remote = match Remote::find(&arguments.server) {
        Ok(remote) => remote,
        Err(error) => return error.tell(),
    };
    let done = match (arguments.once, arguments.json) {
        (true, is_json) => once(&remote, is_json),
        (false, true) => {
            remote.events("/events", feed::SILENCE, |data| Ok(say(&format!("{data}\n"))))
        }
        (false, false) if terminal::is_screen() => return live(remote),
        (false, false) => once(&remote, false),
    };
    done.map_or_else(|error| error.tell(), |()| ExitCode::SUCCESS)
}

/// Shows what a server does at this moment.
pub(super) fn run_status(arguments: &StatusArguments) -> ExitCode {
    let shown = Remote::find(&arguments.server).and_then(|it| once(&it, arguments.json));
    shown.map_or_else(|error| error.tell(), |()| ExitCode::SUCCESS)
}

fn once(remote: &Remote, is_json: bool) -> Result<(), RemoteError> {
    let text = remote.text(remote.get("/status.json", PATIENCE)?)?;
    let status = feed::read(&text).map_err(|why| remote.strange(&why))?;
    if is_json {
        say(&format!("{}\n", text.trim_end()));
        return Ok(());
    }
    let address = remote.address().to_string();
    let shown = Moment { status: &status, address: &address, lost: None };
    let is_terminal = io::IsTerminal::is_terminal(&io::stdout());
    let columns = if is_terminal { terminal::size().columns } else { WIDE };
    let is_painted = is_terminal && terminal::has_colours();
    for line in whole(&shown, columns) {
        let text = if is_painted { terminal::painted(&line, true) } else { line.text() };
        say(&format!("{}\n", text.trim_end()));
    }
    Ok(())
}

/// Has the terminal until the user, a signal or an error ends it.
fn live(remote: Remote) -> ExitCode {
    // A first answer, so that what is wrong is told on the screen that stays.
    if let Err(error) = remote.get("/status.json", PATIENCE) {
        return error.tell();
    }
    let address = remote.address().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shown = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let mut screen = Screen { address, view: View::default(), frozen: None };
            screen.run(feed::follow(Arc::new(remote))).await
        })
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain_with_hint(&format!("the terminal failed: {error}"), "use `httpipe status`");
            ExitCode::from(FAILED)
        }
    }
}

/// The live picture.
struct Screen {
    address: String,
    view: View,
    /// What is shown while the view is paused.
    frozen: Option<News>,
}

impl Screen {
    async fn run(&mut self, mut news: Receiver<News>) -> io::Result<()> {
        let mut resized = signal(SignalKind::window_change())?;
        let mut told = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?;
        let [interrupt, terminate, hangup] = &mut told[..] else { unreachable!("three") };
        let terminal = Terminal::take()?;
        let mut pressed = read_keys();
        loop {
            self.show(&terminal, &news.borrow_and_update().clone())?;
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Ok(()) },
                _ = resized.recv() => {}
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                pressed = pressed.recv() => {
                    // The terminal has gone.
                    let Some(pressed) = pressed else { return Ok(()) };
                    if self.press(&pressed, &news.borrow().clone()) == Then::Quit {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn press(&mut self, pressed: &[KeyPress], news: &News) -> Then {
        for key in pressed {
            let status = news.status.as_deref();
            let then = self.view.press(*key, status, page(status, terminal::size()));
            if then == Then::Quit {
                return then;
            }
        }
        self.frozen = match self.frozen.take() {
            _ if !self.view.is_paused => None,
            None => Some(news.clone()),
            frozen => frozen,
        };
        Then::Show
    }

    fn show(&self, terminal: &Terminal, news: &News) -> io::Result<()> {
        terminal.show(&self.lines(news, terminal::size()))
    }

    fn lines(&self, news: &News, size: ScreenSize) -> Vec<ScreenLine> {
        let news = self.frozen.as_ref().unwrap_or(news);
        let Some(status) = news.status.as_deref() else {
            let what = news.lost.as_deref().unwrap_or("waiting for the first second …");
            return vec![ScreenLine::of(Ink::Plain, super::cells::clean(what))];
        };
        let shown = Moment { status, address: &self.address, lost: news.lost.as_deref() };
        picture(&shown, &self.view, size)
    }
}

/// Reads the keys of the user on a thread of its own, which ends with the process.
fn read_keys() -> mpsc::Receiver<Vec<KeyPress>> {
    let (pressed, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            if pressed.blocking_send(keys(&buffer[..count])).is_err() {
                return;
            }
        }
    });
    receiver
}
