//! Groups in an engine's directory that are not captured: what the directory's counter has of them is
//! nobody's.

use std::path::Path;

use ephemon_cgroup::nested_name::{self, NestedName};

use super::CgroupEvent;

/// Whether it is a directory in which an engine makes only groups of containers.
fn is_engines(directory: &Path) -> bool {
    nested_name::engines_directory(&directory.join("x")).is_some()
}

/// A group that is not captured: what is used in its engine's directory is not only that of captured
/// containers.
pub(super) fn is_foreign(group: &Path, events: &mut Vec<CgroupEvent>) {
    if group.parent().is_some_and(is_engines) {
        events.push(CgroupEvent::Foreign(group.to_owned()));
    }
}

/// Whether an engine names a group so that has processes: a container's, or one of its own, such as
/// that of podman's monitors.
pub fn holds_processes(group: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let names = group.parent().and_then(name).zip(name(group));
    names.is_some_and(|(parent, name)| nested_name::parse(&parent, &name) != NestedName::Directory)
}

/// A directory was removed that may have been such a group.
pub(super) fn is_gone(group: &Path, events: &mut Vec<CgroupEvent>) {
    if holds_processes(group) && group.parent().is_some_and(is_engines) {
        events.push(CgroupEvent::ForeignGone(group.to_owned()));
    }
}

pub(super) fn may_be_unseen(directory: &Path, events: &mut Vec<CgroupEvent>) {
    if is_engines(directory) {
        events.push(CgroupEvent::Unseen(directory.to_owned()));
    }
}
