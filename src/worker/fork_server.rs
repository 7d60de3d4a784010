//! A fork server: a process that has loaded a program once and makes workers by forking itself.
//!
//! It forks twice, and the process in between ends at once: so the worker becomes the server's own
//! child, and a [`Process`] like any other. `docs/decisions/0010-fork-server.md` says why, and what
//! can go wrong.
//!
//! Its descriptor 0 is a socket. It first reads the texts that tell it what to load, and answers
//! with a description. Then each packet `fork` brings it four descriptors: the three streams of a
//! new worker, and a socket on which the birth of this one worker is agreed upon ([`Birth`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, WaitIdOptions, getpgid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::belongings::{Belongings, owner};
use super::child::TheirEnds;
use super::ending::wait;
use super::guard::Guard;
use super::own::{self, Token};
use super::packets::Packets;
use super::process::{Exit, Leader, Process};
use super::reaper;
use super::spawn::{Streams, non_blocking, open_streams_for};
use super::starter;
use crate::config::LaunchSettings;
use crate::python::{FORK_SERVER, loop_text, read_description};

/// How long one fork may take. A large process takes a good part of a second.
const FORK_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes of a description.
const DESCRIPTION_MOST: usize = 16 << 20;

/// A running fork server. Dropping it kills it; its workers live on.
#[derive(Debug)]
pub struct ForkServer {
    process: Process,
    control: Packets,
    /// How its workers are kept.
    launch: LaunchSettings,
}

/// A fork server that was just started.
#[derive(Debug)]
pub struct Started {
    /// The fork server.
    pub server: ForkServer,
    /// What it writes to stdout or stderr.
    pub stderr: AsyncFd<OwnedFd>,
    /// Marks the shim's message on `stderr`.
    pub token: Token,
}

/// What a fork server says when it has loaded its program.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// How long the import took.
    pub import: Duration,
    /// Why no worker must be forked from it; `None` if nothing speaks against it.
    pub unsafe_to_fork: Option<String>,
}

/// Why there is no new worker.
#[derive(Debug, thiserror::Error)]
pub enum NotForked {
    /// The fork server is of no more use: it has ended, or does not do what it should.
    #[error("the fork server {0}")]
    Lost(&'static str),
    /// The fork server is well, but this fork failed.
    #[error("the fork server could not fork: {0}")]
    Failed(String),
    /// The server lacks descriptors or the like.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl ForkServer {
    /// Starts a process that becomes a fork server once it is told what to [load](Self::load).
    pub async fn start(launch: &LaunchSettings, guard: &Guard) -> io::Result<Started> {
        if !reaper::adopt() {
            return Err(io::Error::other("the kernel does not let the server adopt workers"));
        }
        let token = Token::random();
        let (control, theirs) = Packets::pair()?;
        let (stderr, their_stderr) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let stderr = non_blocking(stderr, Interest::READABLE)?;
        let stdout = their_stderr.try_clone()?;
        let theirs = TheirEnds { stdin: theirs, stdout, stderr: their_stderr };
        owner(launch).map_or(Ok(()), |owner| theirs.give_to(owner))?;
        let belongings = Belongings::make(launch, guard)?;
        let child = own::new_child(guard.binary(), launch, &token, theirs, belongings.places())?;
        let process = Process::adopt(starter::start(child, guard).await?, belongings)?;
        let launch = launch.clone();
        Ok(Started { server: Self { process, control, launch }, stderr, token })
    }

    /// Starts the fork server of a pool of functions, whose workers `launch` starts.
    pub async fn start_functions(launch: &LaunchSettings, guard: &Guard) -> io::Result<Started> {
        let mut launch = launch.clone();
        launch.arguments.push(FORK_SERVER.to_owned());
        Self::start(&launch, guard).await
    }

    /// Waits until the functions are loaded. Has no time limit of its own.
    ///
    /// # Errors
    ///
    /// Why they are not, in words for operators.
    pub async fn load_functions(&self) -> Result<Loaded, String> {
        let texts = [loop_text().as_bytes()];
        let description = tokio::select! {
            biased;
            description = self.load(&texts) => description,
            () = self.ended() => return Err("it ended while it loaded the program".to_owned()),
        };
        let description = description.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ended while it loaded the program".to_owned(),
            _ => format!("it does not say what it has loaded: {error}"),
        })?;
        let read = read_description(&description).map_err(|refusal| refusal.message)?;
        let import = Duration::try_from_secs_f64(read.import_ms / 1000.0).unwrap_or_default();
        Ok(Loaded { import, unsafe_to_fork: read.unsafe_to_fork })
    }

    /// Sends the texts that tell what to load. Returns the description that the fork server sends
    /// when it has loaded it. Has no time limit of its own.
    pub async fn load(&self, texts: &[&[u8]]) -> io::Result<Vec<u8>> {
        for text in texts {
            self.control.send_text(text).await?;
        }
        self.control.receive_text(DESCRIPTION_MOST).await
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        self.process.ended().await;
    }

    /// Kills it and waits for its end. Its workers live on.
    pub async fn stop(self) -> Exit {
        super::kill::kill_now(self.process).await
    }

    /// Makes a worker. Several may be made at a time.
    ///
    /// # Errors
    ///
    /// After [`NotForked::Lost`] this fork server makes no more workers. No process is left.
    pub async fn fork(&self, guard: &Guard) -> Result<(Process, Streams), NotForked> {
        let making = async {
            tokio::select! {
                biased;
                made = self.make(guard) => made,
                () = self.ended() => Err(NotForked::Lost("ended")),
            }
        };
        let made = tokio::time::timeout(FORK_LIMIT, making).await;
        made.unwrap_or(Err(NotForked::Lost("did not fork in time")))
    }

    async fn make(&self, guard: &Guard) -> Result<(Process, Streams), NotForked> {
        let open = guard.open_fork();
        let (theirs, streams) = open_streams_for(&self.launch)?;
        let (birth, their_birth) = Packets::pair()?;
        let with = [
            theirs.stdin.as_fd(),
            theirs.stdout.as_fd(),
            theirs.stderr.as_fd(),
            their_birth.as_fd(),
        ];
        if self.control.send(b"fork", &with).await.is_err() {
            return Err(NotForked::Lost("has closed its socket"));
        }
        // Or we would never see their end.
        drop((theirs, their_birth));
        let birth = Birth(birth);
        let id = birth.wait().await?;
        let process = adopt(id, guard)?;
        drop(open);
        let own = self.process.belongings();
        let named = (process.id(), process);
        let (mut process, belongings) = own.share(&self.launch, guard, named).await?;
        process.keep(belongings);
        birth.confirm().await;
        Ok((process, streams))
    }
}

/// The socket on which the birth of one worker is agreed upon.
///
/// The worker says its process id, and the fork server says `.` once the process between the two
/// has ended: only then is the worker our child. Instead of either, `!` says why there is no
/// worker. The worker waits for `go`, and ends if the socket ends: so nothing of the program runs
/// in a worker that the guard does not know.
struct Birth(Packets);

impl Birth {
    /// Waits until there is a worker that is our child.
    async fn wait(&self) -> Result<Pid, NotForked> {
        let (mut id, mut is_ours) = (None, false);
        loop {
            let packet = self.0.receive().await?;
            match packet.as_slice() {
                [] => return Err(NotForked::Failed("the new worker ended at once".to_owned())),
                b"." => is_ours = true,
                [b'!', why @ ..] => {
                    return Err(NotForked::Failed(String::from_utf8_lossy(why).into_owned()));
                }
                number => match std::str::from_utf8(number).ok().and_then(process_id) {
                    Some(number) => id = Some(number),
                    None => return Err(NotForked::Lost("does not keep to the protocol")),
                },
            }
            if let Some(id) = id.filter(|_| is_ours) {
                return Ok(id);
            }
        }
    }

    /// Lets the worker begin. One that has ended meanwhile does not hear it, and its end is seen
    /// like any other.
    async fn confirm(&self) {
        self.0.send(b"go", &[]).await.ok();
    }
}

/// Reads the id of a process that can be a worker.
fn process_id(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|raw| *raw > 1).and_then(Pid::from_raw)
}

/// Takes over a worker that says that it has this id.
fn adopt(id: Pid, guard: &Guard) -> Result<Process, NotForked> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // As long as it is not reaped, which only we can do, no other process gets its id.
    let is_our_child = wait(id, look).is_ok();
    if !is_our_child || guard.knows(id) || getpgid(Some(id)) != Ok(id) {
        return Err(NotForked::Lost("names a process that is none of its workers"));
    }
    Ok(Process::adopt(Leader::register(id, guard), Belongings::default())?)
}
