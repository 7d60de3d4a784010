//! Routes that take every method, and configurations that say what cannot be.

use crate::support::Server;

#[test]
fn a_route_of_any_method_takes_them_all() {
    let server =
        Server::with("workers = 1").route("match = \"ANY /a\"\nsend = \"{method}\"").start();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let answer = server.client().request(method, "/a", &[], "");
        assert_eq!((answer.status, &*answer.body), (200, method));
    }
    assert_eq!(server.client().request("TRACE", "/a", &[], "").status, 405);
    let answer = server.client().request("OPTIONS", "/a", &[], "");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

#[test]
fn what_is_none_is_said_with_what_to_write() {
    for (pool, route, hint) in [
        ("", "match = \"POTS /a\"", "did you mean POST?"),
        ("", "match = \"* /a\"", "ANY"),
        ("", "match = \"POST /a\"\nsend = \"{bdoy}\"", "did you mean `{body}`?"),
        ("", "match = \"GET /a?x={x}\"\nsend = \"{z}\"", "`{z}` is no slot"),
        ("reply = \"text\"", "match = \"POST /a\"", "leave `reply` out"),
        ("reply = \"xml\"", "match = \"POST /a\"", "application/xml"),
    ] {
        let ended = Server::with(pool).route(route).refused();
        assert!(ended.stderr.contains(hint), "{pool} {route}: {}", ended.stderr);
    }
}
