//! Writes answers and failures, and keeps on disk how far it has come.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use super::budget::Budget;
use super::files::{NoOutput, OutputFile};
use super::input::{FileId, Separator};
use super::journal::{Checkpoint, Hash};

/// How often what was written is made safe.
const SAFE_EVERY: Duration = Duration::from_secs(1);
/// How many failures are told on stderr where no file takes them.
const TOLD_MOST: u64 = 10;

/// What one item came to.
#[derive(Debug)]
pub(super) struct ItemRecord {
    /// Its place in the input.
    pub(super) number: u64,
    /// The hash of the items up to it.
    pub(super) hash: Hash,
    /// Where it ends in the input.
    pub(super) end: u64,
    /// The answer, or why there is none.
    pub(super) outcome: Result<Bytes, ItemFailure>,
    /// The room that it takes.
    pub(super) held: usize,
}

/// Why an item has no answer.
#[derive(Debug)]
pub(super) struct ItemFailure {
    /// The code of the failure.
    pub(super) code: &'static str,
    /// What happened.
    pub(super) detail: String,
    /// The item; `None` if it is too long to be kept.
    pub(super) input: Option<Bytes>,
}

/// A line of the list of failures.
#[derive(Serialize)]
struct FailureLine<'a> {
    index: u64,
    input: Option<&'a str>,
    code: &'a str,
    detail: &'a str,
}

/// Where answers and failures go.
#[derive(Clone, Debug)]
pub struct OutputPlaces {
    /// The answers; `None`: stdout.
    pub out: Option<PathBuf>,
    /// The failures; `None`: the first few are told on stderr.
    pub failed: Option<PathBuf>,
    /// The file that is read, if it is one.
    pub input: Option<FileId>,
    /// What ends an answer.
    pub separator: Separator,
    /// Answers come as they end, each after its place in the input and a tab.
    pub unordered: bool,
    /// Writes to people, who may be gone.
    pub tell: fn(&str),
}

/// The files that a run writes.
#[derive(Debug)]
pub struct ItemOutput {
    out: OutputFile,
    failed: Option<OutputFile>,
    separator: Separator,
    unordered: bool,
    /// `None`: what is written is not kept safe.
    journal: Option<Journal>,
    checkpoint: Checkpoint,
    tell: fn(&str),
    told: u64,
}

/// Where the journal is.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    directory: File,
}

impl ItemOutput {
    /// Opens the output of a run with this recipe, which may go on where an earlier one stopped. Nothing
    /// is changed before [`ItemOutput::begin`]. A file that is made here is removed again if that does not
    /// come.
    ///
    /// # Errors
    ///
    /// [`NoOutput`].
    pub fn open(places: &OutputPlaces, recipe: Hash, resumes: bool) -> Result<Self, NoOutput> {
        let open = OutputFile::open;
        let mut out = places.out.as_deref().map_or_else(|| Ok(OutputFile::stdout()), open)?;
        let mut failed = places.failed.as_deref().map(open).transpose()?;
        let out_path = places.out.as_deref().unwrap_or(Path::new("stdout"));
        refuse_twice((out_path, &out), places.input, "input")?;
        if let (Some(path), Some(failed)) = (&places.failed, &failed) {
            refuse_twice((path, failed), places.input, "input")?;
            refuse_twice((path, failed), out.id(), "answers")?;
        }
        for (file, path) in [(Some(&mut out), &places.out), (failed.as_mut(), &places.failed)] {
            if let (Some(file), Some(path)) = (file, path)
                && !file.lock()
            {
                return Err(NoOutput::Busy(path.clone()));
            }
        }
        let mut checkpoint = Checkpoint::begin(recipe);
        let mut journal = None;
        if let Some(path) = &places.out
            && out.id().is_some()
            && !places.unordered
        {
            let beside = Journal::beside(path)?;
            let before = beside.read(path, out.is_empty(), recipe, resumes)?;
            checkpoint = before.unwrap_or(checkpoint);
            journal = Some(beside);
        }
        out.go_on_at(places.out.as_deref(), checkpoint.out_bytes)?;
        if let Some(failed) = &mut failed {
            failed.go_on_at(places.failed.as_deref(), checkpoint.failed_bytes)?;
        }
        Ok(Self {
            out,
            failed,
            separator: places.separator,
            unordered: places.unordered,
            journal,
            checkpoint,
            tell: places.tell,
            told: 0,
        })
    }

    /// Cuts off what an earlier run wrote after its last checkpoint, or all that was in the files. The
    /// journal comes first: with it a run that is stopped from here on can be gone on with.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if let Some(journal) = &self.journal {
            journal.write(&self.checkpoint)?;
        }
        self.out.begin()?;
        self.failed.as_mut().map_or(Ok(()), OutputFile::begin)
    }

    /// Returns how far the output has come.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns true if a run that stops can be gone on with.
    pub fn can_resume(&self) -> bool {
        self.journal.is_some()
    }

    /// Writes records as they come, until no more come. Each second, what was written is made safe.
    /// `written` is told of each.
    pub(super) fn write_all(
        &mut self,
        records: &Receiver<ItemRecord>,
        budget: &Budget,
        written: impl Fn(&ItemRecord),
    ) -> io::Result<()> {
        let mut safe_at = Instant::now() + SAFE_EVERY;
        loop {
            if Instant::now() >= safe_at {
                self.make_safe()?;
                safe_at = Instant::now() + SAFE_EVERY;
            }
            match self.next(records, safe_at)? {
                Coming::Item(record) => {
                    self.write(&record)?;
                    budget.free(record.held);
                    written(&record);
                }
                Coming::Nothing => {}
                Coming::End => return self.make_safe(),
            }
        }
    }

    /// Waits for a record, at most until this time. Before it waits, readers get what there is.
    fn next(&mut self, records: &Receiver<ItemRecord>, until: Instant) -> io::Result<Coming> {
        match records.try_recv() {
            Ok(record) => return Ok(Coming::Item(record)),
            Err(TryRecvError::Disconnected) => return Ok(Coming::End),
            Err(TryRecvError::Empty) => self.flush()?,
        }
        let patience = until.saturating_duration_since(Instant::now());
        Ok(match records.recv_timeout(patience) {
            Ok(record) => Coming::Item(record),
            Err(RecvTimeoutError::Timeout) => Coming::Nothing,
            Err(RecvTimeoutError::Disconnected) => Coming::End,
        })
    }

    fn write(&mut self, record: &ItemRecord) -> io::Result<()> {
        let end = [self.separator.byte()];
        match &record.outcome {
            Ok(answer) if self.unordered => {
                self.out.write(format!("{}\t", record.number).as_bytes())?;
                self.out.write(answer)?;
                self.out.write(&end)?;
            }
            Ok(answer) => {
                self.out.write(answer)?;
                self.out.write(&end)?;
            }
            Err(failure) => {
                if !self.unordered {
                    self.out.write(&end)?;
                }
                self.note(record.number, failure)?;
                self.checkpoint.failed += 1;
            }
        }
        self.checkpoint.inputs += 1;
        self.checkpoint.input_hash = record.hash;
        Ok(())
    }

    /// Writes a failure into its file, or tells of it on stderr.
    fn note(&mut self, index: u64, failure: &ItemFailure) -> io::Result<()> {
        let ItemFailure { code, detail, input } = failure;
        if let Some(failed) = &mut self.failed {
            let input = input.as_deref().map(String::from_utf8_lossy);
            let line = FailureLine { index, input: input.as_deref(), code, detail };
            let line = serde_json::to_string(&line).expect("texts are always JSON");
            failed.write(line.as_bytes())?;
            return failed.write(b"\n");
        }
        self.told += 1;
        if self.told <= TOLD_MOST {
            let detail = detail.escape_debug();
            (self.tell)(&format!("item {index}: {code}: {detail}\n"));
        } else if self.told == TOLD_MOST + 1 {
            (self.tell)("further failures are counted only; `--failed FILE` takes all\n");
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.failed.as_mut().map_or(Ok(()), OutputFile::flush)
    }

    /// Brings everything so far to disk, and then says so in the journal.
    fn make_safe(&mut self) -> io::Result<()> {
        self.flush()?;
        let Some(journal) = &self.journal else { return Ok(()) };
        self.checkpoint.out_bytes = self.out.length();
        self.out.sync()?;
        if let Some(failed) = &self.failed {
            self.checkpoint.failed_bytes = failed.length();
            failed.sync()?;
        }
        journal.write(&self.checkpoint)
    }

    /// Removes the journal of a run that is finished.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub(super) fn finish(self) -> io::Result<()> {
        self.journal.map_or(Ok(()), Journal::remove)
    }
}

/// What comes next.
enum Coming {
    Item(ItemRecord),
    Nothing,
    End,
}

impl Journal {
    /// The journal of this output: the same name with `.progress` after it.
    fn beside(out: &Path) -> Result<Self, NoOutput> {
        let mut path = out.as_os_str().to_owned();
        path.push(".progress");
        let path = PathBuf::from(path);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        let opened = File::open(directory);
        let directory =
            opened.map_err(|error| NoOutput::Open { path: directory.to_owned(), error })?;
        Ok(Self { path, directory })
    }

    /// Returns where the run goes on; `None`: at the beginning.
    fn read(
        &self,
        out: &Path,
        is_empty: bool,
        recipe: Hash,
        resumes: bool,
    ) -> Result<Option<Checkpoint>, NoOutput> {
        let journal = |why: String| NoOutput::Journal { path: self.path.clone(), why };
        match fs::read_to_string(&self.path) {
            Ok(_) if !resumes => Err(NoOutput::Unfinished(out.to_owned())),
            Ok(text) => {
                let read = Checkpoint::read(&text, recipe);
                read.map(Some).map_err(|why| journal(why.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if resumes && !is_empty {
                    return Err(NoOutput::Finished(out.to_owned()));
                }
                Ok(None)
            }
            Err(error) => Err(journal(error.to_string())),
        }
    }

    fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(checkpoint.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.directory.sync_all()
    }

    fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.directory.sync_all()
    }
}

/// Makes sure that a file is not the `other`, in which there is `what`.
fn refuse_twice(
    (path, file): (&Path, &OutputFile),
    other: Option<FileId>,
    what: &'static str,
) -> Result<(), NoOutput> {
    match file.id() {
        Some(own) if Some(own) == other => Err(NoOutput::Twice { path: path.to_owned(), what }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    const RECIPE: Hash = Hash(3);

    /// What became of some items: an answer, or nothing.
    type Outcomes = [Option<String>];

    fn record(number: u64, outcome: Option<&String>) -> ItemRecord {
        let failure = || ItemFailure { code: "timeout", detail: "late".into(), input: None };
        let outcome = outcome.map(|text| text.clone().into()).ok_or_else(failure);
        ItemRecord { number, hash: Hash(number.into()), end: number, outcome, held: 0 }
    }

    /// Goes on with a run. Returns false if it is cut off before its end.
    fn go_on(
        places: &OutputPlaces,
        resumes: bool,
        outcomes: &Outcomes,
        random: &mut fastrand::Rng,
    ) -> bool {
        let mut output = ItemOutput::open(places, RECIPE, resumes).expect("it can go on");
        output.begin().expect("it can be written");
        output.make_safe().expect("it can be written");
        let first = output.checkpoint().inputs;
        for (number, outcome) in (0..).zip(outcomes).skip(first as usize) {
            output.write(&record(number, outcome.as_ref())).expect("it can be written");
            match random.u8(..8) {
                0 | 1 => output.make_safe().expect("it can be written"),
                2 => return false,
                _ => {}
            }
        }
        output.make_safe().expect("it can be written");
        // It may be cut off between its last checkpoint and its end.
        random.bool() && output.finish().is_ok()
    }

    /// Of what was written after the last checkpoint the disk may have any beginning, or anything.
    fn tear(path: &Path, safe: u64, random: &mut fastrand::Rng) {
        let file = OpenOptions::new().write(true).open(path).expect("it is there");
        let length = file.metadata().expect("it is there").len();
        file.set_len(random.u64(safe..=length.max(safe))).expect("it can be cut");
        if random.bool() {
            file.set_len(safe + random.u64(..50)).expect("it can grow");
        }
    }

    #[test]
    fn a_run_that_is_cut_off_anywhere_and_goes_on_writes_the_same_bytes() {
        let name = format!("httpipe-map-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory for tests");
        let places = OutputPlaces {
            out: Some(directory.join("out")),
            failed: Some(directory.join("failed")),
            input: None,
            separator: Separator::Line,
            unordered: false,
            tell: |_| {},
        };
        let (out, failed) = (directory.join("out"), directory.join("failed"));
        let mut cuts = 0;
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let outcomes: Vec<_> = (0..random.usize(..20))
                .map(|_| (random.u8(..4) > 0).then(|| "x".repeat(random.usize(..40))))
                .collect();
            let mut resumes = false;
            while !go_on(&places, resumes, &outcomes, &mut random) {
                let journal = fs::read_to_string(directory.join("out.progress"));
                let journal = Checkpoint::read(&journal.expect("it is there"), RECIPE);
                let checkpoint = journal.expect("it is whole");
                tear(&out, checkpoint.out_bytes, &mut random);
                tear(&failed, checkpoint.failed_bytes, &mut random);
                (resumes, cuts) = (true, cuts + 1);
            }
            let expected: String =
                outcomes.iter().map(|it| it.clone().unwrap_or_default() + "\n").collect();
            assert_eq!(fs::read_to_string(&out).expect("it is there"), expected, "seed {seed}");
            let lost: Vec<_> = (0..outcomes.len()).filter(|at| outcomes[*at].is_none()).collect();
            let told = fs::read_to_string(&failed).expect("it is there");
            let told = told.lines().map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
                line["index"].as_u64().expect("a number") as usize
            });
            assert_eq!(told.collect::<Vec<_>>(), lost, "seed {seed}");
        }
        assert!(cuts > 30, "{cuts} cuts");
        fs::remove_dir_all(&directory).expect("it is there");
    }
}
