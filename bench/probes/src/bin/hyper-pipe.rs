//! The least that HTTP in front of a pipe costs: hyper, one worker, a line each way.
//!
//! `hyper-pipe PORT PROGRAM [ARGUMENT...]` answers `GET /echo?num=N` by asking the program `N` and
//! cutting `N|` off its answer. Calls are sent ahead without a bound. It has no queue, no time
//! limit, no count, no log and no second chance; a program that breaks the agreement ends it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::Stdio;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;

/// Where a caller waits for its answer.
#[derive(Default)]
struct Slot {
    answer: RefCell<Option<Bytes>>,
    caller: RefCell<Option<Waker>>,
}

/// What callers and the task of the worker share.
#[derive(Default)]
struct Desk {
    unwritten: RefCell<BytesMut>,
    asked: RefCell<VecDeque<(Bytes, Rc<Slot>)>>,
    task: RefCell<Option<Waker>>,
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|text| text.parse().ok()).expect("a port");
    let program: Vec<String> = arguments.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, serve(port, &program))
}

async fn serve(port: u16, program: &[String]) -> std::io::Result<()> {
    let (name, arguments) = program.split_first().expect("a program");
    let mut child = std::process::Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let questions = child.stdin.take().expect("it is a pipe");
    let answers = child.stdout.take().expect("it is a pipe");
    let desk = Rc::new(Desk::default());
    let questions = pipe::Sender::from_owned_fd(questions.into())?;
    let answers = pipe::Receiver::from_owned_fd(answers.into())?;
    tokio::task::spawn_local(work(Rc::clone(&desk), questions, answers));

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

async fn answer(
    desk: Rc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default();
    let question = query.strip_prefix("num=").unwrap_or(query);
    let slot = Rc::new(Slot::default());
    let mut unwritten = desk.unwritten.borrow_mut();
    unwritten.extend_from_slice(question.as_bytes());
    unwritten.extend_from_slice(b"\n");
    drop(unwritten);
    let asked = (Bytes::copy_from_slice(question.as_bytes()), Rc::clone(&slot));
    desk.asked.borrow_mut().push_back(asked);
    if let Some(task) = &*desk.task.borrow() {
        task.wake_by_ref();
    }
    let body = poll_fn(|context| match slot.answer.borrow_mut().take() {
        Some(body) => Poll::Ready(body),
        None => {
            *slot.caller.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        }
    });
    let mut response = Response::new(Full::new(body.await));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Writes all that waits in one write, hands out all that came in one read.
async fn work(desk: Rc<Desk>, mut questions: pipe::Sender, mut answers: pipe::Receiver) {
    let mut read = vec![0; 1 << 16];
    let mut kept = 0;
    loop {
        let came = poll_fn(|context| {
            turn(&desk, &mut questions, &mut answers, &mut read[kept..], context)
        });
        let came = came.await;
        assert!(came > 0, "the program ended");
        kept += came;
        let mut start = 0;
        while let Some(length) = read[start..kept].iter().position(|byte| *byte == b'\n') {
            hand_out(&desk, &read[start..start + length]);
            start += length + 1;
        }
        read.copy_within(start..kept, 0);
        kept -= start;
    }
}

fn turn(
    desk: &Desk,
    questions: &mut pipe::Sender,
    answers: &mut pipe::Receiver,
    room: &mut [u8],
    context: &mut Context<'_>,
) -> Poll<usize> {
    *desk.task.borrow_mut() = Some(context.waker().clone());
    let mut unwritten = desk.unwritten.borrow_mut();
    while !unwritten.is_empty() {
        match Pin::new(&mut *questions).poll_write(context, &unwritten) {
            Poll::Ready(written) => unwritten.advance(written.expect("it reads")),
            Poll::Pending => break,
        }
    }
    let mut buffer = ReadBuf::new(room);
    let read = Pin::new(answers).poll_read(context, &mut buffer);
    read.map(|read| read.map_or(0, |()| buffer.filled().len()))
}

fn hand_out(desk: &Desk, line: &[u8]) {
    let (question, slot) = desk.asked.borrow_mut().pop_front().expect("it was asked");
    let echoed = line.strip_prefix(&question[..]).expect("it repeats its question");
    let result = echoed.strip_prefix(b"|").expect("it has an answer");
    let body = [br#"{"result":""#, result, br#""}"#].concat();
    *slot.answer.borrow_mut() = Some(body.into());
    if let Some(caller) = slot.caller.borrow_mut().take() {
        caller.wake();
    }
}
