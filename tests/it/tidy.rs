//! The source tree's own rules.
