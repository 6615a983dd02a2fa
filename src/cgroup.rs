//! The kernel's cgroup files, version 1 and 2: where they are and what they say.
