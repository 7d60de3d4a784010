//! Checks what the schema cannot: values that must not be zero, keys that need or exclude each
//! other. Makes the [`Config`] of a file that passes.
//!
//! Pure. All problems are collected; the first never ends the check. Programs and directories
//! were looked up before, in `launch`.

mod advice;
mod agent;
mod callers;
mod correlation;
mod cors;
mod derived;
mod docs;
mod function;
mod group;
mod hosts;
mod items;
mod jobs;
mod kept;
mod parameter;
mod pool;
mod progress;
mod python;
mod route;
mod shadows;
mod shared;
mod spread;
mod stream;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

pub use callers::{ANYONE, WAYS_OUT};
pub use pool::Host;

use super::file::{File, LimitsFile, ListenFile, SecretFile};
use super::findings::Findings;
use super::problem::{Place, Problem};
use super::server::{
    AdminSettings, CacheSettings, Config, LimitSettings, ListenAddress, LogSettings,
    PerAddressSettings,
};
use super::stamp::Stamps;
use super::tree::{KeyPath, Places};

/// Checks a file whose shape is right.
///
/// # Errors
///
/// All problems, including those that were found before (`problems`). If there were any, there
/// is no configuration, but the rest of the file is still checked.
pub fn check(
    file: &File,
    places: &Places,
    host: &Host,
    problems: Vec<Problem>,
) -> Result<Config, Vec<Problem>> {
    let mut findings = Findings::new(places, problems);
    let listen = listen(&mut findings, file);
    let admin = admin(&mut findings, file, &listen);
    let callers = callers::callers(&mut findings, file, &listen, host.keys.as_ref());
    let agent =
        agent::agent(&mut findings, file, [&listen, admin.address.as_slice()], &callers.trust);
    let hosts = hosts::hosts(&mut findings, file.hosts.as_ref());
    let cors_path = KeyPath::of(&["cors"]);
    let cors = file.cors.as_ref().and_then(|it| cors::cors(&mut findings, &cors_path, it));
    let limits = limits(&mut findings, &file.limits);
    let mut pool_names: Vec<&String> = file.pool.keys().collect();
    pool_names.sort_by_key(|name| places.position(&KeyPath::of(&["pool", name.as_str()])));
    let pools = pool::pools(&mut findings, file, &pool_names, host);
    let routes = route::routes(&mut findings, file, cors.as_ref(), &pool_names, &pools);
    let shared = shared::shared(&mut findings, file);
    let jobs = jobs::jobs(&mut findings, file);
    jobs::reserve(&mut findings, file, &routes);
    callers::keep_keys(&mut findings, &callers, &routes);
    let docs = docs::docs(&mut findings, file.docs.as_deref(), &routes);
    if file.pool.is_empty() && file.route.is_empty() && findings.problems.is_empty() {
        let problem = Problem::new(Place::Nowhere, "there is nothing to serve");
        findings.problems.push(problem.hint("add a pool: `[pool.NAME]` with a `command`"));
    }
    let pools: Option<Vec<_>> = pools.into_iter().map(|pool| pool.map(Arc::new)).collect();
    match pools {
        Some(pools) if findings.problems.is_empty() => Ok(advised(Config {
            files: Stamps::default(),
            warnings: Vec::new(),
            listen,
            admin,
            agent,
            tls: host.tls.clone(),
            callers,
            proxy_protocol: file.proxy_protocol,
            hosts: Arc::new(hosts),
            cors,
            docs,
            threads: file.threads,
            drain: file.drain.0,
            log: LogSettings {
                format: file.log.format,
                level: file.log.level,
                access: host.access.clone(),
            },
            limits,
            pools,
            routes,
            cache: CacheSettings { memory: file.cache.memory.0, shared },
            jobs,
            spread: host.spread.clone(),
        })),
        _ => Err(findings.problems),
    }
}

/// Adds what is unwise to a configuration.
fn advised(config: Config) -> Config {
    Config { warnings: advice::advice(&config), ..config }
}

fn listen(findings: &mut Findings<'_>, file: &File) -> Vec<ListenAddress> {
    let path = KeyPath::of(&["listen"]);
    if spread::is_off(&file.listen) {
        spread::may_be_off(findings, &path, file);
        return Vec::new();
    }
    let texts: Vec<(KeyPath, String)> = match &file.listen {
        ListenFile::Port(port) => vec![(path, port.to_string())],
        ListenFile::One(text) => vec![(path, text.clone())],
        ListenFile::Many(texts) => {
            let each = texts.iter().enumerate();
            each.map(|(index, text)| (path.index(index), text.to_string())).collect()
        }
    };
    let mut addresses = Vec::new();
    for (path, text) in texts {
        match address(&text) {
            Ok(address) if addresses.contains(&address) && !takes_any_port(&address) => {
                findings.refuse(&path, format!("`{text}` is listed twice"), "leave one out");
            }
            Ok(address) => addresses.push(address),
            Err((message, hint)) => findings.refuse(&path, message, hint),
        }
    }
    addresses
}

fn admin(findings: &mut Findings<'_>, file: &File, listen: &[ListenAddress]) -> AdminSettings {
    let path = KeyPath::of(&["admin"]);
    let text = file.admin.as_ref().map_or("127.0.0.1:3001".to_owned(), ToString::to_string);
    let explicit = file.admin.is_some();
    let token = match &file.admin_token {
        Some(SecretFile::Text(token)) => Some(token.clone()),
        Some(SecretFile::Elsewhere(_)) | None => None,
    };
    if text == "off" {
        return AdminSettings { address: None, explicit, token };
    }
    let address = match address(&text) {
        Ok(address) => Some(address),
        Err((message, hint)) => {
            findings.refuse(&path, message, format!("{hint}, or \"off\""));
            None
        }
    };
    let is_open = match &address {
        Some(ListenAddress::Tcp(address)) => !address.ip().is_loopback(),
        Some(ListenAddress::Unix(_)) | None => false,
    };
    if is_open && token.is_none() && !findings.was_refused(&KeyPath::of(&["admin_token"])) {
        let message = format!("anybody could reach `admin` at {text}");
        findings.refuse(&path, message, "set `admin_token`, or listen on 127.0.0.1");
    }
    let is_shared = |address: &ListenAddress| !takes_any_port(address) && listen.contains(address);
    if explicit && address.as_ref().is_some_and(is_shared) {
        findings.refuse(&path, format!("`listen` has {text} already"), "give it another port");
    }
    AdminSettings { address, explicit, token }
}

fn takes_any_port(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(address) if address.port() == 0)
}

/// Reads an address, or says what is wrong and what to write instead.
fn address(text: &str) -> Result<ListenAddress, (String, String)> {
    if let Some(path) = text.strip_prefix("unix:") {
        // The kernel's own limit for the path of a socket.
        return match path.len() {
            0 => Err(("a path is missing after `unix:`".to_owned(), "write unix:/path".to_owned())),
            // The kernel would take the text before it for the whole path.
            _ if path.contains('\0') => Err((
                "the path of a socket cannot hold a NUL byte".to_owned(),
                "leave it out".to_owned(),
            )),
            1..=107 => Ok(ListenAddress::Unix(PathBuf::from(path))),
            _ => {
                let message = "the path of a socket has at most 107 bytes".to_owned();
                Err((message, "choose a shorter one".to_owned()))
            }
        };
    }
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Tcp(address));
    }
    // A port alone is for this machine only: everybody is never let in by what was left out.
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let hint = match (host, port.parse::<u16>()) {
        ("" | "localhost", Ok(port)) if is_number => {
            return Ok(ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        ("*", Ok(port)) => format!("write 0.0.0.0:{port}, which everybody can reach"),
        (_, Err(_)) if is_number => "write a port of at most 65535".to_owned(),
        _ => "write an IP address and a port, as in 127.0.0.1:3000, or unix:/path".to_owned(),
    };
    Err((format!("`{text}` is not an address to listen on"), hint))
}

fn limits(findings: &mut Findings<'_>, limits: &LimitsFile) -> LimitSettings {
    let path = KeyPath::of(&["limits"]);
    let header = findings.positive_size(&path.key("header"), limits.header);
    // The whole head must fit into hyper's buffer, whose least size this is.
    if (1..8192).contains(&header.0) {
        findings.refuse(
            &path.key("header"),
            format!("`header` cannot be {header}"),
            "write 8KiB or more",
        );
    }
    let memory = findings.positive_size(&path.key("memory"), limits.memory);
    let body = limits.body.0;
    if memory < body {
        let message = format!("`memory` of {memory} has no room for a `body` of {body}");
        findings.refuse(&path.key("memory"), message, format!("write {body} or more"));
    }
    LimitSettings {
        header,
        body,
        memory,
        header_timeout: findings.positive_time(&path.key("header_timeout"), limits.header_timeout),
        body_timeout: findings.positive_time(&path.key("body_timeout"), limits.body_timeout),
        write_timeout: findings.positive_time(&path.key("write_timeout"), limits.write_timeout),
        idle_timeout: findings.positive_time(&path.key("idle_timeout"), limits.idle_timeout),
        connections: limits.connections,
        per_address: PerAddressSettings::new(limits.per_address),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::tree::Tree;
    use crate::config::{AccessSettings, Environment, Fence, LaunchSettings};
    use crate::config::{InFlight, RouteAction, SendShape, schema, shape};

    impl Host {
        /// A machine with one processor, and nothing in it but what starts these pools.
        pub fn for_tests(launches: BTreeMap<String, LaunchSettings>) -> Self {
            Self {
                processors: 1,
                launches,
                files: BTreeMap::new(),
                access: AccessSettings::Off,
                pythons: BTreeMap::new(),
                tells_details: false,
                keys: None,
                tls: None,
                spread: None,
            }
        }
    }

    fn checked(text: &str) -> Result<Config, Vec<Problem>> {
        let (mut tree, _) = Tree::parse(text).expect("valid TOML");
        let problems = shape::check(&mut tree, &schema::schema());
        let file: File = tree.values.try_into().expect("its shape is right");
        let launch = LaunchSettings {
            program: PathBuf::from("/bin/cat"),
            name: "cat".to_owned(),
            arguments: Vec::new(),
            dir: PathBuf::from("/"),
            env: Environment::default(),
            tty: false,
            watch: Vec::new(),
            files: None,
            fence: Fence::default(),
        };
        let launches = file.pool.keys().map(|name| (name.clone(), launch.clone())).collect();
        let host = Host { processors: 3, ..Host::for_tests(launches) };
        check(&file, &tree.places, &host, problems)
    }

    /// What is wrong with a file of one pool `a` whose keys come first.
    fn said(pool: &str, rest: &str) -> String {
        let text = format!("[pool.a]\ncommand = [\"cat\"]\n{pool}\n{rest}");
        let problems = checked(&text).expect_err(&text);
        problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn groups_are_refused_where_none_could_be_asked() {
        for (keys, message) in [
            ("matching = \"tag\"", "`batch` needs `order`"),
            ("stream = \"until:END\"", "`batch` cannot be used with `stream`"),
            ("in_flight = 3", "`in_flight` cannot be used with `batch`"),
            (
                "in_flight = \"auto\"\nreply = \"{input}|{r}\"",
                "`in_flight` cannot be used with `batch`",
            ),
            ("recycle = { calls = 1 }", "`recycle.calls = 1`: each worker gets one call"),
            ("queue = { length = 0 }", "no effect with `queue.length = 0`"),
            ("framing = \"lines:2\"", "`batch` cannot be used with `framing = \"lines:2\"`"),
            ("framing = \"eof\"", "`batch` cannot be used with `framing = \"eof\"`"),
            (
                "framing = { send = \"line\", reply = \"block\" }",
                "`batch` cannot be used with questions as `line` and answers as `block`",
            ),
        ] {
            let said = said(&format!("batch = {{}}\n{keys}"), "");
            assert!(said.contains(message), "{keys}: {said}");
        }
        let said = |batch: &str| said(&format!("batch = {batch}"), "");
        assert!(said("{ wait = \"501ms\" }").contains("more than a tenth of `queue.wait`"));
        assert!(said("{ most = 0 }").contains("most"));
        assert!(said("{ most = 1001 }").contains("most"));
    }

    #[test]
    fn a_worker_of_groups_has_one_at_a_time_also_where_answers_repeat_their_questions() {
        let text =
            "[pool.a]\ncommand = [\"cat\"]\nreply = \"{input}|{r}\"\nbatch = { wait = \"500ms\" }";
        let pool = &checked(text).expect("valid").pools[0];
        assert_eq!(pool.rules.in_flight, super::super::pool::InFlight::Fixed(1));
        assert_eq!(pool.rules.group.expect("a group").most, 16);
        assert!(!pool.program.wire.takes_turns);
    }

    #[test]
    fn items_are_refused_where_none_could_be_asked() {
        let said = |pool: &str, text: &str, keys: &str| {
            said(pool, &format!("[[route]]\nmatch = \"{text}\"\nitems = 5\n{keys}"))
        };
        assert!(said("", "GET /?n={n}", "").contains("a GET has none"));
        assert!(said("", "POST /{n}", "").contains("nothing of an item"));
        assert!(said("", "POST /", "text = \"x\"").contains("`items` has no effect"));
        assert!(said("stream = \"until:.\"", "POST /", "").contains("come in parts"));
        assert!(said("matching = \"json-id\"", "POST /", "").contains("batches of its own"));
        for pool in ["workers = 1", "share = 0", "workers = 1\nshare = 0.9"] {
            assert!(said(pool, "POST /", "").contains("no item could ever run"), "{pool}");
        }
        assert!(said("share = 1.5", "POST /", "").contains("a share of 1.5"));
        let text = "[pool.a]\ncommand = [\"cat\"]\nworkers = 1\nshare = 1\n\
            [[route]]\nmatch = \"POST /\"\nitems = 5";
        assert_eq!(checked(text).expect("valid").pools[0].background_most(), 1);
    }

    #[test]
    fn what_is_absent_is_as_the_reference_says() {
        let text = "[pool.b]\ncommand = [\"cat\"]\n[pool.a]\ncommand = [\"cat\"]\n\
            reply = \"{input}|{result}\"\n[[route]]\nmatch = \"GET /?x={x}\"\npool = \"a\"\n";
        let config = checked(text).expect("valid");
        let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["b", "a"], "pools are in file order");
        let (plain, echoing) = (&config.pools[0], &config.pools[1]);
        assert_eq!((plain.rules.workers_least, plain.rules.workers_most), (3, 3));
        assert_eq!(
            (plain.rules.in_flight, echoing.rules.in_flight),
            (InFlight::Fixed(1), InFlight::Auto)
        );
        let wire = &plain.program.wire;
        assert_eq!((plain.rules.retries, wire.error_status, wire.message_max), (1, 422, 16 << 20));
        assert_eq!(plain.rules.queue.wait, Duration::from_secs(5));
        assert!(!config.admin.explicit);
        let RouteAction::Call(call) = &config.routes[0].action else { panic!("no call") };
        assert_eq!((call.pool, call.idempotent, call.cache), (1, true, None));
        assert!(
            matches!(&call.send, SendShape::Template(template) if template.segments.len() == 1)
        );
    }

    #[test]
    fn a_pool_is_refused_what_cannot_work() {
        let all = [
            "workers = \"0..3\"",
            "workers = 20000",
            "timeout = \"0s\"",
            "slow = \"0s\"",
            "message_max = \"0B\"",
            "queue = { wait = \"0s\", bytes = \"0B\" }",
            "recycle = { age = \"0s\" }",
            "recycle = { age = \"1us\" }",
            "framing = { send = \"line\", reply = \"until:\" }",
            "framing = \"lien\"",
            "matching = \"echo\"\nreply = \"{result}\"",
            "reply = \"{a}{b}\"",
            "reply = \"text\"",
            "reply = \"xml\"",
            "reply = \"JSON\"",
            "error = \"{a:itn}\"",
            "ready = \"[\"",
        ];
        let all = all.map(|pool| said(pool, "")).join("\n");
        insta::assert_snapshot!(all, @r##"
0 workers cannot answer a call
20000 workers are too many
`timeout` cannot be 0
`slow` cannot be 0
`message_max` cannot be 0
`bytes` cannot be 0; `wait` cannot be 0
`age` cannot be 0
`age` cannot be 1us
`until:` is not a framing
`lien` is not a framing
`echo` needs a `reply` that holds `{input}`
`reply` is not a pattern
`text` is not a shape of answers
`xml` is not a shape of answers
`JSON` is not a shape of answers
`error` is not a pattern
`ready` is not a regular expression
"##);
    }

    #[test]
    fn progress_is_refused_where_nothing_would_show_whose_it_is() {
        let good = "progress = \"p|{input}|{percent}|{text}\"";
        let all = [
            "progress = \"p|{input}\"",
            "progress = \"p|{input}|{percent}|{fraction}\"",
            "progress = \"p|{input}|{percent}|{message}\"",
            "progress = \"{percent}{text}\"",
            &format!("framing = \"turn\"\n{good}"),
            &format!("framing = \"eof\"\n{good}"),
            &format!("matching = \"json-id\"\n{good}"),
            "progress = \"json\"\nframing = \"block\"\nbatch = { most = 4 }",
            "progress = \"p|{percent}\"\nreply = \"{input}|{result}\"",
            "progress = \"json\"\nreply = \"{input}|{result}\"",
            "progress = \"json\"\nreply = \"{input}|{result}\"\nmatching = \"echo\"",
        ];
        let all = all.map(|pool| said(pool, "")).join("\n");
        insta::assert_snapshot!(all, @r##"
`progress` does not say how far a call is
`progress` has two numbers: how far the call is must be one
`progress` cannot have a `{message}`
`progress` is not a pattern
all that such a program writes is its answer, so it cannot tell its progress
all that such a program writes is its answer, so it cannot tell its progress
with `json-id` every message is JSON, and so is one of progress
`progress` cannot be used with `batch`: a group is answered at once
nothing would show which call such a message is about
nothing would show which call such a message is about
nothing would show which call such a message is about
"##);
        for pool in [
            good,
            "progress = \"p|{percent}\"",
            "progress = \"json\"",
            "progress = \"{fraction}\"\nmatching = \"tag\"",
            "progress = \"json\"\nmatching = \"json-id\"",
            "progress = \"json\"\nstream = \"turn\"",
        ] {
            assert!(checked(&format!("[pool.a]\ncommand = [\"cat\"]\n{pool}")).is_ok(), "{pool}");
        }
    }

    #[test]
    fn a_route_is_refused_what_cannot_work() {
        let all = [
            "match = \"GET /a/b\"\ntext = \"x\"\npool = \"a\"",
            "match = \"GET /a/b\"\npool = \"c\"",
            "match = \"GET /a/b?x={x}&y={y}\"",
            "match = \"GET /a/b?x={x}\"\nsend = \"{x:int}\"",
            "match = \"POST /a/b\"\nsend = \"{bdoy}\"",
            "match = \"GET /a/b?x={x}\"\nsend = \"{z}\"",
            "match = \"POST /a/b\"\ncache = \"1h\"",
            "match = \"GET /a/b\"\ncache = \"0s\"",
            "match = \"GET /a/b\"\ncache = \"1h\"\nsend = \"http\"",
            "match = \"GET /a/b\"\ncontent_type = \"text\"",
            "match = \"GET /a/b?x={x}\"\nparams.y = { default = 1 }",
            "match = \"GET /a/b?x={x}\"\nparams.x = { min = 1 }",
            "match = \"GET /a/b?x={x}\"\nparams.x = { pattern = \"(\" }",
            "match = \"GET /a/b?x={x}\"\nparams.x = { pattern = \"a+\", default = \"b\" }",
            "match = \"GET /a/b?x={x:int}\"\nparams.x = { min = 0.5 }",
            "match = \"GET /a/b?x={x:bool}\"\nparams.x = { default = \"yes\" }",
            "match = \"GET /a/{x}\"\nparams.x = { default = \"b\" }",
        ];
        let all = all.map(|route| said("", &format!("[[route]]\n{route}"))).join("\n");
        insta::assert_snapshot!(all, @r##"
`pool` has no effect beside `text`, which is a fixed answer
there is no pool `c`
this route has several parameters and no `send`
`send` is not a template
`send` is not a template
`send` is not a template
`cache` would answer a second call without running it
`cache` cannot be 0
`cache` cannot be used with `send = "http"`: no two requests are the same
`text` is not a content type
`match` declares no parameter `y`
`min` has no effect on a parameter of type text
`pattern` is not a regular expression
`default` of `x` must match `^(?:a+)$`
`min` must be a whole number, not 0.5
`default` of `x` must be `true` or `false`
a segment of the path is always there, so its `default` is never taken
"##);
    }

    #[test]
    fn kept_answers_are_asked_for_only_where_they_can_be_told() {
        let said = |pool: &str, keys: &str| {
            said(pool, &format!("[[route]]\nmatch = \"GET /?n={{n}}\"\n{keys}"))
        };
        let send = "send = \"{n} {kept:json}\"";
        let cached = format!("{send}\ncache = \"1h\"");
        assert!(said("", "cache = \"1h\"\nkept = \"1KiB\"").contains("`kept` has no effect"));
        assert!(said("", "text = \"a\"\nkept = \"1KiB\"").contains("`kept` has no effect"));
        assert!(said("", send).contains("this route keeps no answers"));
        assert!(said("", &format!("{cached}\njobs = true")).contains("beside `jobs`"));
        assert!(said("framing = \"until:.\"", &cached).contains("a text ends a message"));
        assert!(said("", &format!("{cached}\nkept = \"17KiB\"")).contains("more than 16 KiB"));
        assert!(said("", &format!("{cached}\nkept = \"0B\"")).contains("`kept` cannot be 0"));
        let callers = "send = \"{caller} {kept:json}\"\ncache = \"1h\"";
        assert!(said("", callers).contains("beside `{caller}`"));
        let twice = "send = \"{kept:json} {n} {kept:json}\"\ncache = \"1h\"";
        assert!(said("", twice).contains("twice"));
        let good = format!(
            "[pool.a]\ncommand = [\"cat\"]\n[[route]]\nmatch = \"GET /?n={{n}}\"\n{cached}"
        );
        let config = checked(&good).expect("valid");
        let RouteAction::Call(call) = &config.routes[0].action else { panic!("a call") };
        assert_eq!(call.kept, Some(16 << 10));
    }

    #[test]
    fn a_nonce_that_ends_answers_must_be_asked_for() {
        let pool = "framing = { send = \"line\", reply = \"until:{nonce}\\n\" }";
        let route = "[[route]]\nmatch = \"POST /\"\n";
        assert!(said(pool, route).contains("does not tell the program"));
        let good = format!(
            "[pool.a]\ncommand = [\"cat\"]\n{pool}\n{route}send = \"{{body}}\\n.print {{nonce}}\""
        );
        assert!(checked(&good).is_ok(), "{good}");
    }

    #[test]
    fn a_nonce_that_ends_answers_needs_their_order() {
        let route = "[[route]]\nmatch = \"POST /\"\nsend = \"{body} {nonce}\"\n";
        for matching in ["tag", "json-id"] {
            let pool = format!(
                "matching = \"{matching}\"\n\
                 framing = {{ send = \"line\", reply = \"until:{{nonce}}\\n\" }}"
            );
            let told = said(&pool, route);
            assert!(told.contains("in the order of the questions"), "{matching}: {told}");
        }
    }
}
