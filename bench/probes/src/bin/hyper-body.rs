//! The least that a body through a pipe costs: hyper, some workers, a line each way.
//!
//! `hyper-body PORT WORKERS PROGRAM [ARGUMENT...]` answers each request by writing its body and a
//! line end to an idle worker, and returning the line that comes back. A worker has one call at a
//! time, as httpipe has it where an answer does not show which call it is for. The body is read
//! whole before a worker is taken, and is written from where hyper read it. There is no
//! look whether the program waits, no limit, no count, no log and no second
//! chance; a program that breaks the agreement ends it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;

/// How many pieces of a question one write takes.
const PIECES: usize = 64;
/// How much a pipe holds: the most that anybody may have. With the usual 64 KiB a megabyte costs more.
const WIDTH: usize = 1 << 20;
/// Room for a read at least.
const ROOM: usize = 1 << 16;

/// One process.
struct Worker {
    questions: pipe::Sender,
    answers: pipe::Receiver,
    /// The length of its last answer: the next one is read into as much room.
    last: usize,
}

/// Where a caller waits for a worker.
#[derive(Default)]
struct Slot {
    worker: RefCell<Option<Worker>>,
    caller: RefCell<Option<Waker>>,
}

/// The workers without a call, and the callers without a worker.
#[derive(Default)]
struct Desk {
    idle: RefCell<Vec<Worker>>,
    callers: RefCell<VecDeque<Rc<Slot>>>,
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|text| text.parse().ok()).expect("a port");
    let workers = arguments.next().and_then(|text| text.parse().ok()).expect("how many workers");
    let program: Vec<String> = arguments.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, serve(port, workers, &program))
}

async fn serve(port: u16, workers: usize, program: &[String]) -> std::io::Result<()> {
    let desk = Rc::new(Desk::default());
    for _ in 0..workers {
        desk.idle.borrow_mut().push(start(program)?);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let desk = Rc::clone(&desk);
        tokio::task::spawn_local(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let answer = service_fn(move |request| answer(Rc::clone(&desk), request));
            // A caller who hangs up is no concern here.
            drop(http.serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

fn start(program: &[String]) -> std::io::Result<Worker> {
    let (name, arguments) = program.split_first().expect("a program");
    let mut command = Command::new(name);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let questions = child.stdin.take().expect("it is a pipe");
    let answers = child.stdout.take().expect("it is a pipe");
    rustix::pipe::fcntl_setpipe_size(&questions, WIDTH)?;
    rustix::pipe::fcntl_setpipe_size(&answers, WIDTH)?;
    Ok(Worker {
        questions: pipe::Sender::from_owned_fd(questions.into())?,
        answers: pipe::Receiver::from_owned_fd(answers.into())?,
        last: 0,
    })
}

async fn answer(
    desk: Rc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut question = VecDeque::new();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        question.extend(frame.expect("a caller sends all of it").into_data().ok());
    }
    question.push_back(Bytes::from_static(b"\n"));
    // In a task of its own: a caller who hangs up leaves no answer in a pipe.
    let line = tokio::task::spawn_local(ask(desk, question)).await.expect("it does not panic");
    let mut response = Response::new(Full::new(line));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn ask(desk: Rc<Desk>, mut question: VecDeque<Bytes>) -> Bytes {
    let mut worker = desk.take().await;
    let mut line = BytesMut::with_capacity(worker.last + ROOM);
    poll_fn(|context| worker.poll_ask(&mut question, &mut line, context)).await;
    worker.last = line.len();
    desk.give_back(worker);
    line.truncate(line.len() - 1);
    line.freeze()
}

impl Desk {
    async fn take(&self) -> Worker {
        if let Some(worker) = self.idle.borrow_mut().pop() {
            return worker;
        }
        let slot = Rc::new(Slot::default());
        self.callers.borrow_mut().push_back(Rc::clone(&slot));
        poll_fn(|context| match slot.worker.borrow_mut().take() {
            Some(worker) => Poll::Ready(worker),
            None => {
                *slot.caller.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    fn give_back(&self, worker: Worker) {
        let Some(slot) = self.callers.borrow_mut().pop_front() else {
            self.idle.borrow_mut().push(worker);
            return;
        };
        *slot.worker.borrow_mut() = Some(worker);
        if let Some(caller) = slot.caller.borrow_mut().take() {
            caller.wake();
        }
    }
}

impl Worker {
    /// Writes the question as fast as it is read, and reads what comes meanwhile. Ready with a line
    /// end: the only one, since there is only one call.
    fn poll_ask(
        &mut self,
        question: &mut VecDeque<Bytes>,
        line: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while !question.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            for (slice, piece) in pieces.iter_mut().zip(&*question) {
                *slice = IoSlice::new(piece);
            }
            match Pin::new(&mut self.questions).poll_write_vectored(context, &pieces) {
                Poll::Ready(written) => advance(question, written.expect("it reads")),
                Poll::Pending => break,
            }
        }
        while line.last() != Some(&b'\n') {
            line.reserve(ROOM);
            let mut room = ReadBuf::uninit(line.spare_capacity_mut());
            let read = Pin::new(&mut self.answers).poll_read(context, &mut room);
            ready!(read).expect("it can be read");
            let came = room.filled().len();
            assert!(came > 0, "the program ended");
            // SAFETY: the read has filled this many bytes of the room that is not in use.
            unsafe { line.advance_mut(came) };
        }
        Poll::Ready(())
    }
}

/// Drops the pieces that were written, and the beginning of the one that was written in part.
fn advance(question: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(piece) = question.front_mut() {
        if piece.len() > written {
            piece.advance(written);
            return;
        }
        written -= piece.len();
        question.pop_front();
    }
}
