//! Any bytes as what the shim is told of a fence: it is refused, or understood as it was written, and
//! nothing is allowed that no word allows.

#![no_main]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use httpipe::testing::base::ByteSize;
use httpipe::testing::config::Sandbox;
use httpipe::testing::worker::fence::{read, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parts: Vec<&[u8]> = data.split(|byte| *byte == 0).take(16).collect();
    let told: Vec<OsString> = parts.iter().map(|it| OsStr::from_bytes(it).to_owned()).collect();
    if let Some(spec) = read(told.iter().cloned()) {
        let paths = spec.read.len() + spec.list.len() + spec.write.len();
        let others = told.iter().filter(|word| {
            let is_path = |name: &&str| word.as_bytes().starts_with(name.as_bytes());
            !["read", "list", "write"].iter().any(is_path)
        });
        assert_eq!(paths + others.count(), told.len());
        assert_eq!(spec.network, told.iter().any(|word| word.as_bytes().starts_with(b"network")));
    }
    let paths: Vec<PathBuf> = told.iter().map(PathBuf::from).collect();
    let (first, second) = paths.split_at(paths.len() / 2);
    let sandbox = Sandbox {
        read: first.to_vec(),
        write: second.to_vec(),
        network: data.len() % 2 == 0,
        memory: Some(ByteSize(data.len() as u64)),
        processes: None,
        ..Sandbox::default()
    };
    let written = words(&sandbox, Path::new("/tmp/x"), Path::new("/nowhere"));
    let spec = read(written.into_iter()).expect("what we write we read");
    let (own, read) = spec.read.split_last().expect("our own binary may be read");
    assert_eq!((own.as_path(), read, &spec.write[1..]), (Path::new("/nowhere"), first, second));
    assert_eq!((spec.network, spec.memory), (sandbox.network, Some(data.len() as u64)));
});
