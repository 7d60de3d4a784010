//! Partitions between servers and NATS, in network namespaces: NATS lives in one of its own, with a way to
//! each of two servers that is cut in either direction alone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::spread::wait_for_slots;
use crate::support::nats::Nats;
use crate::support::{Plan, Server, passed_over, pause, shell, skipped};

/// Which packets do not arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Those to NATS.
    There,
    /// Those from NATS.
    Back,
    Both,
}

/// A network namespace with two ways to it. Dropping it removes them.
struct Network {
    name: String,
    number: u32,
}

impl Drop for Network {
    fn drop(&mut self) {
        let Self { name, .. } = self;
        shell(&format!(
            "( ip netns del {name}; ip link del {name}a; ip link del {name}b ) 2>/dev/null"
        ));
    }
}

impl Network {
    /// `None`: none can be made, and the test is skipped.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Other runs of the tests may be under way.
        let number = (std::process::id() * 8 + count) % 16_000;
        let name = format!("hpt{number}");
        let (high, low) = (number / 64, number % 64 * 4);
        let way = |side: char, net: u32| {
            format!(
                "ip link add {name}{side} type veth peer name far{side} netns {name} && \
                 ip addr add 10.{net}.{high}.{}/30 dev {name}{side} && ip link set {name}{side} up && \
                 ip -n {name} addr add 10.{net}.{high}.{}/30 dev far{side} && \
                 ip -n {name} link set far{side} up",
                low + 1,
                low + 2
            )
        };
        let make = format!(
            "ip netns add {name} && ip -n {name} link set lo up && {} && {}",
            way('a', 213),
            way('b', 214)
        );
        if shell("ip -V >/dev/null").0 != 0 {
            skipped("`ip` is not installed", "`apt-get install iproute2` does it");
            return None;
        }
        // A part of it may have been made.
        let network = Self { name, number };
        let (code, said) = shell(&format!("( {make} ) 2>&1"));
        if code != 0 {
            passed_over(
                &format!("no network namespace can be made ({})", said.trim()),
                "it takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
            );
        }
        (code == 0).then_some(network)
    }
}

/// A NATS server in a network of its own.
struct Far {
    // Before its network, which is dropped after it.
    nats: Nats,
    network: Network,
}

impl Far {
    /// `None`: there can be none, and the test is skipped.
    fn start() -> Option<Self> {
        let network = Network::new()?;
        let nats = Nats::start_under(&format!("ip netns exec {}", network.name))?;
        Some(Self { nats, network })
    }

    /// The address of NATS, and ours, on the way of this number.
    fn ends(&self, way: u32) -> [String; 2] {
        let (high, low) = (self.network.number / 64, self.network.number % 64 * 4);
        [2, 1].map(|end| format!("10.{}.{high}.{}", 213 + way, low + end))
    }

    /// A plan of a server that comes to NATS by this way.
    fn plan(&self, way: u32, keys: &str) -> Plan {
        let top =
            format!("[spread]\nnats = \"nats://{}:{}\"\n", self.ends(way)[0], self.nats.port());
        Server::with(&format!("spread = true\n{keys}")).top(&top)
    }

    fn host(&self, way: u32, keys: &str) -> Server {
        let plan = self.plan(way, keys).worker("demo-worker --journal seen");
        let host = plan.option("--listen").option("off").start_host();
        host.wait_until_ready();
        host
    }

    fn route(&self, way: u32, cut: Cut, verb: &str) {
        let [there, back] = self.ends(way);
        if cut != Cut::Back {
            shell(&format!("ip route {verb} blackhole {there}/32"));
        }
        if cut != Cut::There {
            shell(&format!("ip -n {} route {verb} blackhole {back}/32", self.network.name));
        }
    }

    fn cut(&self, way: u32, cut: Cut) {
        self.route(way, cut, "add");
    }

    fn heal(&self, way: u32, cut: Cut) {
        self.route(way, cut, "del");
    }
}

const FRONT: u32 = 0;
const HOST: u32 = 1;

#[test]
fn a_short_cut_costs_nothing_on_either_way_in_either_direction() {
    for (way, cut) in
        [(FRONT, Cut::There), (FRONT, Cut::Back), (HOST, Cut::There), (HOST, Cut::Both)]
    {
        let Some(far) = Far::start() else { return };
        let front = far.plan(FRONT, "workers = 0\nretries = 0").start_unready();
        let host = far.host(HOST, "workers = 1");
        wait_for_slots(&front, 1);
        let pending = front.client().post_later("/", "sleep 700 a");
        host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
        far.cut(way, cut);
        pause(Duration::from_millis(900), "the answer comes while the way is cut");
        far.heal(way, cut);
        assert_eq!(pending.answer().body, "sleep 700 a", "{way} {cut:?}");
        assert_eq!(host.seen(), ["sleep 700 a"], "{way} {cut:?}");
    }
}

#[test]
fn a_host_that_is_cut_off_loses_its_calls_after_three_seconds_and_comes_back() {
    for cut in [Cut::There, Cut::Back, Cut::Both] {
        let Some(far) = Far::start() else { return };
        let front = far.plan(FRONT, "workers = 0\nretries = 1\ntimeout = \"20s\"").start_unready();
        let lost = far.host(HOST, "workers = 2\ntimeout = \"20s\"");
        wait_for_slots(&front, 2);
        let client = front.client();
        let once = client.post_later("/", "sleep 9000 once");
        let again = client.get_later("/?input=sleep+9000+again");
        lost.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 2.0);
        let near = far.host(FRONT, "workers = 2\ntimeout = \"20s\"");
        wait_for_slots(&front, 4);
        far.cut(HOST, cut);
        let failed = once.answer();
        assert_eq!((failed.status, failed.code().as_str()), (502, "worker_lost"), "{cut:?}");
        near.wait_until("it has the call that may run twice", |it| {
            it.seen() == ["sleep 9000 again"]
        });
        wait_for_slots(&front, 2);
        far.heal(HOST, cut);
        wait_for_slots(&front, 4);
        assert_eq!(again.answer().body, "sleep 9000 again");
        let mut seen = lost.seen();
        seen.sort();
        assert_eq!(seen, ["sleep 9000 again", "sleep 9000 once"], "{cut:?}: each ran there once");
        // What the host has sent meanwhile reaches nobody.
        assert_eq!(client.get("/?input=b").body, "b");
    }
}

#[test]
fn a_front_end_that_is_cut_off_serves_with_its_own_workers_and_comes_back() {
    let Some(far) = Far::start() else { return };
    let front = far.plan(FRONT, "workers = 1\ntimeout = \"5s\"").start();
    let host = far.host(HOST, "workers = 1\ntimeout = \"5s\"");
    front.wait_until("it sees the host", |it| it.status()["pools"][0]["away"]["slots"] == 1);
    let own = front.client().post_later("/", "sleep 3000 own");
    front.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    let away = front.client().post_later("/", "sleep 4500 away");
    host.wait_until("it has the call", |it| it.seen() == ["sleep 4500 away"]);
    far.cut(FRONT, Cut::Both);
    front.wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
    assert_eq!(own.answer().body, "sleep 3000 own");
    assert_eq!(front.answers("b").body, "b", "its own worker serves");
    // It was cut off itself, which says nothing of the host: the call ends by its time.
    let late = away.answer();
    assert_eq!((late.status, late.code().as_str()), (504, "timeout"));
    far.heal(FRONT, Cut::Both);
    front.wait_until("it is back", |it| it.status()["spread"]["connected"] == true);
    front.wait_until("it sees the host", |it| it.status()["pools"][0]["away"]["slots"] == 1);
    let own = front.client().post_later("/", "sleep 3000 own");
    front.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    assert_eq!(front.answers("c").body, "c", "the host serves again");
    assert_eq!(own.answer().body, "sleep 3000 own");
    assert_eq!(host.seen(), ["sleep 4500 away", "c"]);
}
