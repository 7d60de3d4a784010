//! Several servers that share answers by a real Redis, and what is wrong with it.

use std::thread;

use crate::support::{Answer, Pending, Plan, Redis, Server, shell};

/// A plan of a server that shares answers there, and writes the questions that its workers see into
/// `seen`. Looks may take long: on a busy machine, a slow one would be a miss.
pub(crate) fn sharing(url: &str) -> Plan {
    sharing_with(url, "shared_timeout = \"10s\"")
}

pub(crate) fn sharing_with(url: &str, keys: &str) -> Plan {
    plan("", &format!("shared = \"{url}\"\n{keys}"))
}

fn plan(pool: &str, cache: &str) -> Plan {
    Server::with(&format!("workers = 1\nversion = \"1\"\n{pool}"))
        .worker("demo-worker --journal seen")
        .route(&format!("match = \"GET /?input={{input}}\"\ncache = \"1h\"\n[cache]\n{cache}"))
}

pub(crate) fn connected(plan: Plan) -> Server {
    let server = plan.start();
    is_connected(&server, true);
    server
}

fn is_connected(server: &Server, wanted: bool) {
    server.wait_for_count("httpipe_shared_cache_connected", f64::from(u8::from(wanted)));
}

pub(crate) fn total(server: &Server, outcome: &str) -> f64 {
    server.metric(&format!("httpipe_shared_cache_total{{outcome=\"{outcome}\"}}"))
}

fn ask(server: &Server, question: &str) -> Answer {
    server.client().get(&format!("/?input={}", question.replace(' ', "+")))
}

/// What the header of the answer says of the cache.
pub(crate) fn cached(answer: &Answer) -> &str {
    answer.header("cache-status")
}

/// The keys of kept answers.
fn kept(redis: &Redis) -> Vec<String> {
    redis.keys("hp1:{*}:????????????????????????????????")
}

/// A server that runs this question, and one that waits for the run.
fn leader_and_follower(redis: &Redis, plan: impl Fn() -> Plan, question: &str) -> Two {
    let servers = [connected(plan()), connected(plan())];
    let target = format!("/?input={}", question.replace(' ', "+"));
    let leads = servers[0].client().get_later(&target);
    servers[0].wait_until("it leads", |_| !redis.keys("*:run").is_empty());
    let follows = servers[1].client().get_later(&target);
    let lease = redis.keys("*:run").remove(0);
    // Who waits leaves a mark.
    let is_followed = |_: &Server| {
        String::from_utf8_lossy(&redis.ask(&[b"GET", lease.as_bytes()])).contains("+\r\n")
    };
    servers[1].wait_until("it follows", is_followed);
    Two { servers, leads, follows }
}

struct Two {
    servers: [Server; 2],
    leads: Pending,
    follows: Pending,
}

#[test]
fn a_hundred_callers_of_each_of_two_servers_share_one_run() {
    let Some(redis) = Redis::start(&[]) else { return };
    let servers = [connected(sharing(&redis.url())), connected(sharing(&redis.url()))];
    let target = "/?input=sleep+500+a";
    let answers: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = servers
            .iter()
            .flat_map(|server| std::iter::repeat_n(server.client(), 100))
            .map(|client| scope.spawn(move || client.get(target)))
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("an answer")).collect()
    });
    assert!(answers.iter().all(|it| (it.status, &*it.body) == (200, "sleep 500 a")), "{answers:?}");
    let seen: Vec<_> = servers.iter().flat_map(Server::seen).collect();
    assert_eq!(seen, ["sleep 500 a"], "by both servers together");
    // A third server never ran it, and has it.
    let third = connected(sharing(&redis.url()));
    let answer = third.client().get(target);
    let status = cached(&answer);
    let is_hit =
        status.starts_with("httpipe; hit; ttl=35") || status.starts_with("httpipe; hit; ttl=36");
    assert!(is_hit && status.ends_with("; detail=shared"), "{status}");
    assert_ne!((answer.header("age"), answer.header("etag")), ("", ""));
    assert!(third.seen().is_empty());
    assert_eq!(total(&third, "hit"), 1.0);
    // From now on it has it itself.
    assert!(!cached(&third.client().get(target)).contains("shared"));
    assert_eq!(total(&third, "hit"), 1.0);
    let shared = &third.status()["cache"]["shared"];
    assert_eq!((&shared["connected"], &shared["hits"]), (&true.into(), &1.into()), "{shared}");
    // With another version, the program is another one.
    let other = plan("", &format!("shared = \"{}\"\nshared_timeout = \"10s\"", redis.url()));
    let other = connected(other.env("HTTPIPE_VERSION", "2"));
    assert_eq!(cached(&other.client().get(target)), "httpipe; fwd=miss; stored");
}

#[test]
fn who_waits_for_another_server_is_told_so() {
    let Some(redis) = Redis::start(&[]) else { return };
    let two = leader_and_follower(&redis, || sharing(&redis.url()), "sleep 500 a");
    assert_eq!(cached(&two.leads.answer()), "httpipe; fwd=miss; stored");
    let answer = two.follows.answer();
    assert_eq!(cached(&answer), "httpipe; fwd=miss; collapsed; detail=shared");
    assert_eq!((answer.body.as_str(), total(&two.servers[1], "followed")), ("sleep 500 a", 1.0));
    assert!(two.servers[1].seen().is_empty());
}

#[test]
fn a_socket_file_and_a_user_of_least_rights_do() {
    let Some(redis) = Redis::start(&["--requirepass", "hunter2"]) else { return };
    let guide = include_str!("../../docs/scale.md");
    let rights = guide.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("rights");
    let rights = rights.replace("PASSWORD", "hunter3");
    let words: Vec<&[u8]> =
        ["ACL", "SETUSER"].into_iter().chain(rights.split(' ')).map(str::as_bytes).collect();
    assert!(redis.ask_as("hunter2", &words).starts_with(b"+OK"));
    let url = redis.url().replace("redis://", "redis://httpipe@");
    let user = connected(sharing(&url).env("HTTPIPE_CACHE_SHARED_PASSWORD", "hunter3"));
    assert_eq!(ask(&user, "a").body, "a");
    let socket = format!("unix:{}", redis.socket().display());
    let file =
        sharing_with(&socket, "shared_timeout = \"10s\"\nshared_password = { file = \"pw\" }");
    let file = connected(file.file("pw", "hunter2\n"));
    assert!(cached(&ask(&file, "a")).ends_with("detail=shared"));
    assert_eq!(total(&user, "miss"), 1.0);
}

#[test]
fn without_it_calls_run_and_it_is_used_once_it_is_there() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    redis.kill();
    let server = sharing(&redis.url()).start();
    server.wait_for_log("the shared cache cannot be used; calls run without it");
    assert_eq!((ask(&server, "a").body.as_str(), total(&server, "away")), ("a", 1.0));
    let shared = &server.status()["cache"]["shared"];
    assert_eq!(shared["connected"], false);
    assert!(shared["error"].as_str().is_some_and(|why| why.contains("refused")), "{shared}");
    redis.start_again();
    is_connected(&server, true);
    server.wait_for_log("the shared cache can be used again");
    assert_eq!((ask(&server, "b").body.as_str(), total(&server, "miss")), ("b", 1.0));
    redis.kill();
    is_connected(&server, false);
    assert_eq!((ask(&server, "c").body.as_str(), total(&server, "away")), ("c", 2.0));
}

#[test]
fn one_that_stands_still_costs_five_looks_and_no_more() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = connected(sharing_with(&redis.url(), ""));
    redis.signal("STOP");
    for number in 0..7 {
        let question = number.to_string();
        assert_eq!(ask(&server, &question).body, question);
    }
    assert_eq!((total(&server, "late"), total(&server, "away")), (5.0, 2.0));
    redis.signal("CONT");
    is_connected(&server, true);
}

#[test]
fn one_that_cannot_be_written_serves_what_it_has() {
    let Some(redis) = Redis::start(&[]) else { return };
    let first = connected(sharing(&redis.url()));
    assert_eq!(ask(&first, "a").body, "a");
    first.wait_until("it is kept", |_| kept(&redis).len() == 1);
    for change in ["CONFIG SET maxmemory 1", "REPLICAOF 127.0.0.1 1"] {
        assert!(redis.says(change).starts_with("+OK"), "{change}");
        let server = connected(sharing(&redis.url()));
        assert!(cached(&ask(&server, "a")).ends_with("detail=shared"), "{change}");
        for number in 0..6 {
            let question = format!("b {number}");
            assert_eq!(ask(&server, &question).body, question, "{change}");
        }
        assert_eq!((total(&server, "hit"), total(&server, "refused")), (1.0, 6.0), "{change}");
        assert_eq!(server.metric("httpipe_shared_cache_connected"), 1.0);
        redis.says("CONFIG SET maxmemory 0");
    }
}

#[test]
fn one_that_loads_is_used_once_it_has_loaded() {
    let arguments = ["--enable-debug-command", "yes", "--rdbcompression", "no"];
    let Some(mut redis) = Redis::start(&arguments) else { return };
    redis.ask(&[b"DEBUG", b"POPULATE", b"4000", b"k", b"1100"]);
    assert!(redis.ask(&[b"SAVE"]).starts_with(b"+OK"));
    redis.kill();
    // It would take minutes, and answers between two keys.
    let events = ["--loading-process-events-interval-bytes", "1024"];
    redis.start_with(&[&["--key-load-delay", "50000"], &events[..]].concat());
    let server = sharing(&redis.url()).start();
    server.wait_for_log("Redis is loading the dataset");
    assert_eq!(ask(&server, "a").body, "a");
    redis.says("CONFIG SET key-load-delay 0");
    is_connected(&server, true);
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let Some(redis) = Redis::start(&["--requirepass", "hunter2"]) else { return };
    let wrong = |plan: Plan| plan.env("HTTPIPE_CACHE_SHARED_PASSWORD", "hunter3");
    let server = wrong(sharing(&redis.url())).start();
    let line = server.wait_for_log("the shared cache cannot be used; calls run without it");
    assert!(line.contains("the login is refused: ") && line.contains("WRONGPASS"), "{line}");
    assert_eq!(ask(&server, "a").body, "a");
    let missing = sharing(&redis.url()).start();
    missing.wait_for_log("NOAUTH");
    let good = connected(sharing(&redis.url()).env("HTTPIPE_CACHE_SHARED_PASSWORD", "hunter2"));
    assert_eq!(ask(&good, "a").body, "a");
    for server in [&server, &missing, &good] {
        let told = [
            server.log_lines().join("\n"),
            server.status().to_string(),
            server.admin().get("/metrics").body,
            format!("{:?}", ask(server, "exit 1")),
        ];
        assert!(told.iter().all(|it| !it.contains("hunter")), "{told:?}");
    }
    // The same where it is written in the wrong place.
    let ended = sharing("redis://ann:hunter2@127.0.0.1:1").refused();
    assert!(ended.stderr.contains("a password does not belong into `shared`"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter"), "{}", ended.stderr);
}

#[test]
fn a_value_that_is_no_answer_to_the_question_is_none() {
    let Some(redis) = Redis::start(&[]) else { return };
    let first = connected(sharing(&redis.url()));
    ask(&first, "other");
    first.wait_until("it is kept", |_| kept(&redis).len() == 1);
    let other = redis.value(&kept(&redis)[0]);
    redis.ask(&[b"FLUSHALL"]);
    ask(&first, "a");
    first.wait_until("it is kept", |_| kept(&redis).len() == 1);
    let key = kept(&redis).remove(0);
    let good = redis.value(&key);
    let mut changed = good.clone();
    let last = changed.len() - 9;
    changed[last] ^= 1;
    let cut = good[..good.len() - 1].to_vec();
    let long = vec![b'x'; 2 << 20];
    for (what, value) in [
        ("changed", &changed),
        ("cut", &cut),
        ("empty", &Vec::new()),
        ("too long", &long),
        ("of another question", &other),
    ] {
        redis.ask(&[b"SET", key.as_bytes(), value, b"PX", b"100000"]);
        assert_is_no_answer(&redis, &key, what);
    }
    redis.ask(&[b"SET", key.as_bytes(), &good]);
    assert_is_no_answer(&redis, &key, "without an end");
    redis.ask(&[b"DEL", key.as_bytes()]);
    redis.ask(&[b"LPUSH", key.as_bytes(), b"x"]);
    let server = connected(sharing(&redis.url()));
    assert_eq!((ask(&server, "a").body.as_str(), total(&server, "failed")), ("a", 1.0));
}

/// Asks a new server, which runs the question, and puts its answer in the place of the value.
fn assert_is_no_answer(redis: &Redis, key: &str, what: &str) {
    let server = connected(sharing(&redis.url()));
    let answer = ask(&server, "a");
    assert_eq!(
        (answer.body.as_str(), cached(&answer)),
        ("a", "httpipe; fwd=miss; stored"),
        "{what}"
    );
    assert_eq!((server.seen().len(), total(&server, "unusable")), (1, 1.0), "{what}");
    let next = connected(sharing(&redis.url()));
    next.wait_until("it is replaced", |_| redis.ask(&[b"PTTL", key.as_bytes()]).starts_with(b":3"));
    assert!(cached(&ask(&next, "a")).ends_with("detail=shared"), "{what}");
}

#[test]
fn when_the_server_that_runs_it_dies_another_one_does() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut two = leader_and_follower(&redis, || sharing(&redis.url()), "sleep 4000 a");
    two.servers[0].signal("KILL");
    two.servers[0].exit_code();
    let answer = two.follows.answer();
    assert_eq!((answer.body.as_str(), two.servers[1].seen().len()), ("sleep 4000 a", 1));
    assert_eq!(total(&two.servers[1], "miss"), 1.0, "it has led");
    drop(two.leads);
}

#[test]
fn a_caller_who_leaves_one_server_fails_nobody_on_another() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cache = format!("shared = \"{}\"\nshared_timeout = \"10s\"", redis.url());
    let plan = || plan("abandoned = \"100ms\"", &cache);
    let two = leader_and_follower(&redis, plan, "sleep 3000 a");
    two.leads.leave();
    let answer = two.follows.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "sleep 3000 a"), "{answer:?}");
    assert_eq!(two.servers[1].seen().len(), 1, "it has run the question itself");
}

#[test]
fn who_waits_runs_alone_when_the_cache_ends() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let url = redis.url();
    let two = leader_and_follower(&redis, || sharing(&url), "sleep 2000 a");
    redis.kill();
    assert_eq!(two.follows.answer().body, "sleep 2000 a");
    assert_eq!(two.leads.answer().body, "sleep 2000 a");
    let seen: Vec<_> = two.servers.iter().flat_map(Server::seen).collect();
    assert_eq!(seen, ["sleep 2000 a"; 2], "once a server");
}

#[test]
fn who_waits_is_answered_when_the_server_stops() {
    let Some(redis) = Redis::start(&[]) else { return };
    let plan = || sharing(&redis.url()).top("drain = \"100ms\"");
    let two = leader_and_follower(&redis, plan, "hang");
    two.servers[1].signal("TERM");
    assert_eq!(two.follows.answer().code(), "draining");
    two.leads.leave();
}

#[test]
fn a_failure_is_told_to_those_who_waited_and_to_nobody_later() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cache = format!("shared = \"{}\"\nshared_timeout = \"10s\"", redis.url());
    let plan = || plan("error = \"sleep {ms} bad {message}\"", &cache);
    let two = leader_and_follower(&redis, plan, "sleep 500 bad day");
    let answers = [two.leads.answer(), two.follows.answer()];
    assert!(answers.iter().all(|it| it.status == 422 && it.body.contains("day")), "{answers:?}");
    let [first, second] = &two.servers;
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
    assert_eq!(total(second, "followed"), 1.0);
    assert!(kept(&redis).is_empty());
    assert_eq!(ask(second, "sleep 500 bad day").status, 422);
    assert_eq!(second.seen().len(), 1, "it was not kept");
}

#[test]
fn what_is_too_long_runs_on_each_server() {
    let Some(redis) = Redis::start(&[]) else { return };
    let servers = [connected(sharing(&redis.url())), connected(sharing(&redis.url()))];
    assert_eq!(ask(&servers[0], "huge 1100000").body.len(), 1_100_000);
    // What is kept says that there is nothing.
    servers[0].wait_until("that is noted", |_| kept(&redis).len() == 1);
    assert!(redis.value(&kept(&redis)[0]).len() < 100);
    assert_eq!(ask(&servers[1], "huge 1100000").body.len(), 1_100_000);
    assert_eq!((total(&servers[0], "miss"), total(&servers[1], "alone")), (1.0, 1.0));
    assert!(cached(&ask(&servers[1], "huge 1100000")).starts_with("httpipe; hit"));
}

#[test]
fn an_answer_ends_with_its_time_on_all_servers() {
    let Some(redis) = Redis::start(&[]) else { return };
    let plan = || {
        Server::with("workers = 1\nversion = \"1\"").worker("demo-worker --journal seen").route(&format!(
            "match = \"GET /?input={{input}}\"\ncache = \"3s\"\n[cache]\nshared = \"{}\"\nshared_timeout = \"10s\"",
            redis.url()
        ))
    };
    let servers = [connected(plan()), connected(plan())];
    ask(&servers[0], "a");
    servers[0].wait_until("it is kept", |_| kept(&redis).len() == 1);
    servers[0].wait_until("its time is over", |_| kept(&redis).is_empty());
    ask(&servers[1], "a");
    assert_eq!((servers[1].seen().len(), total(&servers[1], "miss")), (1, 1.0));
}

#[test]
fn work_in_the_background_takes_answers_and_leads_nobody() {
    let Some(redis) = Redis::start(&[]) else { return };
    let plan = || {
        let cache = format!("shared = \"{}\"\nshared_timeout = \"10s\"", redis.url());
        Server::with("workers = 1\nshare = 1\nversion = \"1\"")
            .worker("demo-worker --journal seen")
            .route(&format!(
                "match = \"POST /?input={{input}}\"\nidempotent = true\nitems = 9\ncache = \"1h\"\n[cache]\n{cache}"
            ))
    };
    let servers = [connected(plan()), connected(plan())];
    for server in &servers {
        let items = ["Content-Type: application/jsonl"];
        let answer =
            server.client().request("POST", "/", &items, "{\"input\":\"a\"}\n{\"input\":\"b\"}\n");
        assert_eq!(answer.status, 200, "{answer:?}");
        servers[0].wait_until("both are kept", |_| kept(&redis).len() == 2);
    }
    assert_eq!((total(&servers[0], "miss"), total(&servers[1], "hit")), (2.0, 2.0));
    assert!(servers[1].seen().is_empty());
}

/// Runs the Redis, the servers and the callers of `docs/scale.md`.
#[test]
fn the_commands_of_the_guide_share() {
    let Some(redis) = Redis::start(&[]) else { return };
    let guide = include_str!("../../docs/scale.md");
    assert!(guide.lines().any(|line| line == "redis-server --port 6379 --save ''"));
    let run = "HTTPIPE_CACHE_SHARED=redis://127.0.0.1:6379 httpipe run ";
    let runs: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix(run)).collect();
    let start = |line: &&str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let ports = (words[2].to_owned(), words[4].to_owned());
        (words[2], words[4]) = ("0", "0");
        let server = Server::args(&words)
            .env("HTTPIPE_CACHE_SHARED", &redis.url())
            .env("HTTPIPE_CACHE_SHARED_TIMEOUT", "10s");
        (connected(server.in_project()), ports.0)
    };
    let servers: Vec<_> = runs.iter().map(start).collect();
    assert_eq!(servers.len(), 2);
    let asked: Vec<&str> = guide.lines().filter(|line| line.starts_with("curl -i ")).collect();
    assert_eq!(asked.len(), 2);
    for line in asked {
        let (command, wanted) = line.split_once(" # ").expect("an answer");
        let own = servers.iter().find(|(_, port)| line.contains(port)).expect("its server");
        let command = command.replace(&format!("http://127.0.0.1:{}", own.1), &own.0.url());
        let (code, said) = shell(&format!("{command} --silent --show-error"));
        let status =
            said.lines().find(|line| line.starts_with("cache-status: ")).unwrap_or_default();
        let beginning = wanted.split("ttl=").next().unwrap_or_default();
        let end = wanted.rsplit("; ").next().unwrap_or_default();
        assert!(
            code == 0 && status.starts_with(beginning) && status.trim_end().ends_with(end),
            "{said}"
        );
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_of_strangers_is_refused() {
    if !crate::support::tls::has_openssl() {
        return;
    }
    let make = crate::support::tls::make;
    let prepare = format!("{} && {}", make("own", 30), make("strange", 30));
    let Some(redis) = Redis::secure(&prepare, "own") else { return };
    let sharing = |ca: &str| {
        let ca = redis.dir().join(ca);
        let keys = format!("shared_timeout = \"10s\"\nshared_ca = \"{}\"", ca.display());
        sharing_with(&format!("rediss://localhost:{}", redis.port()), &keys)
    };
    let server = connected(sharing("own.pem"));
    assert_eq!((ask(&server, "a").body.as_str(), total(&server, "miss")), ("a", 1.0));
    for (ca, why) in [("strange.pem", "invalid peer certificate"), ("none.pem", "cannot be read")] {
        let server = sharing(ca).start();
        let line = server.wait_for_log("the shared cache cannot be used; calls run without it");
        assert!(line.contains("TLS: ") && line.contains(why), "{line}");
        assert_eq!((ask(&server, "a").body.as_str(), total(&server, "away")), ("a", 1.0));
    }
}
