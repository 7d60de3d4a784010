//! Those who look at the server as it runs: `/events`.

use serde_json::Value;

use crate::support::{Connection, Server};

/// Opens `/events` and returns the stream after its head.
fn look(server: &Server) -> Connection {
    let mut stream = server.admin().connect();
    stream.ask("GET", "/events", &[], "");
    let head = stream.head();
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    stream
}

/// Reads the next event: its name and its data.
fn event(stream: &mut Connection) -> (String, Value) {
    let text = stream.chunk().expect("the stream goes on");
    let (name, data) = text.split_once("\ndata: ").expect("a name and data");
    let data = serde_json::from_str(data).expect("the data is JSON");
    (name.trim_start_matches("event: ").to_owned(), data)
}

#[test]
fn a_viewer_is_greeted_and_told_each_second() {
    let server = Server::with("workers = 2").start();
    let mut stream = look(&server);
    let (name, hello) = event(&mut stream);
    assert_eq!((&*name, &hello["version"]), ("hello", &Value::from(2)));
    assert_eq!(hello["pools"][0]["about"]["most"], 2);
    for _ in 0..2 {
        let (name, tick) = event(&mut stream);
        assert_eq!((&*name, &tick["version"]), ("tick", &Value::from(2)));
        assert_eq!(tick["pools"][0]["workers"].as_array().map(Vec::len), Some(2));
        assert!(tick["pools"][0].get("about").is_none(), "{tick}");
        assert_eq!(tick["viewers"], 1);
    }
}
