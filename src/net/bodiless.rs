//! HTTP/1.1 requests without a body, which most are, served without hyper: a head is read whole or not at
//! all, and its response is written from one buffer that the connections of a thread share. So a request
//! costs half of what hyper takes for it, and a connection needs none of hyper's buffers.
//!
//! What is anything else is handed to hyper as it was read, and the connection stays with hyper then.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use hyper::body::Body;
use tokio::io::ReadBuf;

use super::arrival::{self, Arrival, WrittenHead};
use super::conduit::Conduit;
use super::head::{self, BodyLength, HeadSaid};
use super::request_body::RequestBody;
use super::resting::Unserved;
use super::watch::Watch;
use super::{RequestHead, date, now};
use crate::sync::pieces;

/// Most bytes of a head.
const HEAD_MOST: usize = 8 << 10;
/// A longer piece of a body is written from where it lies.
const COPIED_MOST: usize = 8 << 10;
/// So many bytes are written at once, even if more follow.
const WRITTEN_AT: usize = 16 << 10;

thread_local! {
    /// A head without a target and fields, for the next request.
    static SPARE: Cell<Option<Box<RequestHead>>> = const { Cell::new(None) };
}

/// How the service of a connection ended.
#[derive(Debug)]
pub(super) enum BodilessEnd {
    /// The connection is over.
    Over(Result<(), Unserved>),
    /// This was read and is not for here.
    Other(Bytes),
}

/// Serves a connection until something comes that is not for here. `header_most`: the longest head in
/// bytes. `closing` becomes true if it is to end once it is idle.
pub(super) async fn serve<C, S, B>(
    conduit: C,
    watch: Rc<Watch>,
    header_most: usize,
    closing: Rc<Cell<bool>>,
    service: &S,
) -> BodilessEnd
where
    C: Conduit,
    S: AsyncFn(&RequestHead, RequestBody, Arrival<'_>) -> Response<B>,
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let read = poll_fn(|context| poll_head(context, &conduit, &watch, header_most, &closing));
        let (head, closes) = match read.await {
            Ok(read) => read,
            Err(end) => return end,
        };
        let written = WrittenHead::default();
        let mut response = {
            let arrival = Arrival { at: watch.called(now), written: Some(&written) };
            watch.answering(pin!(service(&head, RequestBody::none(), arrival))).await
        };
        let is_head = head.method == Method::HEAD;
        put_away(head);
        if let Some(at) = written.made_at() {
            watch.made(at);
        }
        let closes = closes || closing.get();
        let mut sending = Sending { conduit: &conduit, watch: &watch, text: written.into_text() };
        match pin!(sending.send(&mut response, is_head, closes)).await {
            Ok(true) => return BodilessEnd::Over(Ok(())),
            Ok(false) => {}
            Err(unserved) => return BodilessEnd::Over(Err(unserved)),
        }
    }
}

/// Empties a head, and keeps it for the next request: most of its cost is the room of its fields.
fn put_away(mut head: Box<RequestHead>) {
    head.headers.clear();
    head.uri = Uri::default();
    SPARE.set(Some(head));
}

/// Waits for a head, and reads it. Returns whether the connection ends with its response, too.
fn poll_head(
    context: &mut Context<'_>,
    conduit: &impl Conduit,
    watch: &Watch,
    header_most: usize,
    closing: &Cell<bool>,
) -> Poll<Result<(Box<RequestHead>, bool), BodilessEnd>> {
    if closing.get() {
        return Poll::Ready(Err(BodilessEnd::Over(Ok(()))));
    }
    let mut room = [const { MaybeUninit::uninit() }; HEAD_MOST];
    let mut buffer = ReadBuf::uninit(&mut room);
    if ready!(conduit.poll_read(context, &mut buffer)).is_err() {
        return Poll::Ready(Err(BodilessEnd::Over(Err(Unserved(None)))));
    }
    if buffer.filled().is_empty() {
        watch.received_end();
        return Poll::Ready(Err(BodilessEnd::Over(Ok(()))));
    }
    watch.received(now);
    let text = pieces::copied(buffer.filled());
    let mut head = SPARE.take().unwrap_or_else(|| Box::new(Request::new(()).into_parts().0));
    let closes = if text.len() <= header_most { head::read(&text, &mut head) } else { None };
    Poll::Ready(closes.map(|closes| (head, closes)).ok_or(BodilessEnd::Other(text)))
}

/// A response that is being sent.
struct Sending<'a, C> {
    conduit: &'a C,
    watch: &'a Watch,
    /// What is to be written next; at first the beginning of the head, or nothing.
    text: Vec<u8>,
}

impl<C> Sending<'_, C> {
    /// Takes room for what is written, if it has none.
    fn take_up(&mut self) {
        if self.text.capacity() == 0 {
            self.text = arrival::room();
        }
    }

    /// Leaves the room for what is written to others.
    fn put_down(&mut self) {
        arrival::give_back(std::mem::take(&mut self.text));
    }
}

impl<C> Drop for Sending<'_, C> {
    fn drop(&mut self) {
        self.put_down();
    }
}

impl<C: Conduit> Sending<'_, C> {
    /// Sends a response. Returns whether the connection ends with it.
    async fn send<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        response: &mut Response<B>,
        is_head: bool,
        closes: bool,
    ) -> Result<bool, Unserved> {
        let length = match (response.body().is_end_stream(), response.body().size_hint().exact()) {
            (true, _) => BodyLength::Nothing,
            (false, Some(length)) => BodyLength::Known(length),
            (false, None) => BodyLength::Chunks,
        };
        let lines = (response.status(), response.headers());
        let moment = self.watch.moment(now);
        let write_date = |to: &mut Vec<u8>| date::write(to, moment);
        let head = head::write(&mut self.text, lines, length, is_head, closes, write_date);
        let HeadSaid { body, ends } = head.ok_or(Unserved(None))?;
        if let Some(length) = body {
            pin!(self.send_body(response.body_mut(), length)).await?;
        }
        self.watch.answered();
        self.flush().await?;
        self.watch.flushed(now);
        Ok(ends)
    }

    /// Sends a body as its head has announced it. One that is longer or shorter ends the connection.
    async fn send_body<B>(&mut self, body: &mut B, length: BodyLength) -> Result<(), Unserved>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let in_chunks = length == BodyLength::Chunks;
        let mut left = match length {
            BodyLength::Nothing => 0,
            BodyLength::Known(length) => length,
            BodyLength::Chunks => u64::MAX,
        };
        while !body.is_end_stream() {
            let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context)));
            let frame = match polled.await {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.flush().await?;
                    self.watch.takes_time();
                    // The next piece may be long in coming.
                    self.put_down();
                    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
                }
            };
            match frame {
                None => break,
                // Without its last chunk, or with too few bytes, nobody takes it for whole.
                Some(Err(_)) => return Err(Unserved(None)),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data()
                        && !piece.is_empty()
                    {
                        left = left.checked_sub(piece.len() as u64).ok_or(Unserved(None))?;
                        self.put(&piece, in_chunks).await?;
                    }
                    if in_chunks {
                        // A caller who reads as fast as parts come must not keep this thread from all others.
                        tokio::task::consume_budget().await;
                        self.watch.takes_time();
                    }
                }
            }
        }
        if in_chunks {
            self.take_up();
            self.text.extend_from_slice(b"0\r\n\r\n");
        } else if left > 0 {
            return Err(Unserved(None));
        }
        Ok(())
    }

    /// Adds a piece of the body.
    async fn put(&mut self, piece: &[u8], in_chunks: bool) -> Result<(), Unserved> {
        self.take_up();
        if in_chunks {
            head::write_chunk_size(&mut self.text, piece.len());
        }
        if piece.len() <= COPIED_MOST {
            self.text.extend_from_slice(piece);
        } else {
            self.write(piece).await?;
        }
        if in_chunks {
            self.text.extend_from_slice(b"\r\n");
        }
        if self.text.len() >= WRITTEN_AT { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Unserved> {
        if self.text.is_empty() { Ok(()) } else { self.write(&[]).await }
    }

    /// Writes what is to be written, and this behind it.
    async fn write(&mut self, behind: &[u8]) -> Result<(), Unserved> {
        let (mut first, mut second) = (&*self.text, behind);
        let written = poll_fn(|context| {
            while !(first.is_empty() && second.is_empty()) {
                let both = [IoSlice::new(first), IoSlice::new(second)];
                let parts = match (first, second) {
                    (_, []) => &both[..1],
                    ([], _) => &both[1..],
                    _ => &both[..],
                };
                let count = ready!(self.conduit.poll_write(context, parts, self.watch))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                let of_first = count.min(first.len());
                (first, second) = (&first[of_first..], &second[count - of_first..]);
            }
            Poll::Ready(io::Result::Ok(()))
        });
        let written = written.await;
        self.text.clear();
        written.map_err(|_| Unserved(None))
    }
}
