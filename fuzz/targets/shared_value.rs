//! What a Redis holds for a question: any bytes are read or refused, and what is read can be written again.

#![no_main]

use httpipe::testing::cache::shared::{read, write};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

const QUESTION: &[u8] = b"10";

fuzz_target!(|bytes: &[u8]| {
    // As they are, and with the checksum that lets them past the first look.
    let sealed = [bytes, &xxh3_64(bytes).to_le_bytes()].concat();
    for text in [bytes, sealed.as_slice()] {
        if let Ok(value) = read(QUESTION, text) {
            let again = write(QUESTION, &value).expect("it was not too long");
            assert_eq!(read(QUESTION, &again), Ok(value));
        }
    }
});
