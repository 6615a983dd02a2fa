//! The images of workflows, of the runner and of ephemon, once for each node.

use std::collections::HashSet;
use std::sync::Mutex;

use ephemon_base::lock;

use super::real_node::RealNode;
use super::workflow_images;

/// Gives the runner that has a Node.js to a node that has not got it yet.
pub(crate) fn import_node(node: &RealNode) {
    static DONE: Mutex<Option<HashSet<i32>>> = Mutex::new(None);
    let mut done = lock(&DONE);
    if !done.get_or_insert_default().insert(node.first()) {
        return;
    }
    let scratch = node.folder().join("node-image");
    std::fs::create_dir(&scratch).unwrap();
    node.import(&workflow_images::node_archive(&scratch));
    std::fs::remove_dir_all(&scratch).unwrap();
}

/// Gives them to a node that has not got them yet.
pub(crate) fn import_once(node: &RealNode) {
    static DONE: Mutex<Option<HashSet<i32>>> = Mutex::new(None);
    let mut done = lock(&DONE);
    if done.get_or_insert_default().insert(node.first()) {
        let scratch = node.folder().join("workflow-images");
        std::fs::create_dir(&scratch).unwrap();
        node.import(&workflow_images::archive(&scratch));
    }
}
