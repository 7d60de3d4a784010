//! Tries a pool that fails in its sandbox outside of it, and finds out what it misses inside.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Access, access};

use super::denials::{FenceDenial, Outside, denials, remedy};
use super::diagnosis::{CommandPlace, Diagnosis};
use super::examine::examine;
use super::finding::{Finding, Weight};
use super::questions::Plan;
use super::trial::{Limits, TrialContext, try_one};
use crate::config::{OtherUser, PoolSettings};
use crate::worker::traced::FailedCalls;

/// Returns what a pool that fails in its sandbox misses there; `None`: it fails outside, too, or has
/// no sandbox.
pub(super) async fn sandbox(
    pool: &PoolSettings,
    plan: &Plan,
    place: &CommandPlace,
    context: &TrialContext,
) -> io::Result<Option<Finding>> {
    if pool.program.launch.fence.sandbox().is_none() {
        return Ok(None);
    }
    let mut outside = pool.clone();
    outside.program.launch.fence = pool.program.launch.fence.outside();
    let examination = Box::pin(examine(&outside, plan, context)).await?;
    let why_not_asked = plan.why_none;
    let diagnosis =
        Diagnosis { settings: &outside, place, examination: &examination, why_not_asked };
    if diagnosis.findings().iter().any(|finding| finding.weight == Weight::Error) {
        return Ok(None);
    }
    let note = Finding::note(format!("pool `{}` works without its sandbox", pool.name));
    let Some(strace) = own_tool("strace") else {
        return Ok(Some(note.hint(
            "its lines on stderr name what it misses; allow that, as in `sandbox = { read = \
             [\"/srv/data\"], write = [\"/srv/out\"], network = true }`. With `strace` installed, this \
             check names it",
        )));
    };
    let refused = Box::pin(refused(pool, plan, &strace, context)).await?;
    Ok(Some(told(note, &refused)))
}

/// Finds a tool where the operator has it. The `PATH` of the pool does not count: what is found there would run
/// as this user, outside of the sandbox.
fn own_tool(name: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH")?;
    let mut tools = std::env::split_paths(&places)
        .filter(|place| place.is_absolute())
        .map(|place| place.join(name));
    tools.find(|tool| tool.is_file() && access(tool, Access::EXEC_OK).is_ok())
}

/// Asks a worker in the sandbox once more, and returns what it was refused.
async fn refused(
    pool: &PoolSettings,
    plan: &Plan,
    strace: &Path,
    context: &TrialContext,
) -> io::Result<Vec<FenceDenial>> {
    let calls = Rc::new(FailedCalls::new(strace, &context.guard)?);
    let traced = TrialContext { traced: Some(Rc::clone(&calls)), ..context.clone() };
    let limits = Limits { start: pool.rules.start_timeout, answer: pool.rules.timeout };
    try_one(pool, &plan.questions(0), limits, &traced).await?;
    let launch = &pool.program.launch;
    let user = launch.fence.sandbox().and_then(|sandbox| sandbox.user.as_ref());
    Ok(denials(&calls.text(), &launch.dir, &TheirUser(user)))
}

/// Adds to a note what was refused, and the line that allows it.
fn told(mut note: Finding, refused: &[FenceDenial]) -> Finding {
    for denial in refused {
        let (name, what) = match denial {
            FenceDenial::Read(path) => ("read", path.display().to_string()),
            FenceDenial::Write(path) => ("write", path.display().to_string()),
            FenceDenial::Network => ("network", "a socket".to_owned()),
            FenceDenial::Call(name) => ("call", format!("`{name}`, which nothing allows")),
        };
        note = note.row(name, what);
    }
    let hint = match remedy(refused) {
        Some(line) => format!("this allows what it was refused last: `{line}`"),
        None => "its lines on stderr may say what it misses".to_owned(),
    };
    note.hint(hint)
}

/// What the user of the workers may do; `None`: this one.
struct TheirUser<'a>(Option<&'a OtherUser>);

impl TheirUser<'_> {
    fn may(&self, path: &Path, what: Access) -> bool {
        match self.0 {
            None => access(path, what).is_ok(),
            Some(user) => is_allowed(user, path, what.bits()),
        }
    }
}

/// Returns true if the modes of a file and of the directories above it allow this to a user.
fn is_allowed(user: &OtherUser, path: &Path, what: u32) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let allows = |path: &Path, what: u32| {
        let Ok(about) = path.metadata() else { return false };
        let of_group = user.groups.contains(&about.gid());
        let shift = if about.uid() == user.id { 6 } else { 3 * u32::from(of_group) };
        (about.mode() >> shift) & what == what
    };
    allows(&real, what) && real.ancestors().skip(1).all(|dir| allows(dir, Access::EXEC_OK.bits()))
}

impl Outside for TheirUser<'_> {
    fn reads(&self, path: &Path) -> bool {
        self.may(path, Access::READ_OK)
    }

    fn writes(&self, path: &Path) -> bool {
        let is_there = path.symlink_metadata().is_ok();
        let parent = path.parent().unwrap_or(path);
        self.may(if is_there { path } else { parent }, Access::WRITE_OK)
    }

    fn real(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_of_a_file_say_what_another_user_may() {
        let nobody = OtherUser { id: 65534, group: 65534, ..OtherUser::default() };
        let root = OtherUser { id: 0, groups: vec![0], ..OtherUser::default() };
        let read = Access::READ_OK.bits();
        assert!(is_allowed(&nobody, Path::new("/etc/passwd"), read));
        assert!(!is_allowed(&nobody, Path::new("/etc/passwd"), Access::WRITE_OK.bits()));
        assert!(is_allowed(&root, Path::new("/etc/passwd"), Access::WRITE_OK.bits()));
        assert!(!is_allowed(&nobody, Path::new("/etc/shadow"), read));
        assert!(!is_allowed(&nobody, Path::new("/no/such"), read));
    }
}
