//! From a request to a question: which route, which values, what is sent.

use bytes::Bytes;
use http::HeaderMap;
use httpipe::testing::config::{Config, RouteAction};
use httpipe::testing::front::parameters::{Body, Sources};
use httpipe::testing::front::question::{Material, ask};
use httpipe::testing::front::routes::{Found, RouteTable};

use crate::{Bench, config};

pub(crate) fn all(bench: &Bench) {
    for count in [1, 10, 1000] {
        last_of(bench, count);
    }
    questions(bench);
}

fn last_of(bench: &Bench, count: usize) {
    let route = |number| {
        format!(
            "[[route]]\nmatch = \"GET /a{number}/{{id}}/fib?num={{num:int}}\"\npool = \"main\"\nsend = \"{{num}}\"\n"
        )
    };
    let routes: String = (0..count).map(route).collect();
    let table = RouteTable::new(&config("", &routes).routes);
    let path = format!("/a{}/7/fib", count - 1);
    bench.run(&format!("mapping: the last of {count} routes"), 1, || {
        let found = table.find("GET", &path);
        assert!(matches!(found, Found::Route(_)), "it has a route");
    });
}

fn questions(bench: &Bench) {
    let fib = "[[route]]\nmatch = \"GET /fib?num={num:int}\"\npool = \"main\"\n";
    question(bench, "one int of the query", fib, "num=10", Body::Nothing, b"");
    let three = "[[route]]\nmatch = \"GET /fib?a={a}&b={b:float}&c={c:bool}\"\n\
                 pool = \"main\"\nsend = \"{a} {b} {c}\"\n";
    question(bench, "three of the query", three, "c=true&b=1.5&a=x%20y", Body::Nothing, b"");
    let json = "[[route]]\nmatch = \"POST /fib?num={num:int}\"\npool = \"main\"\nsend = \"json\"\n";
    let body = br#"{"num": 10, "other": [1, 2, 3]}"#;
    question(bench, "an int of a JSON body, sent as JSON", json, "", Body::Json(body), body);
    let whole = "[[route]]\nmatch = \"POST /fib\"\npool = \"main\"\nsend = \"{body}\"\n";
    let long = vec![b'7'; 1 << 16];
    question(bench, "a body of 64 KiB as it is", whole, "", Body::Other, &long);
    let undeclared = "other=1&".repeat(100) + "num=10";
    question(bench, "one int among 100 others", fib, &undeclared, Body::Nothing, b"");
}

fn question(bench: &Bench, name: &str, route: &str, query: &str, body: Body<'_>, bytes: &[u8]) {
    let config: Config = config("", route);
    let route = &config.routes[0];
    let RouteAction::Call(call) = &route.action else { unreachable!("it has a pool") };
    let (headers, whole) = (HeaderMap::new(), Bytes::copy_from_slice(bytes));
    let sources = Sources { path: "/fib", query, body };
    let material = Material {
        route,
        method: &route.method,
        sources,
        headers: &headers,
        body: &whole,
        caller: None,
    };
    bench.run(&format!("mapping: {name}"), 1, || {
        ask(call, &config.pools[0].program.wire, material, "").expect("the request is right")
    });
}
