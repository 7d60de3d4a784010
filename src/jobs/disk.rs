//! What the store must know of the disk it is on.

use std::io;
use std::path::Path;

use rustix::fs::{statfs, statvfs};

/// The types of file systems on which locks or writes cannot be relied on, by the names people know.
const NETWORK: [(u64, &str); 7] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
];

/// Returns how many bytes the file system of a directory has left for us.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Returns the name of the network file system that a directory is on; `None`: it is on none.
pub fn network(directory: &Path) -> io::Result<Option<&'static str>> {
    let kind = statfs(directory)?.f_type;
    // The type of the field differs between systems, its 32 bits do not.
    Ok(network_of((kind as u64) & 0xffff_ffff))
}

fn network_of(kind: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_disks_have_room_and_are_no_network() {
        let here = Path::new("/tmp");
        assert!(free_bytes(here).expect("it is there") > 0);
        assert_eq!(network(here).expect("it is there"), None);
        assert!(free_bytes(Path::new("/nowhere")).is_err());
        assert_eq!([network_of(0x6969), network_of(0xef53)], [Some("NFS"), None]);
    }
}
