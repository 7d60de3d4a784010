//! Programs that read to the end of their input: `eof`.

use crate::serve::serve;

#[test]
fn sort_sorts_a_body_of_many_lines() {
    let Some(server) = serve("sort", &["sort"]) else { return };
    for _ in 0..3 {
        assert_eq!(server.client().post("/sort", "pear\n\napple\n").body, "\napple\npear\n");
    }
}

#[test]
fn pandoc_makes_html_and_reads_no_file() {
    let Some(server) = serve("pandoc", &["pandoc"]) else { return };
    let answer = server.client().post("/html", "# Title\n\n*a*\n");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.body.contains("Title</h1>"), "{answer:?}");
    assert!(answer.body.contains("<em>a</em>"), "{answer:?}");
}
