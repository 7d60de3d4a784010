//! Many callers with unique questions, and workers that fail at random: no caller gets the answer
//! of another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Client, Over, Server, pause, whole_machine};

const CALLERS: u64 = 64;
const ROUNDS: u64 = 30;

/// What the questions ask for besides an answer; most ask for nothing.
const FAULTS: [&str; 20] = [
    "crash",
    "crash-during",
    "crash-after",
    "twice",
    "again 1",
    "unasked 1",
    "wrong",
    "garbage",
    "exit 0",
    "sleep 3",
    "sleep 1",
    "invalid-utf8",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
];

#[test]
fn no_caller_gets_the_answer_of_another() {
    let _alone = whole_machine();
    let server = misbehaving();
    let descriptors = server.descriptors();
    let outcomes = all_callers(&server, |round| round < ROUNDS);
    assert_eq!(outcomes.values().sum::<u64>(), CALLERS * ROUNDS, "{outcomes:?}");
    assert!(outcomes.get("ok").is_some_and(|good| *good > CALLERS * ROUNDS / 4), "{outcomes:?}");
    is_as_before(&server, descriptors);
}

fn misbehaving() -> Server {
    Server::with(
        "workers = 4\nreply = \"{input}|{result}\"\ntimeout = \"2s\"\nstop_grace = \"50ms\"",
    )
    .worker("demo-worker --pair")
    .start()
}

/// Lets every caller ask while `goes_on` returns true for the number of its rounds. Returns how
/// often each code came.
fn all_callers(
    server: &Server,
    goes_on: impl Fn(u64) -> bool + Copy + Send + 'static,
) -> BTreeMap<String, u64> {
    let threads: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = server.client();
            std::thread::spawn(move || one_caller(&client, caller, goes_on))
        })
        .collect();
    let mut outcomes = BTreeMap::new();
    for thread in threads {
        for (outcome, count) in thread.join().expect("no caller saw anything wrong") {
            *outcomes.entry(outcome).or_insert(0) += count;
        }
    }
    outcomes
}

fn is_as_before(server: &Server, descriptors: usize) {
    server.wait_until("all is as before", |s| {
        s.workers().len() == 4 && s.zombies() == 0 && s.descriptors() <= descriptors + 4
    });
    server.wait_until("its workers answer again", |s| s.answers("well?").status == 200);
    for number in 0..20 {
        let text = format!("after {number}");
        assert_eq!(server.answers(&text).json()["result"], text);
    }
}

/// Asks on one kept connection. Returns how often each code came.
fn one_caller(
    client: &Client,
    caller: u64,
    goes_on: impl Fn(u64) -> bool,
) -> BTreeMap<String, u64> {
    let mut random = caller.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut connection = client.connect();
    let mut outcomes = BTreeMap::new();
    for round in (0..).take_while(|round| goes_on(*round)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let fault = FAULTS[usize::try_from(random % 20).expect("small")];
        let question = format!("{fault} token-{caller}-{round}").trim_start().to_owned();
        let answer = if random & 1024 == 0 {
            connection.post("/", &question)
        } else {
            connection.get(&format!("/?input={}", question.replace(' ', "%20")))
        };
        let outcome = if answer.status == 200 {
            assert_eq!(
                answer.json()["result"],
                question,
                "the answer to another question: {answer:?}"
            );
            "ok".to_owned()
        } else {
            assert!(!answer.body.contains("token-"), "a failure that tells too much: {answer:?}");
            answer.code()
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
        if answer.header("connection") == "close" {
            connection = client.connect();
        }
    }
    outcomes
}

/// Faults that only their own caller sees. (Output after the answer is seen in the next answer,
/// which then is a `bad_answer` if its question was already given.)
const THEIR_OWN: [&str; 9] = [
    "crash",
    "crash-during",
    "crash-after",
    "exit 0",
    "twice",
    "wrong",
    "garbage",
    "invalid-utf8",
    "sleep 3",
];

/// Half of the pool hangs and questions cause faults of all kinds at random. Callers with good
/// questions come at a steady rate, and nearly all of them get their own answer.
#[test]
fn good_questions_are_answered_while_half_of_the_pool_hangs() {
    let _alone = whole_machine();
    let server = Server::with(
        "workers = 8\nreply = \"{input}|{result}\"\ntimeout = \"500ms\"\nstop_grace = \"50ms\"",
    )
    .worker("demo-worker --pair")
    .start();
    let (descriptors, offspring) = (server.descriptors(), server.offspring().len());
    let over = AtomicBool::new(false);
    let (good, bad) = std::thread::scope(|scope| {
        for caller in 0..4 {
            let (client, over) = (server.client(), &over);
            scope.spawn(move || {
                for round in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    let code = client.post("/", &format!("hang {caller}-{round}")).code();
                    assert!(!code.is_empty(), "nobody answers that");
                }
            });
        }
        let until_here = Over(&over);
        let asking: Vec<_> = (0..4)
            .map(|caller| {
                let client = server.client();
                scope.spawn(move || steady_caller(&client, caller))
            })
            .collect();
        let counts = asking.into_iter().map(|caller| caller.join().expect("its own answers only"));
        let counts = counts.fold((0, 0), |(good, bad), (more, worse)| (good + more, bad + worse));
        drop(until_here);
        counts
    });
    assert!(bad * 100 < good, "{bad} of {} good questions failed", good + bad);
    server.wait_until("all is as before", |s| {
        s.workers().len() == 8
            && s.zombies() == 0
            && s.descriptors() <= descriptors + 4
            && s.offspring().len() == offspring
    });
}

/// Asks fifty times a second for some seconds. Each fault is one question of twenty. Returns how
/// many of the good questions were answered, and how many were not.
fn steady_caller(client: &Client, caller: u64) -> (u64, u64) {
    let mut connection = client.connect();
    let (mut good, mut bad) = (0, 0);
    for round in 0..300 {
        let drawn = usize::try_from((round * 7 + caller * 5) % 20).expect("small");
        let fault = THEIR_OWN.get(drawn).copied().unwrap_or_default();
        let question = format!("{fault} token-{caller}-{round}").trim_start().to_owned();
        let answer = connection.get(&format!("/?input={}", question.replace(' ', "%20")));
        match (answer.status, fault) {
            (200, _) => {
                assert_eq!(
                    answer.json()["result"],
                    question,
                    "the answer to another question: {answer:?}"
                );
                good += u64::from(fault.is_empty());
            }
            (_, "") => bad += 1,
            _ => {}
        }
        if answer.header("connection") == "close" {
            connection = client.connect();
        }
        pause(
            Duration::from_millis(20).saturating_sub(answer.took),
            "a caller asks fifty times a second",
        );
    }
    (good, bad)
}
