//! Functions of Python: the page `docs/python.md`, and the examples that need packages.

use std::path::Path;

use crate::scripts::follow;
use crate::serve::start;
use crate::support::{Server, shell};

const JSON: &[&str] = &["Content-Type: application/json"];

#[test]
fn the_page_about_python_works_as_it_stands() {
    follow("python", &["python3", "curl"], 7);
}

#[test]
fn the_page_about_python_shows_its_examples_as_they_are() {
    let read = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let page = read("docs/python.md");
    for example in ["python-fib/calculate.py", "python-stream/story.py"] {
        let shown = format!("```python\n{}```", read(&format!("examples/{example}")));
        assert!(page.contains(&shown), "docs/python.md does not show {example}");
    }
}

/// Starts a server of an example with one worker.
fn serve(target: &str, needs: &[&str], env: &[(&str, &str)]) -> Option<Server> {
    let plan = Server::args(&[&format!("examples/{target}"), "--workers", "1"]).in_project();
    start(env.iter().fold(plan, |plan, (name, value)| plan.env(name, value)), needs)
}

#[test]
fn a_model_classifies_flowers_in_batches() {
    let needs = ["python3", "python/sklearn"];
    let Some(server) = serve("python-model/flowers.py:classify", &needs, &[]) else { return };
    let flower = |length: f64| {
        format!(
            r#"{{"flower":{{"sepal_length":{length},"sepal_width":3.0,"petal_length":{},"petal_width":{}}}}}"#,
            length - 3.6,
            length / 5.0
        )
    };
    let ask = |body: &str| server.client().later("POST", "/classify", JSON, body);
    let several: Vec<_> = (0..20).map(|n| ask(&flower(5.0 + f64::from(n) / 10.0))).collect();
    let wrong = ask(r#"{"flower":{"sepal_length":"5"}}"#).answer();
    assert_eq!(wrong.detail(), "`flower.sepal_length` must be a number, such as 1.5");
    for answer in several.into_iter().map(crate::support::Pending::answer) {
        let known = ["\"setosa\"", "\"versicolor\"", "\"virginica\""];
        assert!(answer.status == 200 && known.contains(&answer.body.as_str()), "{answer:?}");
    }
}

#[test]
fn a_program_classifies_the_flowers_that_wait_together() {
    let needs = ["python3", "python/sklearn"];
    let options = ["--workers", "1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let Some(server) = crate::serve::serve_with("python-batch", &needs, &options) else { return };
    let flower = |length: f64, petal: f64| {
        format!(
            "/species?sepal_length={length}&sepal_width=3&petal_length={petal}&petal_width={}",
            petal / 3.0
        )
    };
    let species = |petal: f64| if petal < 2.0 { "\"setosa\"" } else { "\"virginica\"" };
    let asked: Vec<_> = (0..60)
        .map(|number| if number % 3 == 0 { 1.4 } else { 6.5 })
        .map(|petal| (petal, server.client().get_later(&flower(petal + 1.5, petal))))
        .collect();
    for (petal, asked) in asked {
        let answer = asked.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, species(petal)), "{answer:?}");
    }
    let groups = server.metric("httpipe_batch_size_count");
    assert!(groups < 60.0, "each went alone");
    assert_eq!(server.metric("httpipe_batch_size_sum"), 60.0);
}

#[test]
fn pictures_come_and_go_as_bytes() {
    let needs = ["python3", "curl", "python/numpy", "python/PIL"];
    let Some(server) = serve("python-image/picture.py:*", &needs, &[]) else { return };
    let url = server.url();
    let (code, told) = shell(&format!(
        "set -e; file=$(mktemp); trap 'rm \"$file\"' EXIT
         curl -fs '{url}/gradient?width=64&height=8' -o \"$file\" -w '%{{content_type}} '
         curl -fs --data-binary @\"$file\" {url}/brightness; echo
         curl -fs --data-binary @\"$file\" {url}/invert | curl -fs --data-binary @- {url}/brightness"
    ));
    assert_eq!((code, told.trim()), (0, "image/png 127.03125\n127.96875"));
    let text = server.client().post("/brightness", "no picture");
    assert_eq!((text.status, text.detail().as_str()), (415, "this is no picture"));
}

#[test]
fn an_async_class_asks_another_service_for_several_prices_at_once() {
    let shop = Server::args(&["shop.py:price"]).file(
        "shop.py",
        "import httpipe\n\
         def price(item: str) -> float:\n    \
             if item == \"unicorn\": raise httpipe.Error(\"none\", 404)\n    \
             return len(item) / 2\n",
    );
    let Some(shop) = start(shop, &["python3"]) else { return };
    let needs = ["python3", "python/httpx"];
    let env = [("PRICES", &*shop.url())];
    let Some(server) = serve("python-client/prices.py:Prices", &needs, &env) else { return };
    let ask = |body: &str| server.client().request("POST", "/total", JSON, body);
    assert_eq!(ask(r#"{"items":["tea","bread","jam"]}"#).body, "5.5");
    let gone = ask(r#"{"items":["tea","unicorn"]}"#);
    assert_eq!((gone.status, gone.detail().as_str()), (404, "there is no unicorn"));
    let wrong = ask(r#"{"items":["tea",1]}"#);
    assert_eq!(wrong.detail(), "`items[1]` must be a string");
}
