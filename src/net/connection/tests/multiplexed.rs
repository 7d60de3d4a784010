//! What is left of a connection that speaks HTTP/2, and since when it is idle. Its bytes come without TLS.

use tokio::io::DuplexStream;

use super::*;
use crate::net::seats::Seats;
use crate::net::watch::TimerAction;

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:method: POST`, `:scheme: https`, `:path: /`, `:authority: a`.
const POST: &[u8] = b"\x83\x87\x84\x41\x01a";
/// `:method: CONNECT`, `:authority: a`, `content-length: 1`.
const CONNECT: &[u8] = b"\x02\x07CONNECT\x01\x01a\x0f\x0d\x011";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface of a caller, and these frames.
fn start(frames: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..], frames].concat()
}

/// Reads until the head of an answer.
async fn read_head(caller: &mut DuplexStream) {
    loop {
        let mut head = [0; 9];
        caller.read_exact(&mut head).await.expect("a frame");
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        caller.read_exact(&mut vec![0; length]).await.expect("its payload");
        if head[3] == HEADERS {
            return;
        }
    }
}

/// hyper begins the first stream, and ends the connection for the second, before the first has run.
#[tokio::test(start_paused = true)]
async fn streams_that_never_ran_go_with_their_connection() {
    let watch = Rc::new(Watch::new(now(), Seats::default().add(now()).1));
    let service = async |_: &RequestHead, _, _: Arrival<'_>| -> Response<Full<Bytes>> {
        unreachable!("no stream runs")
    };
    let streams = H2Streams::new(watch);
    let left = Rc::downgrade(&streams);
    let (mut caller, io) = tokio::io::duplex(64 << 10);
    let first = frame(HEADERS, END_HEADERS, 1, POST);
    let second = frame(HEADERS, END_HEADERS, 3, CONNECT);
    caller.write_all(&start(&[first, second].concat())).await.expect("there is room");
    http2::serve(io, &limits(), &streams, &service).await.ok();
    drop(streams);
    assert_eq!(left.strong_count(), 0, "streams hold what they share, and it holds them");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_since_the_end_of_its_last_stream() {
    let (second, began) = (Duration::from_secs(1), now());
    let watch = Rc::new(Watch::new(began, Seats::default().add(began).1));
    let service = async |_: &RequestHead, _, _: Arrival<'_>| Response::new(Full::new(Bytes::new()));
    let streams = H2Streams::new(Rc::clone(&watch));
    let (mut caller, io) = tokio::io::duplex(64 << 10);
    let served = pin!(http2::serve(io, &limits(), &streams, &service));
    tokio::time::advance(15 * second).await;
    let post = frame(HEADERS, END_HEADERS | END_STREAM, 1, POST);
    caller.write_all(&start(&post)).await.expect("there is room");
    tokio::select! {
        biased;
        end = served => panic!("it has ended: {end:?}"),
        () = read_head(&mut caller) => {}
    }
    // It has 20 seconds.
    let patience = Patience::of(&limits());
    let action = |after| watch.timer_action(began + after * second, patience);
    assert!(matches!(action(34), TimerAction::Look(_)), "{:?}", action(34));
    assert_eq!(action(35), TimerAction::End(Overdue::Idle));
}
