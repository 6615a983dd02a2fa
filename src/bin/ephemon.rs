//! `ephemon`: the node agent and the demo.

fn main() {}
