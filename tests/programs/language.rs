//! Programs that know words: a banner first, answers of several lines.

use crate::serve::{encoded, serve};

#[test]
fn hunspell_checks_words_and_takes_no_commands() {
    let needs = ["hunspell", "/usr/share/hunspell/en_US.aff"];
    let Some(server) = serve("hunspell", &needs) else { return };
    let ask = |text: &str| server.client().get(&format!("/spell?text={}", encoded(text))).body;
    let answer = ask("helo");
    assert!(answer.starts_with("& helo ") && answer.contains(" hello,"), "{answer:?}");
    assert_eq!(ask("hello word"), "*\n*");
    assert_eq!(ask(""), "");
    // As commands these would add a word, and answer less from then on.
    assert!(!ask("*helo").contains("*\n"));
    ask("!");
    assert!(ask("helo").starts_with("& helo "));
    assert_eq!(ask("hello word"), "*\n*");
}

#[test]
fn aspell_speaks_the_same_protocol() {
    let Some(server) = serve("aspell", &["aspell", "/usr/lib/aspell/en.multi"]) else { return };
    let ask = |text: &str| server.client().get(&format!("/spell?text={}", encoded(text))).body;
    assert_eq!(ask("hello"), "*");
    ask("!");
    ask("*wrld");
    let answer = ask("hello wrld");
    assert!(answer.starts_with("*\n& wrld ") && answer.contains(" world,"), "{answer:?}");
}

#[test]
fn mecab_ends_its_answer_with_a_line_that_no_word_can_be() {
    let Some(server) = serve("mecab", &["mecab"]) else { return };
    let ask = |text: &str| server.client().get(&format!("/words?text={}", encoded(text))).body;
    let answer = ask("すもも");
    assert!(answer.starts_with("すもも\t名詞") && answer.ends_with("\nEOS"), "{answer:?}");
    assert_eq!(ask(""), "EOS");
    let answer = ask("EOS");
    assert!(answer.starts_with("EOS\t") && answer.ends_with("\nEOS"), "{answer:?}");
}
