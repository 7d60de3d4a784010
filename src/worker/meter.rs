//! Measures what processes use, on a thread of its own that lives only while somebody asks.
//!
//! To read `/proc` of hundreds of processes takes milliseconds, which the thread that serves calls
//! does not have. A file is opened once for each process and read again and again. It is bound to
//! the process, so a later process of the same id is never taken for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::usage::{Stat, open_stat};
use crate::base::ByteSize;

/// A reading that is no older than this is good enough.
const FRESH: Duration = Duration::from_millis(900);
/// The thread ends when nobody has asked for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// A share of time that is measured over less than this says little.
const SPAN_LEAST: Duration = Duration::from_millis(500);
/// How long to wait for the thread.
const WAIT_MOST: Duration = Duration::from_secs(1);
/// Room for a `stat` file.
const STAT_ROOM: usize = 1 << 10;

/// What one process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// CPU time since its start.
    pub cpu: Duration,
    /// How many cores it used lately; `None` until it was measured twice.
    pub cores: Option<f64>,
    /// Resident memory, including the parts shared with other processes.
    pub memory: ByteSize,
}

/// Measures processes.
#[derive(Debug, Default)]
pub struct Meter {
    thread: RefCell<Option<Sender<Order>>>,
    last: RefCell<Option<(Instant, Readings)>>,
}

type Readings = HashMap<u32, Reading>;

/// Which processes are to be measured, and where the readings go.
struct Order {
    processes: Vec<u32>,
    reply: oneshot::Sender<Readings>,
}

/// A process that is measured.
struct Measured {
    stat: File,
    /// When it started, in the kernel's own count.
    born: u64,
    /// From when and at which CPU time its share is measured.
    since: (Instant, Duration),
    cores: Option<f64>,
}

impl Meter {
    /// Measures these processes, unless that was done within the last second.
    pub async fn measure(&self, processes: impl FnOnce() -> Vec<u32>) {
        let is_fresh = |last: &Option<(Instant, Readings)>| {
            last.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH)
        };
        if is_fresh(&self.last.borrow()) {
            return;
        }
        let (reply, readings) = oneshot::channel();
        self.send(Order { processes: processes(), reply });
        if let Ok(Ok(readings)) = tokio::time::timeout(WAIT_MOST, readings).await {
            *self.last.borrow_mut() = Some((Instant::now(), readings));
        }
    }

    /// Returns the last reading of a process, if it is not old.
    pub fn reading(&self, process: u32) -> Option<Reading> {
        let last = self.last.borrow();
        let (at, readings) = last.as_ref()?;
        (at.elapsed() < 3 * FRESH).then(|| readings.get(&process).copied())?
    }

    /// Hands an order to the thread. One that has ended, or cannot be started, leaves it undone.
    fn send(&self, order: Order) {
        let mut thread = self.thread.borrow_mut();
        let unsent = match &*thread {
            Some(sender) => sender.send(order).err().map(|unsent| unsent.0),
            None => Some(order),
        };
        let Some(order) = unsent else { return };
        let (sender, orders) = channel();
        let started = std::thread::Builder::new().name("meter".into()).spawn(|| run(orders));
        if started.is_ok() {
            sender.send(order).ok();
            *thread = Some(sender);
        }
    }
}

/// Carries out orders until none has come for a while.
#[expect(clippy::needless_pass_by_value, reason = "its end tells the sender that the thread ended")]
fn run(orders: Receiver<Order>) {
    let mut known = HashMap::new();
    while let Ok(order) = orders.recv_timeout(PATIENCE) {
        known.retain(|id, _| order.processes.contains(id));
        let measure = |id| Some((id, measure(&mut known, id, Instant::now())?));
        let readings = order.processes.iter().copied().filter_map(measure).collect();
        order.reply.send(readings).ok();
    }
}

/// Measures one process; `None` if there is no such process of ours.
fn measure(known: &mut HashMap<u32, Measured>, id: u32, now: Instant) -> Option<Reading> {
    let kept = known.get(&id).and_then(|kept| Some((kept.born, read(&kept.stat)?)));
    let stat = match kept {
        Some((born, stat)) if stat.born == born => stat,
        _ => {
            known.remove(&id);
            let file = open_stat(id).ok()?;
            let stat = read(&file)?;
            let (born, since) = (stat.born, (now, stat.cpu));
            known.insert(id, Measured { stat: file, born, since, cores: None });
            stat
        }
    };
    let measured = known.get_mut(&id)?;
    let (since, before) = measured.since;
    let span = now.saturating_duration_since(since);
    if span >= SPAN_LEAST {
        let used = stat.cpu.saturating_sub(before);
        measured.cores = Some(used.as_secs_f64() / span.as_secs_f64());
        measured.since = (now, stat.cpu);
    }
    Some(Reading { cpu: stat.cpu, cores: measured.cores, memory: stat.memory })
}

/// Reads a `stat` file of a child of this process from its begin.
fn read(file: &File) -> Option<Stat> {
    let mut text = [0; STAT_ROOM];
    let length = file.read_at(&mut text, 0).ok()?;
    Stat::parse(&text[..length]).filter(|stat| stat.parent == std::process::id())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a process to be measured, without a shim")]
    fn child() -> Child {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts")
    }

    #[test]
    fn a_share_is_what_was_used_between_two_readings() {
        let mut child = child();
        let (mut known, now) = (HashMap::new(), Instant::now());
        let first = measure(&mut known, child.id(), now).expect("it runs");
        assert_eq!(first.cores, None);
        // As if it had used half a second less then.
        let measured = known.get_mut(&child.id()).expect("it is known");
        measured.since = (now, Duration::ZERO);
        let later = measure(&mut known, child.id(), now + Duration::from_secs(2)).expect("it runs");
        let cores = later.cores.expect("it was measured twice");
        assert!((cores - later.cpu.as_secs_f64() / 2.0).abs() < 1e-9, "{later:?}");
        let soon = measure(&mut known, child.id(), now + Duration::from_millis(2_100));
        assert_eq!(soon.and_then(|it| it.cores), Some(cores), "too soon for a new one");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(measure(&mut known, child.id(), now), None, "its file tells that it is gone");
    }

    #[test]
    fn a_process_of_the_same_id_is_another_one() {
        let mut child = child();
        let (mut known, now) = (HashMap::new(), Instant::now());
        measure(&mut known, child.id(), now).expect("it runs");
        let measured = known.get_mut(&child.id()).expect("it is known");
        (measured.born, measured.cores) = (measured.born + 1, Some(7.0));
        let reading = measure(&mut known, child.id(), now).expect("it runs");
        assert_eq!(reading.cores, None);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    #[test]
    fn a_process_that_is_not_ours_is_not_measured() {
        assert_eq!(measure(&mut HashMap::new(), std::process::id(), Instant::now()), None);
        assert_eq!(measure(&mut HashMap::new(), 1, Instant::now()), None);
    }

    #[test]
    fn the_thread_answers_and_a_fresh_reading_is_not_taken_again() {
        let mut child = child();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (meter, id) = (Meter::default(), child.id());
        runtime.expect("a runtime").block_on(async {
            meter.measure(|| vec![id]).await;
            assert!(meter.reading(id).is_some());
            meter.measure(|| unreachable!("it is fresh")).await;
        });
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}
