//! `examples/haproxy`: a real HAProxy before several servers on this machine.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::agent::with_agent;
use crate::support::{
    Answer, Client, Over, Plan, Server, Stopwatch, pause, shell, skipped, whole_machine,
};

/// A HAProxy that runs until dropped, and the servers behind it.
struct Balancer {
    child: Child,
    client: Client,
    url: String,
    servers: Vec<Server>,
}

/// The names and addresses of the example's servers.
const EXAMPLE: [(&str, &str, u16, u16); 3] = [
    ("one", "127.0.0.1:3000", 3001, 3002),
    ("two", "127.0.0.1:3010", 3011, 3012),
    ("three", "127.0.0.1:3020", 3021, 3022),
];

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Balancer {
    /// Starts HAProxy by the example, with these servers and with `changes`. Waits until it has heard
    /// the agents. `None`: it is not installed.
    fn start(servers: Vec<Server>, changes: &[(&str, &str)]) -> Option<Self> {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/haproxy/haproxy.cfg");
        let mut text = std::fs::read_to_string(example).expect("the example can be read");
        let mut change = |old: &str, new: &str| {
            assert!(text.contains(old), "the example has no {old:?}");
            text = text.replace(old, new);
        };
        let address = format!("{}:8080", own_host());
        change("bind 127.0.0.1:8080", &format!("bind {address}"));
        change("global\n", "global\n    stats socket unix@haproxy.sock level admin\n");
        for (index, (name, own, admin, agent)) in EXAMPLE.into_iter().enumerate() {
            let line = format!("    server {name} {own} port {admin} agent-port {agent}\n");
            let Some(server) = servers.get(index) else {
                change(&line, "");
                continue;
            };
            let [own, admin, agent] =
                [server.url(), server.admin_url(), server.agent_address()].map(|it| bare(&it));
            let [admin, agent] = [admin, agent].map(|it| it.rsplit(':').next().map(str::to_owned));
            let (admin, agent) = (admin.expect("a port"), agent.expect("a port"));
            change(&line, &format!("    server {name} {own} port {admin} agent-port {agent}\n"));
        }
        for (old, new) in changes {
            change(old, new);
        }
        let home = &servers[0];
        home.write("haproxy.cfg", &text);
        // Not every user has its directory in PATH.
        let program =
            ["/usr/sbin/haproxy", "haproxy"].into_iter().find(|it| Path::new(it).exists());
        #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
        let child = Command::new(program.unwrap_or("haproxy"))
            .args(["-db", "-f", "haproxy.cfg"])
            .current_dir(home.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            skipped("haproxy is not installed", "`apt-get install haproxy` does it");
            return None;
        };
        let balancer =
            Self { child, client: Client::of(&address), url: format!("http://{address}"), servers };
        balancer.wait_until("HAProxy has heard all agents", |it| {
            !it.client.is_refused()
                && it.servers.iter().all(|server| !server.status()["agent"]["said"].is_null())
                && (0..it.servers.len()).all(|place| it.is_up(place))
        });
        Some(balancer)
    }

    /// What HAProxy says of one of its servers, by the name of the column of `show stat`.
    fn stat(&self, place: usize) -> BTreeMap<String, String> {
        let path = self.servers[0].dir().join("haproxy.sock");
        let Ok(mut socket) = UnixStream::connect(path) else { return BTreeMap::new() };
        socket.write_all(b"show stat\n").expect("HAProxy reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("HAProxy writes text");
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default().trim_start_matches("# ").split(',');
        let start = format!("httpipe,{},", EXAMPLE[place].0);
        let line = lines.find(|line| line.starts_with(&start)).unwrap_or_default();
        names.map(str::to_owned).zip(line.split(',').map(str::to_owned)).collect()
    }

    fn is_up(&self, place: usize) -> bool {
        self.stat(place).get("status").is_some_and(|it| it == "UP")
    }

    fn says(&self, place: usize, column: &str) -> String {
        self.stat(place).remove(column).unwrap_or_default()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.servers[0].wait_until(what, |_| is_so(self));
    }

    /// Calls through HAProxy from this many callers at once, each over a connection of its own that it
    /// keeps, until `until` returns. Returns all answers that are not good, and how many were good.
    fn under_load(&self, callers: usize, work: &str, until: impl FnOnce()) -> (Vec<Answer>, usize) {
        let (over, good) = (AtomicBool::new(false), AtomicUsize::new(0));
        let bad = thread::scope(|scope| {
            let caller = || {
                let mut bad = Vec::new();
                let mut connection = self.client.connect();
                while !over.load(Ordering::Relaxed) {
                    let answer = connection.post("/", work);
                    if answer.status == 200 && answer.body == work {
                        good.fetch_add(1, Ordering::Relaxed);
                    } else {
                        bad.push(answer);
                        connection = self.client.connect();
                    }
                }
                bad
            };
            let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
            {
                let _over = Over(&over);
                until();
            }
            callers.into_iter().flat_map(|it| it.join().expect("it does not panic")).collect()
        });
        (bad, good.into_inner())
    }
}

fn bare(url: &str) -> String {
    url.replace("http://", "")
}

/// Returns a loopback address whose ports nobody else uses: connections from this machine come from
/// 127.0.0.1, so none of them takes a port there.
fn own_host() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{count}", 1 + process / 250 % 250, process % 250)
}

fn server(workers: usize) -> Server {
    with_agent(&format!("workers = {workers}")).start()
}

/// How many calls of this server had to wait for a worker.
fn waited(server: &Server) -> f64 {
    let bucket = |le: &str| server.metric(&format!("httpipe_queue_seconds_bucket{{le=\"{le}\"}}"));
    bucket("+Inf") - bucket("0.005")
}

#[test]
fn no_server_gets_more_calls_than_its_workers_take() {
    let _alone = whole_machine();
    let servers = [1, 2, 3].map(server).into();
    let Some(balancer) = Balancer::start(servers, &[]) else { return };
    for (place, slots) in ["1", "2", "3"].into_iter().enumerate() {
        balancer.wait_until("it knows the slots", |it| it.says(place, "slim") == slots);
    }
    let (bad, good) = balancer.under_load(24, "sleep 20 a", || {
        pause(Duration::from_secs(2), "callers that fill all servers");
    });
    assert!(bad.is_empty(), "{bad:?}");
    assert!(good > 100, "{good}");
    for (place, server) in balancer.servers.iter().enumerate() {
        let most: usize = balancer.says(place, "smax").parse().expect("a number");
        assert!(most <= place + 1, "{most} at once for {} workers", place + 1);
        assert!(server.metric("httpipe_calls_total") >= 20.0, "it has its part");
        // A call may come a moment before the worker is told to be free.
        assert!(waited(server) * 20.0 <= good as f64, "{} of {good} waited", waited(server));
    }
}

#[test]
fn a_server_that_drains_gets_nothing_new_and_finishes_what_it_has() {
    let servers = [1, 1].map(server).into();
    let Some(mut balancer) = Balancer::start(servers, &[]) else { return };
    let long = balancer.client.post_later("/", "sleep 3000 long");
    let is_busy = |it: &Server| it.metric("httpipe_workers{state=\"busy\"}") == 1.0;
    balancer.wait_until("one of them has it", |it| it.servers.iter().any(is_busy));
    let place = balancer.servers.iter().position(is_busy).expect("one is busy");
    balancer.servers[place].signal("TERM");
    balancer.wait_until("HAProxy drains it", |it| it.says(place, "status").starts_with("DRAIN"));
    let calls = |it: &Balancer| it.says(place, "stot");
    let before = calls(&balancer);
    for _ in 0..10 {
        assert_eq!(balancer.client.post("/", "a").status, 200);
    }
    assert_eq!(calls(&balancer), before);
    assert_eq!(long.answer().body, "sleep 3000 long");
    assert_eq!(balancer.servers[place].exit_code(), 0);
}

#[test]
fn a_pool_that_cannot_start_is_drained_and_comes_back() {
    let keys = "workers = 1\nprobe = { send = \"1\" }";
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let fragile = with_agent(keys)
        .worker(&format!("sh -c 'test -e broken && exit 1; exec {binary} demo-worker'"))
        .start();
    let servers = vec![server(1), fragile];
    let Some(balancer) = Balancer::start(servers, &[]) else { return };
    let fragile = &balancer.servers[1];
    fragile.put("broken");
    let worker = fragile.workers()[0];
    fragile.signal_worker(worker, "KILL");
    balancer.wait_until("nothing is sent there", |it| !it.says(1, "status").starts_with("UP"));
    for _ in 0..5 {
        assert_eq!(balancer.client.post("/", "a").status, 200);
    }
    std::fs::remove_file(fragile.dir().join("broken")).expect("it is there");
    balancer.wait_until("it is used again", |it| it.is_up(1));
}

/// The others are full, so a call that could not be sent to the dead one must wait for them, and not be
/// tried there again and again.
#[test]
fn a_server_that_died_is_left_and_calls_go_elsewhere() {
    let servers = [1, 1].map(server).into();
    let Some(mut balancer) = Balancer::start(servers, &[]) else { return };
    balancer.servers[1].signal("KILL");
    balancer.servers[1].exit_code();
    let (bad, good) = balancer.under_load(6, "sleep 10 a", || {
        balancer.wait_until("HAProxy knows it", |it| it.says(1, "status").starts_with("DOWN"));
        pause(Duration::from_millis(300), "callers that fill the other one");
    });
    assert!(bad.is_empty(), "{bad:?}");
    assert!(good > 10, "{good}");
}

#[test]
fn a_call_that_a_dead_server_had_is_told_so_and_never_runs_twice() {
    let plan = || with_agent("workers = 1").worker("demo-worker --journal seen");
    let servers = vec![plan().start(), plan().start()];
    let Some(mut balancer) = Balancer::start(servers, &[]) else { return };
    let lost = balancer.client.post_later("/", "sleep 60000 lost");
    let has_it = |it: &Server| it.seen().contains(&"sleep 60000 lost".to_owned());
    balancer.wait_until("one of them has it", |it| it.servers.iter().any(has_it));
    // HAProxy's socket is in the directory of the first one, which stays when that is killed.
    let place = balancer.servers.iter().position(has_it).expect("one has it");
    balancer.servers[place].signal("KILL");
    balancer.servers[place].exit_code();
    assert_eq!(lost.answer().status, 502);
    assert_eq!(balancer.client.post("/", "next").status, 200);
    assert!(!has_it(&balancer.servers[1 - place]));
}

#[test]
fn balancers_that_share_a_server_get_their_part() {
    let servers = vec![server(5), server(1)];
    let Some(balancer) = Balancer::start(servers, &[("share=1", "share=2")]) else { return };
    balancer.wait_until("it knows its part", |it| it.says(0, "slim") == "2");
    assert_eq!(balancer.says(1, "slim"), "1", "0 would be no limit");
}

#[test]
fn callers_who_wait_too_long_are_told_when_to_come_again() {
    let servers = vec![server(1)];
    let changes = [("timeout queue 10s", "timeout queue 400ms")];
    let Some(balancer) = Balancer::start(servers, &changes) else { return };
    let running = balancer.client.post_later("/", "sleep 3000 long");
    balancer.wait_until("the worker is busy", |it| {
        it.servers[0].metric("httpipe_workers{state=\"busy\"}") == 1.0
    });
    let begun = Stopwatch::start();
    let refused = balancer.client.post("/", "b");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert!(begun.took().is_below(Duration::from_millis(2_500)), "{:?}", begun.took());
    assert_eq!(balancer.servers[0].metric("httpipe_queue_length"), 0.0, "it never came here");
    assert_eq!(running.answer().status, 200);
}

#[test]
fn servers_that_stop_one_after_the_other_under_load_lose_no_call() {
    let _alone = whole_machine();
    let hosts: Vec<String> = (0..3).map(|_| own_host()).collect();
    let start = |place: usize| plan_at(&hosts[place]).start();
    let Some(mut balancer) = Balancer::start((0..3).map(start).collect(), &[]) else { return };
    for place in [1, 2] {
        let mut leaving = balancer.servers.remove(place);
        let (bad, good) = balancer.under_load(12, "sleep 10 a", || {
            pause(Duration::from_millis(500), "callers that use all servers");
            leaving.signal("TERM");
            assert_eq!(leaving.exit_code(), 0);
        });
        assert!(bad.is_empty(), "{bad:?}");
        assert!(good > 50, "{good}");
        drop(leaving);
        balancer.servers.insert(place, start(place));
        balancer.wait_until("HAProxy uses the new one", |it| it.is_up(place));
    }
}

fn plan_at(host: &str) -> Plan {
    let top = format!("listen = \"{host}:3000\"\nadmin = \"{host}:3001\"");
    Server::with("workers = 2").top(&top).top(&format!("agent = \"{host}:3002\""))
}

/// So `check` must stand beside `agent-check`, and the agent must stay where it was.
#[test]
fn the_last_word_of_a_dead_agent_stays() {
    let host = own_host();
    let servers = vec![server(1), plan_at(&host).start()];
    let Some(mut balancer) = Balancer::start(servers, &[]) else { return };
    balancer.wait_until("it knows the slots", |it| it.says(1, "slim") == "2");
    let mut dead = balancer.servers.remove(1);
    dead.signal("KILL");
    dead.exit_code();
    drop(dead);
    balancer.servers[0]
        .wait_until("it is noticed", |_| balancer.says(1, "status").starts_with("DOWN"));
    let top = format!("listen = \"{host}:3000\"\nadmin = \"{host}:3001\"");
    balancer.servers.insert(1, Server::with("workers = 4").top(&top).start());
    balancer.wait_until("it is up again", |it| it.is_up(1));
    assert_eq!(balancer.says(1, "slim"), "2");
}

/// Runs the servers, HAProxy and the caller of that chapter of `docs/scale.md`.
#[test]
fn the_commands_of_the_guide_serve() {
    let guide = include_str!("../../docs/scale.md");
    let (_, chapter) = guide.split_once("## Three servers behind HAProxy").expect("a chapter");
    let (chapter, _) = chapter.split_once("\n## ").expect("the next one");
    let lines = || chapter.lines();
    let ports = |line: &str| -> Vec<String> {
        let words = line.split(' ');
        words.filter(|word| word.bytes().all(|it| it.is_ascii_digit())).map(str::to_owned).collect()
    };
    let run = lines().filter_map(|line| line.strip_prefix("httpipe run "));
    let example = include_str!("../../examples/haproxy/haproxy.cfg");
    let servers: Vec<Server> = run
        .map(|line| {
            assert!(example.contains(&format!("httpipe run {line}")), "not in the example: {line}");
            let [listen, admin, agent] = &ports(line)[..] else { panic!("three ports: {line}") };
            let place = EXAMPLE.iter().find(|it| it.1.ends_with(&format!(":{listen}")));
            let place = place.expect("HAProxy knows the port");
            assert_eq!(
                [place.2.to_string(), place.3.to_string()],
                [admin.as_str(), agent.as_str()]
            );
            let words = line.split(' ').map(|word| {
                if word == listen || word == admin || word == agent { "0" } else { word }
            });
            let words: Vec<&str> = words.collect();
            Server::args(&words).in_project().start()
        })
        .collect();
    assert_eq!(servers.len(), 3);
    assert!(lines().any(|line| line == "haproxy -db -f examples/haproxy/haproxy.cfg"));
    let Some(mut balancer) = Balancer::start(servers, &[]) else { return };
    let asked = lines().find(|line| line.starts_with("curl ")).expect("a caller");
    let (command, wanted) = asked.split_once(" # ").expect("an answer");
    let command = command.replace("http://127.0.0.1:8080", &balancer.url);
    let ask = || shell(&format!("{command} --silent --show-error"));
    for _ in 0..3 {
        assert_eq!(ask(), (0, wanted.to_owned()));
    }
    balancer.servers[1].signal("KILL");
    balancer.servers[1].exit_code();
    for _ in 0..3 {
        assert_eq!(ask(), (0, wanted.to_owned()));
    }
}
