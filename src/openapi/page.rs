//! The page with a form for each operation.
//!
//! Pure. The page is made in the browser, of the document alone. Its files are in the binary, and it
//! fetches nothing from elsewhere.

use bytes::Bytes;

/// A file of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Its name below the path of the page.
    pub name: &'static str,
    /// Its content type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// What a browser may do with the page: run and ask what comes from this server, and nothing else.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The content type of the page itself.
pub const HTML: &str = "text/html; charset=utf-8";

const PAGE: &str = include_str!("page/docs.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files that the page fetches, besides the document.
pub const FILES: [PageFile; 7] = [
    file("docs.css", "text/css; charset=utf-8", include_bytes!("page/docs.css")),
    file("docs.js", SCRIPT, include_bytes!("page/docs.js")),
    file("element.js", SCRIPT, include_bytes!("page/element.js")),
    file("fields.js", SCRIPT, include_bytes!("page/fields.js")),
    file("request.js", SCRIPT, include_bytes!("page/request.js")),
    file("answer.js", SCRIPT, include_bytes!("page/answer.js")),
    file("icon.svg", "image/svg+xml", include_bytes!("page/icon.svg")),
];

const fn file(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> PageFile {
    PageFile { name, content_type, bytes }
}

/// What the page says above its forms: why the request that led to it failed.
#[derive(Clone, Copy, Debug)]
pub struct PageNotice<'a> {
    /// The status and the code.
    pub title: &'a str,
    /// What happened.
    pub detail: &'a str,
    /// The id of the request.
    pub request_id: &'a str,
}

/// Returns the page. `seen_at` is the path that the browser shows it for, `place` the path that its
/// files are below. Both are joined by a relative way, so that a proxy may serve all below a path of
/// its own.
pub fn page(seen_at: &str, place: &str, notice: Option<PageNotice<'_>>) -> Bytes {
    let depth = seen_at.matches('/').count().saturating_sub(1);
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let files = format!("{root}{}", place.trim_start_matches('/'));
    let notice = notice.map(|notice| {
        format!(
            "<section class=\"notice\" role=\"alert\"><h2>{}</h2><p>{}</p><p><small>request id \
             <code>{}</code></small></p></section>",
            escaped(notice.title),
            escaped(notice.detail),
            escaped(notice.request_id)
        )
    });
    let page = PAGE.replace("{root}", &root).replace("{files}", &files);
    page.replace("{notice}", &notice.unwrap_or_default()).into()
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seen_at: &str, place: &str, notice: Option<PageNotice<'_>>) -> String {
        String::from_utf8(page(seen_at, place, notice).to_vec()).expect("UTF-8")
    }

    #[test]
    fn the_files_are_found_from_wherever_the_page_is_seen() {
        for (seen_at, place, root, files) in [
            ("/docs", "/docs", "./", "./docs"),
            ("/", "/docs", "./", "./docs"),
            ("/", "/a/help", "./", "./a/help"),
            ("/a/help", "/a/help", "../", "../a/help"),
        ] {
            let page = shown(seen_at, place, None);
            assert!(page.contains(&format!("data-root=\"{root}\"")), "{page}");
            assert!(page.contains(&format!("src=\"{files}/docs.js\"")), "{page}");
            assert!(!page.contains("{root}") && !page.contains("{files}"), "{page}");
        }
    }

    #[test]
    fn what_a_notice_says_is_text() {
        let detail = "<img onerror=alert(1)> & 'so' \"on\"";
        let notice = PageNotice { title: "400 bad_parameter", detail, request_id: "i" };
        let page = shown("/", "/docs", Some(notice));
        assert!(page.contains("&lt;img onerror=alert(1)&gt; &amp; &#39;so&#39; &quot;on&quot;"));
    }

    #[test]
    fn the_page_is_small() {
        let size: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(size + PAGE.len() <= 24 << 10, "{size} bytes");
    }

    #[test]
    fn nothing_of_the_page_comes_from_elsewhere_or_is_made_of_text() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            let text = str::from_utf8(file.bytes).expect("UTF-8");
            for word in ["innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{}: {word}", file.name);
            }
            assert!(!text.contains("http://") && !text.contains("https://"), "{}", file.name);
        }
        for word in ["<style", "style=", "onclick", "https://", "<script>"] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
