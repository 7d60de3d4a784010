//! Records what SQLite writes, and makes of any beginning of it what a disk may have that lost power.
//!
//! The default file system of SQLite is wrapped: what a thread writes while it records is noted, and
//! done all the same. Where nobody records, nothing is different.
#![allow(unsafe_code, reason = "a file system of SQLite is a table of functions in C")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "each block is one call of the wrapped system"
)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::Once;

use rusqlite::ffi;

/// What a disk writes at once.
const SECTOR: usize = 512;

/// What was done to a file, or told to somebody.
#[derive(Clone, Debug)]
pub(super) enum Noted {
    Write(PathBuf, usize, Vec<u8>),
    Truncate(PathBuf, usize),
    Sync(PathBuf),
    Delete(PathBuf),
    Promise(usize),
}

type Event = Noted;

#[derive(Default)]
struct Recording {
    events: Vec<Event>,
    files: HashMap<usize, (PathBuf, usize)>,
}

/// When calls of a thread fail that change files.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallFaults {
    /// The first call that fails, counted from 1.
    pub(super) first: u32,
    /// So do all that come after it.
    pub(super) lasts: bool,
    /// The disk is full; else it cannot be written.
    pub(super) is_full: bool,
}

thread_local! {
    static FAULTS: Cell<Option<CallFaults>> = const { Cell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static RECORDER: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Begins to record what this thread writes to databases that it opens from now on.
pub(super) fn record() {
    static WRAPPED: Once = Once::new();
    WRAPPED.call_once(wrap);
    RECORDER.set(Some(Recording::default()));
}

/// Lets calls of this thread fail that change files, and counts them from now on. Meanwhile nothing is
/// synced: here no power is lost.
pub(super) fn calls_fail(faults: CallFaults) {
    CALLS.set(0);
    FAULTS.set(Some(faults));
}

/// No call fails from now on.
pub(super) fn faults_end() {
    FAULTS.set(Some(CallFaults { first: 0, lasts: false, is_full: false }));
}

/// Returns how many calls there were since [`calls_fail`].
pub(super) fn calls() -> u32 {
    CALLS.get()
}

/// Counts a call that changes a file. Returns the code with which it fails.
fn fault(broken: c_int) -> Option<c_int> {
    let faults = FAULTS.get()?;
    let call = CALLS.get() + 1;
    CALLS.set(call);
    let fails = call == faults.first || (faults.lasts && call > faults.first);
    fails.then_some(if faults.is_full { ffi::SQLITE_FULL } else { broken })
}

/// Notes that something was told to somebody.
pub(super) fn promise(number: usize) {
    note(Noted::Promise(number));
}

/// Ends the record and returns it. The databases must be closed later.
pub(super) fn recorded() -> Vec<Event> {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.as_mut().map(|recorder| std::mem::take(&mut recorder.events)).unwrap_or_default()
    })
}

fn note(event: Event) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder {
            recorder.events.push(event);
        }
    });
}

/// Finds the path and the functions of a file that is recorded.
fn known(file: *mut ffi::sqlite3_file) -> (PathBuf, *const ffi::sqlite3_io_methods) {
    RECORDER.with_borrow(|recorder| {
        let (path, methods) = &recorder.as_ref().expect("it records").files[&file.addr()];
        (path.clone(), std::ptr::with_exposed_provenance(*methods))
    })
}

/// Puts the recording file system in the place of the default one.
fn wrap() {
    // SAFETY: SQLite keeps what is registered as long as the process lives, and so is it leaked.
    unsafe {
        let default = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut ours = *default;
        ours.zName = c"recording".as_ptr();
        ours.pAppData = default.cast();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        // The others take the table of the default one, which they were written for.
        let ours = Box::leak(Box::new(ours));
        DEFAULT.store(default, std::sync::atomic::Ordering::Release);
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
    }
}

static DEFAULT: std::sync::atomic::AtomicPtr<ffi::sqlite3_vfs> =
    std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());

fn default() -> *mut ffi::sqlite3_vfs {
    DEFAULT.load(std::sync::atomic::Ordering::Acquire)
}

fn path_of(name: *const c_char) -> PathBuf {
    // SAFETY: SQLite passes texts that end in a zero byte.
    let name = unsafe { CStr::from_ptr(name) };
    PathBuf::from(name.to_str().expect("the paths of tests are UTF-8"))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: what SQLite passes is passed on. The table of the file is replaced by a copy that differs
    // in four functions, and each calls the original one.
    unsafe {
        let default = default();
        let code = (*default).xOpen.expect("it opens files")(default, name, file, flags, out);
        let records = RECORDER.with_borrow(Option::is_some);
        if code == ffi::SQLITE_OK && records && !name.is_null() {
            let original = (*file).pMethods;
            let mut ours = *original;
            ours.xWrite = Some(write);
            ours.xTruncate = Some(truncate);
            ours.xSync = Some(sync);
            ours.xClose = Some(close);
            RECORDER.with_borrow_mut(|recorder| {
                let files = &mut recorder.as_mut().expect("it records").files;
                files.insert(file.addr(), (path_of(name), original.expose_provenance()));
            });
            (*file).pMethods = Box::leak(Box::new(ours));
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, syncs: c_int) -> c_int {
    if let Some(code) = fault(ffi::SQLITE_IOERR_DELETE) {
        return code;
    }
    note(Noted::Delete(path_of(name)));
    let default = default();
    // SAFETY: what SQLite passes is passed on.
    unsafe { (*default).xDelete.expect("it deletes files")(default, name, syncs) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let (path, methods) = known(file);
    let count = usize::try_from(length).expect("a length");
    // SAFETY: SQLite passes as many bytes as it says.
    let written = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) }.to_vec();
    note(Noted::Write(path, usize::try_from(at).expect("a place"), written));
    let fault = fault(ffi::SQLITE_IOERR_WRITE);
    // Some of it is written before the disk is found to fail.
    let length = if fault.is_some() { length / 2 } else { length };
    // SAFETY: what SQLite passes is passed on.
    let code = unsafe { (*methods).xWrite.expect("it writes")(file, bytes, length, at) };
    fault.unwrap_or(code)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let (path, methods) = known(file);
    note(Noted::Truncate(path, usize::try_from(size).expect("a length")));
    if let Some(code) = fault(ffi::SQLITE_IOERR_TRUNCATE) {
        return code;
    }
    // SAFETY: what SQLite passes is passed on.
    unsafe { (*methods).xTruncate.expect("it truncates")(file, size) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let (path, methods) = known(file);
    if FAULTS.get().is_some() {
        return fault(ffi::SQLITE_IOERR_FSYNC).unwrap_or(ffi::SQLITE_OK);
    }
    // SAFETY: what SQLite passes is passed on.
    let code = unsafe { (*methods).xSync.expect("it syncs")(file, flags) };
    note(Noted::Sync(path));
    code
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let (_, methods) = known(file);
    // SAFETY: what SQLite passes is passed on.
    unsafe { (*methods).xClose.expect("it closes")(file) }
}

/// The files that a disk may have after the power was lost behind these events. What was synced is
/// there. Of what was written later each sector may be there or not, in any order.
pub(super) fn after_power_loss(
    events: &[Event],
    random: &mut fastrand::Rng,
) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut pending: BTreeMap<PathBuf, Vec<Event>> = BTreeMap::new();
    for event in events {
        match event {
            Noted::Write(path, ..) | Noted::Truncate(path, _) => {
                pending.entry(path.clone()).or_default().push(event.clone());
            }
            Noted::Sync(path) => {
                let file = files.entry(path.clone()).or_default();
                for event in pending.remove(path).unwrap_or_default() {
                    apply(file, &event);
                }
            }
            Noted::Delete(path) => {
                files.remove(path);
                pending.remove(path);
            }
            Noted::Promise(_) => {}
        }
    }
    for (path, events) in pending {
        let file = files.entry(path).or_default();
        let mut pieces: Vec<Event> = events.iter().flat_map(sectors).collect();
        // How much of it the disk had time for.
        let share = random.f64();
        pieces.retain(|_| random.f64() < share);
        if random.bool() {
            random.shuffle(&mut pieces);
        }
        for piece in &pieces {
            apply(file, piece);
        }
    }
    files
}

/// Cuts a write where a disk may.
fn sectors(event: &Event) -> Vec<Event> {
    let Noted::Write(path, at, bytes) = event else { return vec![event.clone()] };
    let (mut pieces, mut done) = (Vec::new(), 0);
    while done < bytes.len() {
        let length = (SECTOR - (at + done) % SECTOR).min(bytes.len() - done);
        let piece = bytes[done..done + length].to_vec();
        pieces.push(Noted::Write(path.clone(), at + done, piece));
        done += length;
    }
    pieces
}

fn apply(file: &mut Vec<u8>, event: &Event) {
    match event {
        Noted::Write(_, at, bytes) => {
            file.resize(file.len().max(at + bytes.len()), 0);
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Noted::Truncate(_, size) => file.resize(*size, 0),
        _ => {}
    }
}

/// Writes files of that directory into another one.
pub(super) fn put(files: &BTreeMap<PathBuf, Vec<u8>>, into: &Path) {
    for (path, bytes) in files {
        let name = path.file_name().expect("a file");
        std::fs::write(into.join(name), bytes).expect("written");
    }
}
