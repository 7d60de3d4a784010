//! Thousands of calls while a host is killed each second: none that may run twice is lost, none that may
//! not runs twice, and each caller gets the answer to their question.
//!
//! `HTTPIPE_SPREAD_CALLS=10000 cargo test --features nats --test it -- spread_load` asks as many of each
//! kind, which takes a minute.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::spread::{front, shared, wait_for_slots};
use crate::support::nats::Nats;
use crate::support::{Connection, Over, Server, pause};

const HOSTS: usize = 4;
const WORKERS: usize = 4;
const CALLERS: usize = 24;

/// A host whose workers note what they are asked.
fn host(nats: &Nats) -> Server {
    let plan = shared(nats, &format!("workers = {WORKERS}")).worker("demo-worker --journal seen");
    let host = plan.option("--listen").option("off").start_host();
    host.wait_until_ready();
    host
}

/// What one caller has seen of the calls of one kind.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    lost: Vec<String>,
    strange: Vec<String>,
}

/// Asks questions until `next` has come to `most`.
fn ask(front: &Server, kind: &str, next: &AtomicUsize, most: usize) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Connection = front.client().connect();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= most {
            return seen;
        }
        let question = format!("sleep 30 {kind}{number}");
        let answer = if kind == "again" {
            connection.get(&format!("/?input={}", question.replace(' ', "+")))
        } else {
            connection.post("/", &question)
        };
        match answer.status {
            200 if answer.body == question => seen.answered += 1,
            502 if answer.code() == "worker_lost" => seen.lost.push(question),
            _ => seen.strange.push(format!("{question}: {} {}", answer.status, answer.body)),
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many calls is read from the environment")]
fn spread_load_survives_the_death_of_a_host_each_second() {
    let most = std::env::var("HTTPIPE_SPREAD_CALLS").ok().and_then(|text| text.parse().ok());
    let most: usize = most.unwrap_or(300);
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 10\ntimeout = \"30s\"");
    let mut hosts: Vec<Server> = (0..HOSTS).map(|_| host(&nats)).collect();
    wait_for_slots(&front, (HOSTS * WORKERS) as u64);
    let (again, once) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let mut journal = Vec::new();
    let mut deaths = 0;
    let seen: Vec<(&str, Seen)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (kind, next) =
                    if caller % 2 == 0 { ("again", &again) } else { ("once", &once) };
                let front = &front;
                scope.spawn(move || (kind, ask(front, kind, next, most)))
            })
            .collect();
        let _over = Over(&is_over);
        while !callers.iter().all(thread::ScopedJoinHandle::is_finished) {
            pause(Duration::from_secs(1), "a host lives so long");
            let mut oldest = hosts.remove(0);
            oldest.signal("KILL");
            oldest.exit_code();
            journal.extend(oldest.seen());
            deaths += 1;
            hosts.push(host(&nats));
        }
        callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
    });
    journal.extend(hosts.iter().flat_map(Server::seen));
    let mut runs = BTreeMap::new();
    for question in &journal {
        *runs.entry(question.as_str()).or_insert(0) += 1;
    }
    let of = |kind| seen.iter().filter(move |(of, _)| *of == kind).map(|(_, seen)| seen);
    let answered = |kind| of(kind).map(|seen| seen.answered).sum::<usize>();
    let lost: Vec<_> = of("once").flat_map(|seen| &seen.lost).collect();
    let strange: Vec<_> = seen.iter().flat_map(|(_, seen)| &seen.strange).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert_eq!(answered("again"), most, "{:?}", of("again").map(|it| &it.lost).collect::<Vec<_>>());
    assert_eq!(answered("once") + lost.len(), most);
    let twice: Vec<_> =
        runs.iter().filter(|(question, runs)| question.contains("once") && **runs > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // What was answered has run.
    assert!(runs.len() + lost.len() >= 2 * most, "{} of {} have run", runs.len(), 2 * most);
    let again: usize =
        runs.iter().filter(|(question, _)| question.contains("again")).map(|(_, runs)| runs).sum();
    println_facts(most, deaths, lost.len(), again - most);
}

/// Says what came out, for who runs the long form.
#[expect(clippy::print_stdout, reason = "the figures are the purpose of the long form")]
fn println_facts(most: usize, deaths: usize, lost: usize, again: usize) {
    println!(
        "{most} calls of each kind, {deaths} hosts killed: none lost that may run twice, {again} runs more; \
         of the others {lost} failed, and none ran twice"
    );
}
