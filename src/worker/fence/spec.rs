//! How the server tells the shim what a program in a sandbox may do: one argument for each thing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::config::{JobsSettings, OtherUser, Sandbox};

/// What a program may do, as its shim is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// What it may read and execute.
    pub read: Vec<PathBuf>,
    /// Directories whose names it may list.
    pub list: Vec<PathBuf>,
    /// What it may write.
    pub write: Vec<PathBuf>,
    /// It may use the network.
    pub network: bool,
    /// Most bytes of the data of each process.
    pub memory: Option<u64>,
    /// Most processes of its user.
    pub processes: Option<u64>,
    /// Most bytes of a file that it writes.
    pub file: Option<u64>,
    /// Who it becomes.
    pub user: Option<UserIds>,
    /// It becomes its user, and nothing else holds.
    pub open: bool,
    /// The control group that it enters, which bounds its memory in place of `memory`.
    pub group: Option<PathBuf>,
}

/// A user, as the kernel knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIds {
    /// Their number.
    pub id: u32,
    /// Their first group.
    pub group: u32,
    /// All their groups.
    pub groups: Vec<u32>,
}

/// Writes what a program may do that has this directory for its temporary files. `binary` is our own,
/// which must still run inside to say why a program does not.
pub fn words(sandbox: &Sandbox, temporary: &Path, binary: &Path) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut put = |name: &str, value: &OsStr| {
        let mut word = OsString::from(name);
        word.push(value);
        words.push(word);
    };
    let mut around = Around::default();
    // Where a link leads to a secret, it may lead to a newer one by now.
    let newer = sandbox.hidden.iter().filter_map(|path| path.canonicalize().ok());
    let hidden: Vec<PathBuf> = sandbox.hidden.iter().cloned().chain(newer).collect();
    sandbox.system.iter().for_each(|root| around.allow(root, &hidden));
    around.read.iter().chain(&sandbox.read).for_each(|path| put("read=", path.as_os_str()));
    put("read=", binary.as_os_str());
    around.list.iter().for_each(|path| put("list=", path.as_os_str()));
    put("write=", temporary.as_os_str());
    sandbox.write.iter().for_each(|path| put("write=", path.as_os_str()));
    for (name, holds) in [("network", sandbox.network), ("open", sandbox.open)] {
        if holds {
            put(name, OsStr::new(""));
        }
    }
    let numbers = [
        ("memory=", sandbox.memory.map(|size| size.0)),
        ("processes=", sandbox.processes),
        ("file=", sandbox.file_most().map(|size| size.0)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            put(name, OsStr::new(&number.to_string()));
        }
    }
    if let Some(user) = &sandbox.user {
        put("user=", OsStr::new(&user_word(user)));
    }
    words
}

/// Writes that a program enters a control group.
pub fn group_word(group: &Path) -> OsString {
    let mut word = OsString::from("group=");
    word.push(group);
    word
}

/// Writes a user as `ID:GROUP:GROUP,GROUP`.
fn user_word(user: &OtherUser) -> String {
    let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
    format!("{}:{}:{}", user.id, user.group, groups.join(","))
}

/// Reads what [`user_word`] writes. Root is nobody that a program becomes.
fn user_ids(word: &[u8]) -> Option<UserIds> {
    let mut parts = std::str::from_utf8(word).ok()?.split(':');
    let mut next = || parts.next();
    let (id, group, groups) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?);
    let groups = groups.split(',').filter(|number| !number.is_empty()).map(str::parse);
    let user = UserIds { id, group, groups: groups.collect::<Result<_, _>>().ok()? };
    (user.id != 0 && next().is_none()).then_some(user)
}

/// What may be read around files that are hidden.
#[derive(Debug, Default)]
struct Around {
    read: Vec<PathBuf>,
    /// Directories whose names may be listed, and no more.
    list: Vec<PathBuf>,
}

impl Around {
    /// Allows reading all below a real path, except these files. A rule cannot take back what another
    /// allows, so each directory on the way to them is taken apart.
    fn allow(&mut self, root: &Path, hidden: &[PathBuf]) {
        let leads_to_hidden = |path: &Path| hidden.iter().any(|file| file.starts_with(path));
        if hidden.iter().any(|file| is_backup(root, file)) {
            return;
        }
        if !leads_to_hidden(root) {
            self.read.push(root.to_owned());
            return;
        }
        if hidden.iter().any(|file| file == root) {
            return;
        }
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let Ok(real) = entry.path().canonicalize() else { continue };
            // A link allows nothing around hidden files, and may lead in a circle.
            if real == entry.path() || !leads_to_hidden(&real) {
                self.allow(&real, hidden);
            }
        }
        self.list.push(root.to_owned());
    }
}

/// Returns true if a file is a backup of another one, as operators have them written of the jobs.
fn is_backup(path: &Path, file: &Path) -> bool {
    let rest = path.as_os_str().as_bytes().strip_prefix(file.as_os_str().as_bytes());
    rest.is_some_and(|rest| rest.starts_with(JobsSettings::BACKUP.as_bytes()))
}

/// Reads what a program may do; `None`: a word has no meaning.
pub fn read(words: impl Iterator<Item = OsString>) -> Option<Spec> {
    let mut spec = Spec::default();
    for word in words {
        let bytes = word.as_bytes();
        let split = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
        let value = bytes.get(split + 1..).unwrap_or_default();
        let path = || PathBuf::from(OsString::from_vec(value.to_vec()));
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        match &bytes[..split] {
            b"read" => spec.read.push(path()),
            b"list" => spec.list.push(path()),
            b"write" => spec.write.push(path()),
            b"network" => spec.network = true,
            b"open" => spec.open = true,
            b"memory" => spec.memory = Some(number()?),
            b"processes" => spec.processes = Some(number()?),
            b"file" => spec.file = Some(number()?),
            b"group" => spec.group = Some(path()),
            b"user" => spec.user = Some(user_ids(value)?),
            _ => return None,
        }
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::ByteSize;

    #[test]
    fn what_is_written_is_read_again_whatever_a_path_holds() {
        let odd = PathBuf::from(OsString::from_vec(b"/a=b\n\xff ".to_vec()));
        let sandbox = Sandbox {
            system: vec!["/usr".into()],
            hidden: vec![],
            read: vec![odd.clone()],
            write: vec![odd.clone()],
            network: true,
            memory: Some(ByteSize(7)),
            processes: Some(3),
            user: Some(OtherUser { id: 7, group: 8, groups: vec![8, 9], ..OtherUser::default() }),
            open: true,
        };
        let expected = Spec {
            read: vec!["/usr".into(), odd.clone(), "/no".into()],
            list: vec![],
            write: vec!["/tmp/x".into(), odd],
            network: true,
            memory: Some(7),
            processes: Some(3),
            file: None,
            user: Some(UserIds { id: 7, group: 8, groups: vec![8, 9] }),
            open: true,
            group: Some("/sys/g=".into()),
        };
        let mut written = words(&sandbox, Path::new("/tmp/x"), Path::new("/no"));
        written.push(group_word(Path::new("/sys/g=")));
        assert_eq!(read(written.into_iter()), Some(expected));
        let plain = words(&Sandbox::default(), Path::new("/t"), Path::new("/no"));
        assert_eq!(plain, ["read=/no", "write=/t", "file=1073741824"]);
        let alone = read(std::iter::once(OsString::from("user=7:8:"))).expect("a user");
        assert_eq!(alone.user, Some(UserIds { id: 7, group: 8, groups: vec![] }));
        for wrong in [
            "",
            "raed=/usr",
            "memory=",
            "memory=-1",
            "processes=x",
            "user=",
            "user=7",
            "user=7:8",
            "user=0:0:",
            "user=7:8:x",
            "user=7:8:9:",
            "user=-1:8:",
        ] {
            assert_eq!(read(std::iter::once(OsString::from(wrong))), None, "{wrong}");
        }
    }

    #[test]
    fn a_hidden_file_takes_its_directories_apart() {
        let mut around = Around::default();
        around.allow(Path::new("/etc"), &["/etc/passwd".into()]);
        assert_eq!(around.list, [Path::new("/etc")]);
        assert!(around.read.iter().any(|path| path.ends_with("group")), "{around:?}");
        assert!(!around.read.iter().any(|path| path.ends_with("passwd")), "{around:?}");
        assert!(!around.read.contains(&"/etc".into()));
    }

    #[test]
    fn a_link_around_a_hidden_file_leads_nowhere() {
        let dir = std::env::temp_dir().join(format!("httpipe-around-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("inner")).expect("a directory");
        let dir = dir.canonicalize().expect("it is there");
        for name in ["hidden", "other"] {
            std::fs::write(dir.join(name), "").expect("a file");
        }
        let link =
            |to: &Path, name| std::os::unix::fs::symlink(to, dir.join(name)).expect("a link");
        link(&dir, "inner/circle");
        link(&dir, "circle");
        link(&dir.join("hidden"), "alias");
        let mut around = Around::default();
        around.allow(&dir, &[dir.join("hidden")]);
        std::fs::remove_dir_all(&dir).expect("it is ours");
        around.read.sort();
        assert_eq!(around.read, [dir.join("inner"), dir.join("other")]);
        assert_eq!(around.list, [dir]);
    }

    /// `certbot` writes `privkey2.pem`, and then lets a link lead there.
    #[test]
    fn a_secret_stays_hidden_when_its_link_leads_to_a_newer_one() {
        let dir = std::env::temp_dir().join(format!("httpipe-newer-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("archive")).expect("a directory");
        let dir = dir.canonicalize().expect("it is there");
        let file = |name: &str| dir.join("archive").join(name);
        for name in ["key1", "key2", "cert1"] {
            std::fs::write(file(name), "").expect("a file");
        }
        std::os::unix::fs::symlink("archive/key2", dir.join("key")).expect("a link");
        let hidden = vec![file("key1"), dir.join("key")];
        let sandbox = Sandbox { system: vec![dir.clone()], hidden, ..Sandbox::default() };
        let words = words(&sandbox, Path::new("/t"), Path::new("/no"));
        std::fs::remove_dir_all(&dir).expect("it is ours");
        let spec = read(words.into_iter()).expect("what we write we read");
        assert_eq!(spec.read, [file("cert1"), "/no".into()]);
    }

    /// They are made while the server runs, and a worker that starts later must not read them either.
    #[test]
    fn backups_of_a_hidden_file_are_hidden() {
        let dir = std::env::temp_dir().join(format!("httpipe-backups-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let dir = dir.canonicalize().expect("it is there");
        let file = |name: &str| dir.join(name);
        for name in ["jobs.db", "jobs.db.backup-1", "jobs.db.backup-1-2", "jobs.dbx", "x.backup-1"]
        {
            std::fs::write(file(name), "").expect("a file");
        }
        let mut around = Around::default();
        around.allow(&dir, &[file("jobs.db")]);
        std::fs::remove_dir_all(&dir).expect("it is ours");
        around.read.sort();
        assert_eq!(around.read, [file("jobs.dbx"), file("x.backup-1")]);
    }

    proptest! {
        #[test]
        fn paths_of_any_bytes_are_read_as_they_were_written(
            texts in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..20), 0..8),
        ) {
            let paths: Vec<PathBuf> =
                texts.into_iter().map(|text| OsString::from_vec(text).into()).collect();
            let sandbox = Sandbox { read: paths.clone(), write: paths.clone(), ..Sandbox::default() };
            let words = words(&sandbox, Path::new("/t"), Path::new("/no"));
            let spec = read(words.into_iter()).expect("what we write we read");
            let (binary, read) = spec.read.split_last().expect("our own binary");
            prop_assert_eq!(binary, Path::new("/no"));
            prop_assert_eq!((read, &spec.write[1..]), (&*paths, &*paths));
            prop_assert!(spec.list.is_empty() && !spec.network && spec.memory.is_none());
        }
    }
}
