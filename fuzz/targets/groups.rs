//! Any bytes as the items of a batch, and as questions and answers of a group.

#![no_main]

use bytes::Bytes;
use httpipe::testing::config::GroupShape;
use httpipe::testing::wire::{BatchForm, CutItem, ItemCutter, group};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// Returns the items of a body that comes in these pieces.
fn cut<'a>(form: BatchForm, most: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<CutItem> {
    let (mut cutter, mut items) = (ItemCutter::new(form, most), Vec::new());
    for piece in pieces {
        cutter.push(Bytes::copy_from_slice(piece));
        while let Some(item) = cutter.cut() {
            items.push(item);
        }
    }
    items.extend(cutter.end());
    items
}

/// Returns the elements of an array as they are written; `None`: it is none.
fn elements(text: &[u8]) -> Option<Vec<String>> {
    let elements: Vec<&RawValue> = serde_json::from_slice(text).ok()?;
    Some(elements.into_iter().map(|it| it.get().to_owned()).collect())
}

/// However a body is cut, its items are the same, and an array is cut into its elements.
fn items(most: usize, size: usize, body: &[u8]) {
    for form in [BatchForm::Lines, BatchForm::Array] {
        let at_once = cut(form, most, std::iter::once(body));
        assert_eq!(at_once, cut(form, most, body.chunks(1)));
        assert_eq!(at_once, cut(form, most, body.chunks(size)));
        for item in &at_once {
            assert!(!matches!(item, CutItem::Item(item) if item.len() > most));
        }
    }
    if let Some(elements) = elements(body) {
        let items = cut(BatchForm::Array, usize::MAX, std::iter::once(body));
        let items = items.into_iter().map(|item| match item {
            CutItem::Item(item) => String::from_utf8(item.to_vec()).expect("it was JSON"),
            other => panic!("{other:?}"),
        });
        assert_eq!(items.collect::<Vec<_>>(), elements);
    }
}

/// What may go together comes apart again, and what a worker answers is for as many calls or for none.
fn groups(calls: usize, text: &[u8]) {
    for shape in [GroupShape::Lines, GroupShape::Array] {
        let fit = text.split(|byte| *byte == 0xff).filter(|it| group::unfit(shape, it).is_none());
        let questions: Vec<Bytes> = fit.map(Bytes::copy_from_slice).collect();
        if !questions.is_empty() {
            let joined = group::join(shape, questions.iter().map(|it| &it[..]));
            let trimmed = |it: &Bytes| Bytes::copy_from_slice(it.trim_ascii());
            let is_array = shape == GroupShape::Array;
            let expected: Vec<Bytes> = match is_array {
                true => questions.iter().map(trimmed).collect(),
                false => questions.clone(),
            };
            assert_eq!(group::parts(shape, &joined), expected);
            assert_eq!(group::split(shape, &joined, questions.len()), Ok(expected));
        }
        let answer = Bytes::copy_from_slice(text);
        if let Ok(answers) = group::split(shape, &answer, calls) {
            assert_eq!(answers.len(), calls);
            if shape == GroupShape::Array
                && let Some(elements) = elements(text)
            {
                assert_eq!(answers, elements);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [most, size, calls, text @ ..] = data else { return };
    items(usize::from(*most), usize::from(*size).max(1), text);
    groups(usize::from(*calls % 8), text);
});
