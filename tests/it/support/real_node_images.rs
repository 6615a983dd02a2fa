//! The images of workflows, of the runner, of engines and of ephemon, once for each node.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ephemon_base::lock;

use super::real_node::RealNode;
use super::{engine_image, workflow_images};

/// Nodes that have the images of an archive, by their first process.
type Done = Mutex<Option<HashSet<i32>>>;

/// Gives the runner that has a Node.js to a node that has not got it yet.
pub(crate) fn import_node(node: &RealNode) {
    static DONE: Done = Mutex::new(None);
    import(node, &DONE, "node-image", workflow_images::node_archive);
}

/// Gives the image of engines to a node that has not got it yet.
pub(crate) fn import_engines(node: &RealNode) {
    static DONE: Done = Mutex::new(None);
    import(node, &DONE, "engine-image", engine_image::archive);
}

/// Gives the others to a node that has not got them yet.
pub(crate) fn import_once(node: &RealNode) {
    static DONE: Done = Mutex::new(None);
    import(node, &DONE, "workflow-images", workflow_images::archive);
}

/// Each waits until the node has them, whoever gives them to it.
fn import(node: &RealNode, done: &Done, folder: &str, archive: fn(&Path) -> PathBuf) {
    let mut done = lock(done);
    if !done.get_or_insert_default().insert(node.first()) {
        return;
    }
    let scratch = node.folder().join(folder);
    std::fs::create_dir(&scratch).unwrap();
    node.import(&archive(&scratch));
    std::fs::remove_dir_all(&scratch).unwrap();
}
