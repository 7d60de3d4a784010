//! Opens the file of the jobs: locks, pragmas, tables and their migration.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, FlockOperation, flock};
use rustix::io::Errno;

use super::disk;

/// How SQLite knows that a file is ours: `hjob`.
const APPLICATION: i32 = 0x686a_6f62;
/// How a database of SQLite begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The part of a file that says what it is.
const HEADER: usize = 100;

/// How a file says that it gives pages back bit by bit (`auto_vacuum`).
const INCREMENTAL: u32 = 2;

/// What brings a file from each version to the next. A step that was released is never changed.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE job(
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        pool TEXT NOT NULL,
        route TEXT NOT NULL,
        owner TEXT,
        state INTEGER NOT NULL,
        idempotent INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        starts_most INTEGER NOT NULL,
        due INTEGER NOT NULL,
        created INTEGER NOT NULL,
        started INTEGER,
        ended INTEGER,
        expires INTEGER NOT NULL,
        wait INTEGER NOT NULL,
        keep INTEGER NOT NULL,
        key TEXT,
        hash BLOB,
        problem TEXT,
        form TEXT,
        request_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE question(job INTEGER PRIMARY KEY, text BLOB NOT NULL, nonce BLOB) STRICT;
    CREATE TABLE answer(job INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
    CREATE INDEX job_waiting ON job(pool, due, seq) WHERE state = 0;
    CREATE INDEX job_running ON job(seq) WHERE state = 1;
    CREATE INDEX job_expires ON job(expires);
    CREATE UNIQUE INDEX job_key ON job(route, coalesce(owner, ''), key) WHERE key IS NOT NULL;
",
    "
    ALTER TABLE job ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE job SET bytes = coalesce((SELECT length(text) FROM question WHERE job = seq), 0)
        + coalesce((SELECT length(body) FROM answer WHERE job = seq), 0);
    DROP INDEX job_waiting;
    CREATE INDEX job_turns ON job(pool, coalesce(owner, ''), due, seq) WHERE state = 0;
",
];

/// Why the file of the jobs cannot be used. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// It cannot be opened or made.
    #[error(
        "cannot open the file of the jobs, {}: {error}\n\nhint: `jobs.file` names it; its directory \
         must be there, and this user must be able to write both",
        path.display()
    )]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another server has it.
    #[error(
        "another server has the file of the jobs, {}\n\nhint: one server has one file: stop the \
         other, or give this one another `jobs.file`",
        _0.display()
    )]
    Busy(PathBuf),
    /// It is on a network file system.
    #[error(
        "the file of the jobs, {}, is on {kind}, where what was written can be lost\n\nhint: name a \
         file on a local disk in `jobs.file`",
        path.display()
    )]
    Network {
        /// The file.
        path: PathBuf,
        /// Which one.
        kind: &'static str,
    },
    /// A later version wrote it.
    #[error(
        "a later version of httpipe wrote the file of the jobs, {}: this one knows version {known} \
         of its tables, not {found}\n\nhint: start the later version, or put back the backup that was \
         made before it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: u32,
        /// The latest version that is known.
        known: u32,
    },
    /// It is something else.
    #[error(
        "{} is not a file of jobs: {what}\n\nhint: name another file in `jobs.file`; nothing was \
         changed in this one",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is damaged.
    #[error(
        "the file of the jobs, {}, is damaged: {error}\n\nhint: move it away with those that end in \
         `-wal` and `-journal`, then put back a backup, or begin with an empty one; `sqlite3 OLD \
         .recover | sqlite3 NEW` saves what can be read (the sqlite3 of Debian 12 cannot do that)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// SQLite cannot use it now.
    #[error(
        "cannot use the file of the jobs, {}: {error}\n\nhint: look for a full or failing disk",
        path.display()
    )]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
}

/// The right to a file, which no other server has while this lives.
#[derive(Debug)]
pub struct FileLock {
    /// Closing any descriptor of the file would give up the locks of SQLite, too. So this one
    /// lives as long as the server.
    pub(super) file: Arc<File>,
    /// The absolute path.
    pub path: PathBuf,
    /// Which file its log is, once that is known.
    log: Cell<Option<FileName>>,
}

/// What a file is to the system, whatever its path: device and number.
type FileName = (u64, u64);

impl FileLock {
    /// Takes a file, which is made if it is not there, and looks whether it is one of ours.
    pub fn take(path: &Path) -> Result<Self, NotOpened> {
        let file = Arc::new(taken(path, true, FlockOperation::NonBlockingLockExclusive)?);
        Ok(Self { file, path: path.to_owned(), log: Cell::new(None) })
    }

    /// The database was closed or opened: its log may be another file from now on.
    pub(super) fn forget_log(&self) {
        self.log.set(None);
    }

    /// Returns true if the path still leads to this file, and its log is the one that it was.
    pub fn is_in_place(&self) -> bool {
        let own = self.file.metadata().ok();
        let found = std::fs::metadata(&self.path).ok();
        let log = std::fs::metadata(format!("{}-wal", self.path.display())).ok();
        let name = |found: std::fs::Metadata| (found.dev(), found.ino());
        let (own, found, log) = (own.map(name), found.map(name), log.map(name));
        if self.log.get().is_none() {
            self.log.set(log);
        }
        own.is_some() && own == found && log == self.log.get()
    }
}

/// Looks at a file as [`FileLock::take`] would, and changes nothing. It need not be there.
///
/// # Errors
///
/// Why a server could not use it.
pub fn examine(path: &Path) -> Result<(), NotOpened> {
    if !path.exists() {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let error = |error| NotOpened::Unreachable { path: path.to_owned(), error };
        on_local_disk(path)?;
        let may = rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK);
        return may.map_err(|code| error(code.into()));
    }
    taken(path, false, FlockOperation::NonBlockingLockShared).map(|_| ())
}

fn on_local_disk(path: &Path) -> Result<(), NotOpened> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let kind = disk::network(directory);
    let kind = kind.map_err(|error| NotOpened::Unreachable { path: path.to_owned(), error })?;
    kind.map_or(Ok(()), |kind| Err(NotOpened::Network { path: path.to_owned(), kind }))
}

/// Opens a file and locks it, and looks whether it is one of ours. `makes`: it need not be there.
fn taken(path: &Path, makes: bool, lock: FlockOperation) -> Result<File, NotOpened> {
    let path = path.to_owned();
    let unreachable = |error| NotOpened::Unreachable { path: path.clone(), error };
    on_local_disk(&path)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(makes)
        .truncate(false)
        .mode(0o600)
        .custom_flags(
            (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed(),
        )
        .open(&path)
        .map_err(unreachable)?;
    if !file.metadata().map_err(unreachable)?.is_file() {
        return Err(NotOpened::Foreign { path, what: "it is not a regular file" });
    }
    match flock(&file, lock) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(NotOpened::Busy(path)),
        Err(error) => return Err(unreachable(error.into())),
    }
    let mut header = [0; HEADER];
    let length = read_start(&file, &mut header).map_err(unreachable)?;
    look_at(&header[..length], &path)?;
    Ok(file)
}

impl FileLock {
    /// Says of an error of SQLite why the file cannot be used.
    pub(super) fn unusable(&self, error: rusqlite::Error) -> NotOpened {
        let path = self.path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => NotOpened::Busy(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                NotOpened::Damaged { path, error }
            }
            _ => NotOpened::Failed { path, error },
        }
    }
}

fn read_start(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match file.read_at(&mut into[length..], length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Decides by its first bytes whether a file is one of ours. Nothing but these bytes is read, since
/// SQLite would change the file where it was not closed well.
fn look_at(header: &[u8], path: &Path) -> Result<(), NotOpened> {
    if header.is_empty() {
        return Ok(());
    }
    let foreign = |what| Err(NotOpened::Foreign { path: path.to_owned(), what });
    if header.len() < HEADER || header[..MAGIC.len()] != *MAGIC {
        return foreign("it is not a database of SQLite, or its beginning is damaged");
    }
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4 bytes"));
    let (version, application) = (number(60), number(68));
    let known = STEPS.len() as u32;
    match application {
        // The first server to make it ended before it had tables.
        0 if version == 0 && number(28) <= 1 => Ok(()),
        _ if application != APPLICATION as u32 => foreign("another program made the database"),
        _ if version > known => {
            Err(NotOpened::Newer { path: path.to_owned(), found: version, known })
        }
        _ => Ok(()),
    }
}

/// Opens the database in a file that was taken, and brings its tables up to date.
pub fn open(lock: &FileLock) -> Result<Connection, NotOpened> {
    let path = &lock.path;
    prepared(path).map_err(|error| lock.unusable(error))
}

fn prepared(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    // The order matters. With WAL before EXCLUSIVE, the index of the log would be a file that others
    // may open, and that a full disk has no room for.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let vacuum: u32 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if vacuum != INCREMENTAL {
        // To set it writes it, even where it is set already: a full disk has no room for that.
        connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Writes what is there already: whether the file can be written. An empty transaction would not
/// tell, for it writes nothing.
pub(super) fn write_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", STEPS.len() as u32)
}

/// Brings the tables up to date.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    if version >= STEPS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in &STEPS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as u32)?;
    transaction.commit()?;
    // The version is looked for in the first bytes of the file, not in its log.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::Scratch;

    fn said(path: &Path) -> String {
        let opened = FileLock::take(path).and_then(|lock| open(&lock));
        opened.map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    }

    /// What a second process can do with the file, by a real one.
    #[allow(clippy::disallowed_methods, reason = "another process looks at the file")]
    fn seen_by_another(path: &Path) -> Option<String> {
        let output = std::process::Command::new("python3")
            .args(["-c", "import sqlite3, sys\ntry:\n  print(sqlite3.connect(sys.argv[1], timeout=0).execute('select count(*) from job').fetchall())\nexcept Exception as e: print(e)"])
            .arg(path)
            .output();
        Some(String::from_utf8_lossy(&output.ok()?.stdout).trim().to_owned())
    }

    #[test]
    fn nobody_else_can_open_it_and_its_log_needs_no_index_on_the_disk() {
        let scratch = Scratch::new();
        // The second time, the file has a log from the beginning.
        for _ in 0..2 {
            let lock = FileLock::take(&scratch.file()).expect("it can be made");
            let connection = open(&lock).expect("it can be opened");
            assert_eq!(scratch.files(), ["jobs.db", "jobs.db-wal"], "no -shm");
            assert_eq!(seen_by_another(&scratch.file()).as_deref(), Some("database is locked"));
            let number =
                |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            assert_eq!([number("auto_vacuum"), number("synchronous")], [Ok(2), Ok(2)]);
            assert!(said(&scratch.file()).starts_with("another server has the file"));
        }
    }

    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new();
        let lock = FileLock::take(&scratch.file()).expect("it can be made");
        let _connection = open(&lock).expect("it can be opened");
        for name in scratch.files() {
            let found = std::fs::metadata(scratch.path().join(&name)).expect("it is there");
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is() {
        let scratch = Scratch::new();
        let path = scratch.file();
        let other = || {
            let connection = Connection::open(&path).expect("it can be made");
            connection.execute_batch("CREATE TABLE a(b); PRAGMA user_version = 7").expect("SQL");
        };
        for (make, expected) in [
            (Box::new(other) as Box<dyn Fn()>, "another program made the database"),
            (Box::new(|| std::fs::write(&path, "hello").expect("written")), "not a database"),
            (Box::new(|| std::fs::write(&path, [0; 4096]).expect("written")), "not a database"),
        ] {
            std::fs::remove_file(&path).ok();
            make();
            let before = std::fs::read(&path).expect("it is there");
            assert!(said(&path).contains(expected), "{}", said(&path));
            assert_eq!(std::fs::read(&path).expect("it is there"), before);
            assert_eq!(scratch.files(), ["jobs.db"]);
        }
        assert!(said(&scratch.path().join("a/b.db")).contains("No such file"));
        assert!(said(scratch.path()).contains("Is a directory"));
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let scratch = Scratch::new();
        assert_eq!(said(&scratch.file()), "fine");
        let connection = Connection::open(scratch.file()).expect("nobody has it");
        connection.pragma_update(None, "user_version", 99).expect("SQL");
        drop(connection);
        let before = std::fs::read(scratch.file()).expect("it is there");
        assert!(said(&scratch.file()).contains("knows version 2 of its tables, not 99"));
        assert_eq!(std::fs::read(scratch.file()).expect("it is there"), before);
    }

    #[test]
    fn what_a_server_would_say_is_known_without_one() {
        let scratch = Scratch::new();
        let said =
            |path: &Path| examine(path).map_or_else(|error| error.to_string(), |()| "fine".into());
        assert_eq!(said(&scratch.file()), "fine");
        assert_eq!(scratch.files(), [""; 0], "nothing is made");
        assert!(said(&scratch.path().join("a/b.db")).contains("No such file"));
        std::fs::write(scratch.file(), "hello").expect("written");
        assert!(said(&scratch.file()).contains("not a database"));
        std::fs::remove_file(scratch.file()).expect("it is there");
        let lock = FileLock::take(&scratch.file()).expect("it is free");
        let connection = open(&lock).expect("it can be opened");
        assert!(said(&scratch.file()).starts_with("another server has the file"));
        connection.pragma_update(None, "user_version", 99).expect("SQL");
        drop(connection);
        drop(lock);
        assert!(said(&scratch.file()).contains("later version"));
    }

    #[test]
    fn a_file_of_an_earlier_version_is_brought_up_to_date() {
        let scratch = Scratch::new();
        let old = Connection::open(scratch.file()).expect("it can be made");
        old.execute_batch(STEPS[0]).expect("SQL");
        old.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1;
            INSERT INTO job(id, pool, route, state, idempotent, attempts, starts_most, due, created,
                expires, wait, keep, request_id)
                VALUES (x'00', 'a', 'POST /', 0, 1, 0, 1, 0, 0, 0, 0, 0, 'r');
            INSERT INTO question VALUES (1, x'0102', NULL); INSERT INTO answer VALUES (1, x'03')"
        ))
        .expect("SQL");
        drop(old);
        let lock = FileLock::take(&scratch.file()).expect("it is ours");
        let new = open(&lock).expect("it can be opened");
        let bytes = new.query_row("SELECT bytes FROM job", [], |row| row.get::<_, i64>(0));
        assert_eq!(bytes, Ok(3));
        let plan = "EXPLAIN QUERY PLAN SELECT seq FROM job \
                    WHERE state = 0 AND pool = 'a' AND coalesce(owner, '') = 'b' \
                    AND (due, seq) > (1, 1) ORDER BY due, seq LIMIT 5";
        let plan: String = new.query_row(plan, [], |row| row.get(3)).expect("SQL");
        assert!(plan.contains("USING INDEX job_turns (pool=? AND <expr>=?"), "{plan}");
    }

    #[test]
    fn a_damaged_file_is_told_with_a_way_out() {
        let scratch = Scratch::new();
        assert_eq!(said(&scratch.file()), "fine");
        let mut bytes = std::fs::read(scratch.file()).expect("it is there");
        bytes[100..200].fill(0xa5);
        std::fs::write(scratch.file(), &bytes).expect("written");
        let said = said(&scratch.file());
        assert!(said.contains("is damaged") && said.contains(".recover"), "{said}");
        assert_eq!(std::fs::read(scratch.file()).expect("it is there"), bytes);
    }
}
