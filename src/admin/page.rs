//! The page for operators at `/`: its files, which are in the binary, and how they are sent.
//!
//! The files hold no data. What they show, they ask of the other pages, each with its own check.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::{PageBody, PageResponse};

/// What the page may do: load what this server has, and nothing else. Nothing is inline, no other
/// site frames it, and no text becomes markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

/// One file: its path, its type, and what is in it.
type File = (&'static str, &'static str, &'static [u8]);

macro_rules! files {
    ($($kind:ident: $($name:literal)*;)*) => {
        &[$($((concat!("/page/", $name), $kind, include_bytes!(concat!("page/", $name))),)*)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const INDEX: File = ("/", HTML, include_bytes!("page/index.html"));
const FILES: &[File] = files! {
    SVG: "icon.svg";
    CSS: "base.css" "page.css";
    SCRIPT: "actions.js" "bar.js" "dialogs.js" "dom.js" "hosts.js" "jobs.js" "key.js"
        "main.js"
        "model.js" "notices.js" "numbers.js" "overview.js" "past.js" "plot.js" "plots.js"
        "pools.js" "stream.js" "strip.js" "workers.js";
};

/// Answers a request for a file of the page; `None` if it is for something else.
pub(super) fn file(request: &Parts) -> Option<PageResponse> {
    let path = request.uri.path();
    let (_, kind, bytes) = std::iter::once(&INDEX).chain(FILES).find(|file| file.0 == path)?;
    if request.method != Method::GET && request.method != Method::HEAD {
        let mut reply = super::problem(StatusCode::METHOD_NOT_ALLOWED, "the page takes GET, HEAD");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(reply);
    }
    let tag = format!("\"{:016x}\"", xxh3_64(bytes));
    let is_known = request.headers.get(IF_NONE_MATCH).is_some_and(|known| *known == *tag);
    let body = if is_known { Bytes::new() } else { Bytes::from_static(bytes) };
    let mut reply = Response::new(PageBody::from(body));
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = reply.headers_mut();
    headers.insert(ETAG, tag.parse().expect("hexadecimal digits in quotes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    protect(headers);
    Some(reply)
}

/// Sets what keeps a page in its place. The browser asks again each time whether a file is still
/// the same, so that an update of the server is an update of the page.
fn protect(headers: &mut HeaderMap) {
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (opener, "same-origin"),
        (resource, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use hyper::body::Body as _;

    use super::*;

    fn ask(method: &str, path: &str, known: Option<&str>) -> Option<PageResponse> {
        let request = http::Request::builder().method(method).uri(path);
        let request = known.into_iter().fold(request, |it, tag| it.header(IF_NONE_MATCH, tag));
        file(&request.body(()).expect("a request").into_parts().0)
    }

    fn all() -> impl Iterator<Item = &'static File> {
        std::iter::once(&INDEX).chain(FILES)
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_asked_for() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        let found: BTreeSet<String> =
            names.map(|name| format!("/page/{}", name.to_str().expect("ASCII"))).collect();
        let mut served: BTreeSet<String> = FILES.iter().map(|file| file.0.to_owned()).collect();
        served.insert("/page/index.html".to_owned());
        assert_eq!(found, served);
        let texts: Vec<_> = all().map(|file| String::from_utf8_lossy(file.2)).collect();
        for (path, ..) in FILES {
            let name = path.rsplit('/').next().expect("a path");
            assert!(texts.iter().any(|text| text.contains(&format!("/{name}\""))), "{name}");
        }
    }

    /// Loaded only where there is something to show in them.
    const LATER: [&str; 2] = ["/page/hosts.js", "/page/jobs.js"];

    /// A page that is this small is there at once, also through a tunnel.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "gzip knows how small they pack")]
    fn the_files_are_small() {
        let (later, first): (Vec<&File>, Vec<&File>) =
            all().partition(|file| LATER.contains(&file.0));
        let later: usize = later.iter().map(|file| file.2.len()).sum();
        assert!(later <= 6 * 1024, "{later} bytes");
        let whole: Vec<u8> = first.iter().flat_map(|file| file.2.iter().copied()).collect();
        assert!(whole.len() <= 64 * 1024, "{} bytes", whole.len());
        let mut gzip = Command::new("gzip");
        gzip.arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut gzip = gzip.spawn().expect("gzip is everywhere");
        let mut input = gzip.stdin.take().expect("a pipe");
        std::thread::spawn(move || input.write_all(&whole).expect("gzip reads"));
        let packed = gzip.wait_with_output().expect("it ends").stdout.len();
        assert!((1..=20 * 1024).contains(&packed), "{packed} bytes");
        for (path, _, bytes) in all() {
            let lines: Vec<&str> = std::str::from_utf8(bytes).expect("UTF-8").lines().collect();
            assert!(lines.len() <= 500, "{path} has {} lines", lines.len());
            let longest = lines.iter().map(|line| line.chars().count()).max();
            assert!(path.ends_with("svg") || longest <= Some(110), "{path}: {longest:?}");
        }
    }

    /// Markup that is made from a text is how a page runs what a name of a pool says.
    #[test]
    fn no_script_makes_markup_from_text() {
        let makers = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "setHTML",
            "setAttribute(\"style\"",
        ];
        for (path, _, bytes) in all() {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            for maker in makers {
                assert!(!text.contains(maker), "{path} has {maker}");
            }
            let has_handler = text.contains(" onclick=") || text.contains("<script>");
            assert!(!has_handler && !text.contains("style=\""), "{path} has something inline");
        }
    }

    #[test]
    fn the_browser_may_do_what_the_page_needs_and_nothing_else() {
        for (path, kind, bytes) in all() {
            let (head, body) = ask("GET", path, None).expect("a file").into_parts();
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(head.headers[CONTENT_TYPE], *kind);
            assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
            let policy = head.headers[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
            assert_eq!(head.headers["cross-origin-opener-policy"], "same-origin");
            assert_eq!(head.headers["cache-control"], "no-cache");
            assert_eq!(head.headers["x-content-type-options"], "nosniff");
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = ask("GET", "/", None).expect("a file");
        let tag = first.headers()[ETAG].to_str().expect("ASCII").to_owned();
        let again = ask("GET", "/", Some(&tag)).expect("a file");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[ETAG], tag.as_str());
        assert_eq!(ask("GET", "/", Some("\"other\"")).expect("a file").status(), StatusCode::OK);
    }

    #[test]
    fn only_its_own_paths_and_methods_are_the_page() {
        for path in ["/page", "/page/", "/page/none.js", "/index.html", "/page/../index.html"] {
            assert!(ask("GET", path, None).is_none(), "{path}");
        }
        let refused = ask("POST", "/", None).expect("a file");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
    }
}
