//! The stream of events for those who look: `hello`, and a `tick` each second.
//!
//! An event is written as JSON once for all viewers, and each viewer holds only the latest. One that
//! does not read misses ticks. It costs no more than that, and the connection ends it when it has
//! taken nothing for as long as `limits.write_timeout`. While nobody looks nothing runs.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use slab::Slab;
use tokio::sync::Notify;

use crate::report::Status;

/// Most viewers at one time.
const VIEWERS_MOST: usize = 16;

/// Those who look.
#[derive(Debug, Default)]
pub(super) struct Audience {
    waiting: RefCell<Slab<Waiting>>,
    came: Notify,
}

/// What one viewer has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    hello: Option<Bytes>,
    tick: Option<Bytes>,
    /// It may be shown the whole picture.
    whole: bool,
    waker: Option<Waker>,
}

/// One viewer, which is counted until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    audience: Rc<Audience>,
    key: usize,
}

impl Audience {
    /// Takes a viewer in, who begins with `hello` and may be shown the `whole` picture, or may not.
    /// Returns `None` if there are too many.
    pub(super) fn enter(self: &Rc<Self>, hello: &Status, whole: bool) -> Option<Viewer> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= VIEWERS_MOST {
            return None;
        }
        let hello = Some(event("hello", hello));
        let key = waiting.insert(Waiting { hello, whole, ..Waiting::default() });
        self.came.notify_one();
        Some(Viewer { audience: Rc::clone(self), key })
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Waits until there is a viewer.
    pub(super) async fn wait_for_one(&self) {
        while self.len() == 0 {
            self.came.notified().await;
        }
    }

    /// Gives all viewers this picture, in place of the last one; without what only operators may see
    /// to those who are none.
    pub(super) fn tick(&self, mut tick: Status) {
        let whole = event("tick", &tick);
        let has_jobs = tick.background.as_ref().is_some_and(|work| !work.running.is_empty());
        let public = if has_jobs && self.waiting.borrow().iter().any(|(_, it)| !it.whole) {
            tick.hide_contents();
            event("tick", &tick)
        } else {
            whole.clone()
        };
        self.give(|waiting| {
            waiting.tick = Some(if waiting.whole { whole.clone() } else { public.clone() });
        });
    }

    /// Lets all viewers begin again: each with the picture that it may be shown, which `hello`
    /// returns for true if it is the whole one.
    pub(super) fn greet(&self, hello: impl Fn(bool) -> Status) {
        let [public, whole] = [false, true].map(|whole| event("hello", &hello(whole)));
        self.give(|waiting| {
            waiting.hello = Some(if waiting.whole { whole.clone() } else { public.clone() });
            waiting.tick = None;
        });
    }

    fn give(&self, put: impl Fn(&mut Waiting)) {
        for (_, waiting) in self.waiting.borrow_mut().iter_mut() {
            put(waiting);
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Viewer {
    /// Returns the next event.
    pub(super) fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Bytes> {
        let mut waiting = self.audience.waiting.borrow_mut();
        let waiting = &mut waiting[self.key];
        if let Some(event) = waiting.hello.take().or_else(|| waiting.tick.take()) {
            return Poll::Ready(event);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.audience.waiting.borrow_mut().remove(self.key);
    }
}

/// Writes one event. JSON has no line ends, so its data is one line.
fn event(name: &str, picture: &Status) -> Bytes {
    let mut event = BytesMut::new().writer();
    let written = write_event(&mut event, name, picture);
    written.expect("numbers, texts and lists of them are JSON");
    event.into_inner().freeze()
}

fn write_event(
    to: &mut impl std::io::Write,
    name: &str,
    picture: &Status,
) -> Result<(), Box<dyn std::error::Error>> {
    write!(to, "event: {name}\ndata: ")?;
    serde_json::to_writer(&mut *to, picture)?;
    Ok(to.write_all(b"\n\n")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Returns what the viewer can take now: the name of an event, or nothing.
    fn taken(viewer: &mut Viewer) -> String {
        match next(viewer) {
            Poll::Ready(event) => {
                let text = std::str::from_utf8(&event).expect("it is text");
                text.lines().next().expect("it has a line").to_owned()
            }
            Poll::Pending => String::new(),
        }
    }

    fn next(viewer: &mut Viewer) -> Poll<Bytes> {
        Pin::new(viewer).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_event_is_its_name_and_one_line_of_json() {
        let event = event("hello", &fixture::full());
        let text = std::str::from_utf8(&event).expect("it is text");
        let (name, data) = text.split_once('\n').expect("two lines");
        assert_eq!(name, "event: hello");
        let json = data.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n"));
        let json = json.expect("one line of data and an empty one");
        assert!(!json.contains('\n'), "{json}");
        assert_eq!(serde_json::from_str::<Status>(json).expect("a status"), fixture::full());
    }

    #[test]
    fn a_viewer_that_does_not_read_holds_only_the_latest() {
        let (audience, status) = (Rc::new(Audience::default()), fixture::status(&[("a", 1, 0)]));
        let mut viewer = audience.enter(&status, false).expect("there is room");
        for _ in 0..1000 {
            audience.tick(status.clone());
        }
        assert_eq!(taken(&mut viewer), "event: hello");
        assert_eq!(taken(&mut viewer), "event: tick");
        assert_eq!(taken(&mut viewer), "");
    }

    #[test]
    fn a_new_beginning_replaces_what_came_before_it() {
        let (audience, status) = (Rc::new(Audience::default()), fixture::status(&[("a", 1, 0)]));
        let mut viewer = audience.enter(&status, false).expect("there is room");
        assert_eq!(taken(&mut viewer), "event: hello");
        audience.tick(status.clone());
        audience.greet(|_| status.clone());
        assert_eq!(taken(&mut viewer), "event: hello");
        assert_eq!(taken(&mut viewer), "");
    }

    #[test]
    fn a_new_beginning_is_whole_for_those_only_who_may_see_all() {
        let (audience, status) = (Rc::new(Audience::default()), fixture::status(&[]));
        let mut viewers =
            [false, true].map(|whole| audience.enter(&status, whole).expect("there is room"));
        audience.greet(|whole| Status { log_dropped: u64::from(whole), ..status.clone() });
        let dropped = viewers.each_mut().map(|viewer| {
            let Poll::Ready(event) = next(viewer) else { panic!("it has a beginning") };
            String::from_utf8_lossy(&event).contains("\"log_dropped\":1")
        });
        assert_eq!(dropped, [false, true]);
    }

    #[test]
    fn what_jobs_say_is_for_those_only_who_may_see_all() {
        let (audience, status) = (Rc::new(Audience::default()), fixture::full());
        let mut viewers =
            [false, true].map(|whole| audience.enter(&status, whole).expect("there is room"));
        for viewer in &mut viewers {
            taken(viewer);
        }
        audience.tick(status);
        let told = viewers.each_mut().map(|viewer| {
            let Poll::Ready(event) = next(viewer) else { panic!("there is a tick") };
            let text = String::from_utf8_lossy(&event);
            assert!(text.contains("\"fraction\":0.4"), "{text}");
            (text.contains("page 2"), text.contains("34d301cc"))
        });
        assert_eq!(told, [(false, false), (true, true)]);
    }

    #[test]
    fn there_is_room_for_so_many_and_a_place_that_was_left_is_free() {
        let (audience, status) = (Rc::new(Audience::default()), fixture::status(&[]));
        let enter = || audience.enter(&status, false);
        let mut viewers: Vec<Viewer> =
            (0..VIEWERS_MOST).map(|_| enter().expect("there is room")).collect();
        assert!(enter().is_none());
        viewers.pop();
        assert_eq!(audience.len(), VIEWERS_MOST - 1);
        assert!(enter().is_some());
        drop(viewers);
        assert_eq!(audience.len(), 0);
    }
}
