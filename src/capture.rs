//! From cgroup files to figures with a quality.

pub mod books;
