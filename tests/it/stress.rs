//! Many callers, unique questions, workers that fail at random: nobody gets another's answer.

use std::collections::BTreeMap;

use crate::support::{Client, Server};

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
fn no_answer_is_ever_crossed() {
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

/// Lets every caller ask while this says so of the rounds it did; how often each code came.
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

/// How often one caller got each code on its kept connection.
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
            assert_eq!(answer.json()["result"], question, "another's answer: {answer:?}");
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
