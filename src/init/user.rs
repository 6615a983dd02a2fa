//! Resolves `USER[:GROUP]` with the container's own `/etc/passwd` and `/etc/group`, as container
//! runtimes do: names or numbers, numbers need no entry, supplementary groups come from the group
//! file.

use std::{fs::File, io::Read, path::Path};

/// Longest user or group file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The user of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, if the user has an entry.
    pub home: Option<String>,
}

/// A user or group that is not a number and has no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image has no {what} {name:?}")]
pub(super) struct Unknown {
    what: &'static str,
    name: String,
}

/// Resolves `wanted` with the files in `etc`.
pub(super) fn resolve(wanted: &str, etc: &Path) -> Result<Identity, Unknown> {
    by(wanted, &read(&etc.join("passwd")), &read(&etc.join("group")))
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        // Without the file only numbers are known.
        Err(_) => String::new(),
    }
}

fn by(wanted: &str, passwd: &str, group: &str) -> Result<Identity, Unknown> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        let id = fields.get(2).and_then(|id| id.parse::<u32>().ok());
        fields.first() == Some(&user) || (number.is_some() && id == number)
    });
    let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at)).copied();
    let uid = field(2).and_then(|id| id.parse().ok()).or(number);
    let uid = uid.ok_or_else(|| Unknown { what: "user", name: user.to_owned() })?;
    let gid = match wanted_group {
        Some(name) => {
            group_id(name, group).ok_or_else(|| Unknown { what: "group", name: name.to_owned() })?
        }
        None => field(3).and_then(|id| id.parse().ok()).unwrap_or(0),
    };
    // As in runc: an explicit group replaces the supplementary groups.
    let groups = match field(0) {
        Some(name) if wanted_group.is_none() => member_of(name, group),
        _ => Vec::new(),
    };
    let home = field(5).filter(|home| !home.is_empty()).map(str::to_owned);
    Ok(Identity { uid, gid, groups, home })
}

fn group_id(name: &str, group: &str) -> Option<u32> {
    let named = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    });
    named.or_else(|| name.parse().ok())
}

fn member_of(user: &str, group: &str) -> Vec<u32> {
    let ids = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let id = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member.trim() == user).then_some(id)
    });
    ids.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nnode:x:1000:\ndocker:x:999:root,node\nweb:x:33:node\n";

    fn check(wanted: &str, uid: u32, gid: u32, groups: &[u32]) {
        let identity = by(wanted, PASSWD, GROUP).expect("known");
        assert_eq!(
            (identity.uid, identity.gid, identity.groups.as_slice()),
            (uid, gid, groups),
            "{wanted}"
        );
    }

    #[test]
    fn names_and_numbers_are_resolved() {
        check("node", 1000, 1000, &[999, 33]);
        check("1000", 1000, 1000, &[999, 33]);
        check("node:docker", 1000, 999, &[]);
        check("node:7", 1000, 7, &[]);
        check("4242", 4242, 0, &[]);
        check("4242:4242", 4242, 4242, &[]);
        check("root", 0, 0, &[999]);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(by("nobody", PASSWD, GROUP).is_err());
        assert!(by("node:wheel", PASSWD, GROUP).is_err());
        assert!(by("", PASSWD, GROUP).is_err());
        assert!(by("node", "", "").is_err());
    }

    proptest! {
        #[test]
        fn any_files_are_read(wanted in "[a-z0-9:]{0,6}", passwd in "[a-z0-9:\n]{0,60}", group in "[a-z0-9:,\n]{0,60}") {
            drop(by(&wanted, &passwd, &group));
        }
    }
}
