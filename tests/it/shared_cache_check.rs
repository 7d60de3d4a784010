//! What `check` says of the cache that servers share, with a real Redis.

use crate::support::{Redis, shell};

/// Runs `check` with these keys of `[cache]`, and returns its exit code and what it says.
fn check(redis: &Redis, name: &str, version: &str, keys: &str) -> (i32, String) {
    let text = format!(
        "[pool.it]\ncommand = [\"cat\"]\n{version}\nprobe = {{ send = \"a\" }}\n[[route]]\n\
         match = \"GET /?a={{a}}\"\ncache = \"1h\"\n[cache]\n{keys}"
    );
    let file = redis.dir().join(name);
    std::fs::write(&file, text).expect("it can be written");
    shell(&format!("{} check {}", env!("CARGO_BIN_EXE_httpipe"), file.display()))
}

#[test]
fn check_tries_what_calls_will_do() {
    let Some(redis) = Redis::start(&[]) else { return };
    let url = redis.url();
    let version = "version = \"1\"";
    let slow = format!("shared = \"{url}\"\nshared_timeout = \"10s\"");
    let (code, said) = check(&redis, "a", "", &slow);
    for part in [
        "warning: answers of pool `it` are shared, but nothing says which version",
        &format!("shared cache {url}\n  look      "),
        "`maxmemory-policy` is `noeviction`",
        "no errors in 1 pool and 1 route, 2 warnings",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    assert_eq!(code, 0, "{said}");
    redis.says("CONFIG SET maxmemory-policy allkeys-lru");
    let (code, said) = check(&redis, "b", version, &slow);
    assert!(code == 0 && said.contains(" ms, `allkeys-lru` where its memory is full"), "{said}");
    assert!(said.contains("no errors in 1 pool and 1 route\n"), "{said}");
    assert!(redis.keys("*").is_empty(), "it leaves nothing behind");
    redis.says("REPLICAOF 127.0.0.1 1");
    let (code, said) = check(&redis, "c", version, &slow);
    assert!(code == 2 && said.contains("nothing can be written there"), "{said}");
    redis.says("REPLICAOF NO ONE");
    redis.says("ACL SETUSER low on >hunter2 ~hp1:* &hp1:* +@all -evalsha");
    let low = slow.replace("redis://", "redis://low@") + "\nshared_password = \"hunter2\"";
    let (code, said) = check(&redis, "d", version, &low);
    let is_told = said.contains("EVALSHA is refused") && said.contains("docs/scale.md");
    assert!(code == 2 && is_told, "{said}");
    let (code, wrong) = check(&redis, "e", version, &low.replace("hunter2", "hunter3"));
    assert!(code == 2 && wrong.contains("the login is refused"), "{wrong}");
    assert!(!said.contains("hunter") && !wrong.contains("hunter"), "{said}{wrong}");
    for (name, keys, why) in [
        ("f", "shared = \"redis://127.0.0.1:1\"".to_owned(), "hint: start it"),
        ("g", "shared_ca = \"x.pem\"".to_owned(), "`shared_ca` has no effect without `shared`"),
        ("h", format!("{slow}\nshared_ca = \"x.pem\""), "nobody shows a certificate"),
    ] {
        let (code, said) = check(&redis, name, version, &keys);
        assert!(code == 2 && said.contains(why), "no {why:?} in\n{said}");
    }
}
