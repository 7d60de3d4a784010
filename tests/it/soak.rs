//! Everything at once, for any length of time: callers with unique questions and callers who
//! leave, four pools with four kinds of matching, workers that fail at random or are killed, and
//! two reloads a second.
//!
//! `HTTPIPE_SOAK_SECONDS=3600 cargo test --release --test it -- --ignored soak`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Client, Connection, Server, pause, whole_machine};

const CALLERS: u64 = 48;
const WORKERS: usize = 12;

/// A question that contains one of the `f-` words causes that fault.
const FAULTS: &str = r#""demo-worker", "--crash-on", "f-crash", "--crash-during-on", "f-during",
    "--crash-after-on", "f-after", "--sleep-on", "f-sleep", "3ms", "--hang-on", "f-hang",
    "--twice-on", "f-twice", "--wrong-on", "f-wrong", "--garbage-on", "f-garbage",
    "--exit-on", "f-exit", "0", "--grandchild-on", "f-child", "--stderr-flood-on", "f-flood", "2KiB""#;

const CONFIG: &str = r#"
log = { access = false }

[pool.echo]
command = ["$httpipe", FAULTS, "--pair"]
reply = "{input}|{result}"
KEYS

[pool.bare]
command = ["$httpipe", FAULTS]
KEYS

[pool.tag]
command = ["$httpipe", FAULTS]
matching = "tag"
in_flight = 8
KEYS

[pool.json]
command = ["$httpipe", FAULTS]
matching = "json-id"
jsonrpc = false
in_flight = 8
reply = "json"
KEYS

[[route]]
match = "POST /echo"
pool = "echo"
idempotent = true

[[route]]
match = "POST /bare"
pool = "bare"

[[route]]
match = "POST /tag"
pool = "tag"

[[route]]
match = "POST /json"
pool = "json"
"#;

const KEYS: &str = "workers = 3\ntimeout = \"1s\"\nstop_grace = \"50ms\"\n\
                    env = { COLOUR = \"red\" }\nqueue = { wait = \"3s\" }";

/// What a question asks for besides an answer; most ask for nothing. The `bare` pool cannot always
/// tell an extra line from an answer, so its questions use only the first half.
const WORDS: [&str; 12] = [
    "f-crash",
    "f-during",
    "f-after",
    "f-exit",
    "f-sleep",
    "f-hang",
    "f-child",
    "f-flood",
    "f-twice",
    "f-wrong",
    "f-garbage",
    "f-sleep",
];
const HONEST: usize = 8;

#[derive(Clone, Copy)]
enum Way {
    Echo,
    Bare,
    Tag,
    Json,
}

/// The outcomes of all calls.
#[derive(Debug, Default)]
struct Tally {
    /// How often each code came.
    outcomes: BTreeMap<String, u64>,
    /// How many questions may run twice and ask for no fault, and how many of them failed.
    good: u64,
    good_failed: u64,
    kills: u64,
    left: u64,
    reloads: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (code, count) in other.outcomes {
            *self.outcomes.entry(code).or_insert(0) += count;
        }
        self.good += other.good;
        self.good_failed += other.good_failed;
        self.kills += other.kills;
        self.left += other.left;
        self.reloads += other.reloads;
    }
}

#[test]
#[ignore = "runs for 15 seconds, or for HTTPIPE_SOAK_SECONDS"]
fn soak() {
    let _alone = whole_machine();
    let seconds = std::env::var_os("HTTPIPE_SOAK_SECONDS");
    let seconds = seconds.and_then(|text| text.to_str()?.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(15));
    let text = CONFIG.replace("FAULTS", FAULTS).replace("KEYS", KEYS);
    let server = Server::config(&text).start();
    let client = server.client();
    for path in ["/echo", "/bare", "/tag"] {
        assert_eq!(client.post(path, "warm").status, 200);
    }
    server.wait_until("all workers are there", |s| s.workers().len() == WORKERS);
    let (descriptors, offspring) = (server.descriptors(), server.offspring().len());
    // The first seconds fill buffers, the allocator and metrics, which do not grow later.
    let warm = Instant::now() + Duration::from_secs(3).min(end - Instant::now());
    let mut tally = all_callers(&server, warm, 1);
    let memory = server.memory();
    tally.add(all_callers(&server, end, 2));

    // Some workers have left a process behind and still run. Now all workers are replaced.
    server.rewrite("\"red\"", "\"last\"");
    server.wait_until("the last new configuration holds", |s| {
        s.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "").status == 200
    });
    server.wait_until("all workers are there again", |s| s.workers().len() == WORKERS);
    server.wait_until("no dead one is left over", |s| s.zombies() == 0);
    server.wait_until("nothing else is left over", |s| s.offspring().len() == offspring);
    server.wait_until("no descriptor is lost", |s| s.descriptors() <= descriptors + 4);
    let memory = (memory, server.memory());
    for number in 0..40 {
        let text = format!("after {number}");
        for way in [Way::Echo, Way::Bare, Way::Tag, Way::Json] {
            let mut connection = client.connect();
            assert_eq!(ask(&mut connection, way, &text, number).0, "ok");
        }
    }
    report(&tally, (descriptors, server.descriptors()), memory);
    assert!(memory.1.saturating_sub(memory.0) < 32 << 20, "{memory:?} bytes, {tally:?}");
    assert!(tally.good_failed * 2 < tally.good, "{tally:?}");
}

/// Runs all callers and the disturber until `end`. No question is asked in two phases, because one
/// that costs workers twice is refused as `poisonous`.
fn all_callers(server: &Server, end: Instant, phase: u64) -> Tally {
    std::thread::scope(|scope| {
        let disturber = scope.spawn(|| disturb(server, end));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let client = server.client();
                scope.spawn(move || one_caller(&client, phase * 1_000 + caller, end))
            })
            .collect();
        let mut tally = disturber.join().expect("nothing stops the disturber");
        for caller in callers {
            tally.add(caller.join().expect("no caller saw anything wrong"));
        }
        tally
    })
}

/// Asks until `end`, and returns the outcomes.
fn one_caller(client: &Client, caller: u64, end: Instant) -> Tally {
    let mut random = caller.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut connection = client.connect();
    let mut tally = Tally::default();
    let mut round = 0;
    while Instant::now() < end {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let way = [Way::Echo, Way::Bare, Way::Tag, Way::Json][(random >> 8) as usize % 4];
        let words = if matches!(way, Way::Bare) { &WORDS[..HONEST] } else { &WORDS[..] };
        let drawn = (random >> 16) as usize % (words.len() * 8);
        let word = words.get(drawn).copied().unwrap_or_default();
        let question = format!("token-{caller}-{round} {word}").trim_end().to_owned();
        let (code, closes) = ask(&mut connection, way, &question, round);
        let is_good = matches!(way, Way::Echo) && word.is_empty();
        tally.good += u64::from(is_good);
        tally.good_failed += u64::from(is_good && code != "ok");
        *tally.outcomes.entry(code).or_insert(0) += 1;
        if closes {
            connection = client.connect();
        }
        round += 1;
    }
    tally
}

/// Asks and checks the answer. Returns its code, and true if the connection closes.
fn ask(connection: &mut Connection, way: Way, question: &str, number: u64) -> (String, bool) {
    let (path, body) = match way {
        Way::Echo => ("/echo", question.to_owned()),
        Way::Bare => ("/bare", question.to_owned()),
        Way::Tag => ("/tag", question.to_owned()),
        Way::Json => ("/json", json!({ "id": number, "q": question }).to_string()),
    };
    let answer = connection.post(path, &body);
    let closes = answer.header("connection") == "close";
    if answer.status == 200 {
        assert_eq!(said(way, &answer), question, "the answer to another question: {answer:?}");
        if matches!(way, Way::Json) {
            assert_eq!(answer.json()["id"], number, "the id of another question: {answer:?}");
        }
        return ("ok".to_owned(), closes);
    }
    let code = answer.code();
    let honest =
        ["worker_lost", "bad_answer", "timeout", "queue_timeout", "queue_full", "no_worker"];
    assert!(honest.contains(&code.as_str()), "{answer:?}");
    assert!(!answer.body.contains("token-"), "a failure that tells too much: {answer:?}");
    (code, closes)
}

fn said(way: Way, answer: &Answer) -> String {
    match way {
        Way::Echo => answer.json()["result"].as_str().unwrap_or_default().to_owned(),
        Way::Bare | Way::Tag => answer.body.clone(),
        Way::Json => answer.json()["q"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Kills workers, leaves calls and reloads until `end`. Returns how often.
fn disturb(server: &Server, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut random = 1_u64;
    let (mut colour, mut next) = ("red", "blue");
    for round in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if let Some(worker) = server.workers().get((random >> 60) as usize) {
            server.signal_if_alive(*worker, "KILL");
            tally.kills += 1;
        }
        for path in ["/echo", "/bare", "/tag"] {
            server.client().post_later(path, "f-sleep left").leave();
            tally.left += 1;
        }
        if round % 10 == 0 {
            server.rewrite(&format!("\"{colour}\""), &format!("\"{next}\""));
            (colour, next) = (next, colour);
            server.signal("HUP");
            tally.reloads += 1;
        }
        pause(Duration::from_millis(50), "the pace of those who disturb");
    }
    if colour != "red" {
        server.rewrite("\"blue\"", "\"red\"");
    }
    tally
}

#[expect(clippy::print_stderr, reason = "the figures are what a soak is run for")]
fn report(tally: &Tally, descriptors: (usize, usize), memory: (u64, u64)) {
    let Tally { outcomes, good, good_failed, kills, left, reloads } = tally;
    let calls: u64 = outcomes.values().sum();
    eprintln!("{calls} calls: wrong or crossed 0, unanswered 0, workers left over 0");
    eprintln!("descriptors {} before, {} after", descriptors.0, descriptors.1);
    eprintln!("memory {} KiB before, {} KiB after", memory.0 >> 10, memory.1 >> 10);
    eprintln!("workers killed {kills}, callers who left {left}, new configurations {reloads}");
    eprintln!("questions that ask for no fault and may run twice {good}, failed {good_failed}");
    eprintln!("outcomes {outcomes:?}");
}
