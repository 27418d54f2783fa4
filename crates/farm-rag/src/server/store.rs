//! What callers brought: trees as lists of files, and contents by blob id.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farm_core::id::Oid;
use farm_core::port::{Blobs, TreeFile};

use crate::lru::Lru;

/// Holds trees and contents, each within its bytes. What was not used for longest goes first; a tree that lost a blob is as
/// good as gone, until a caller brings that blob again.
pub(crate) struct Store {
    held: Mutex<Held>,
}

struct Held {
    trees: Lru<Oid, Arc<Tree>>,
    contents: Lru<Oid, Arc<[u8]>>,
}

/// A tree as its caller listed it.
pub(crate) struct Tree {
    pub(crate) files: Vec<TreeFile>,
    /// Blobs that the caller did not bring: too large, or not to be read. Their files count by their paths.
    pub(crate) absent: HashSet<Oid>,
}

/// About what a file of a tree takes.
pub(crate) fn file_bytes(file: &TreeFile) -> usize {
    const ALLOCATIONS: usize = 32;
    size_of::<TreeFile>() + file.path.len() + file.oid.as_str().len() + ALLOCATIONS
}

impl Store {
    pub(crate) fn new(content_bytes: usize, tree_bytes: usize) -> Self {
        let held = Held { trees: Lru::new(tree_bytes), contents: Lru::new(content_bytes) };
        Self { held: Mutex::new(held) }
    }

    pub(crate) fn has(&self, oid: &Oid) -> bool {
        self.content(oid).is_some()
    }

    pub(crate) fn content(&self, oid: &Oid) -> Option<Arc<[u8]>> {
        self.held().contents.get(oid)
    }

    /// False if it alone is too large. It is copied, because what came over the wire may keep its whole buffer alive.
    pub(crate) fn put_content(&self, oid: Oid, content: &[u8]) -> bool {
        self.held().contents.insert(oid, Arc::from(content), content.len())
    }

    /// False if the tree is too large, or not all of its contents could be held at once.
    pub(crate) fn put_tree(&self, oid: &Oid, tree: Tree) -> bool {
        let bytes = tree.files.iter().map(file_bytes).sum::<usize>() + tree.absent.len() * size_of::<Oid>();
        let mut held = self.held();
        held.is_whole(&tree) && held.trees.insert(oid.clone(), Arc::new(tree), bytes)
    }

    /// The tree, if it and all of its contents are held.
    pub(crate) fn tree(self: &Arc<Self>, oid: &Oid) -> Option<TreeBlobs> {
        let mut held = self.held();
        let tree = held.trees.get(oid)?;
        held.is_whole(&tree).then(|| TreeBlobs { tree, store: Arc::clone(self) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A panic under the lock leaves at worst a wrong count of bytes.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Asks for every content, so that those of one tree age together.
    fn is_whole(&mut self, tree: &Tree) -> bool {
        let is_lost =
            |file: &&TreeFile| !tree.absent.contains(&file.oid) && self.contents.get(&file.oid).is_none();
        tree.files.iter().filter(is_lost).count() == 0
    }
}

/// A held tree, as a search reads it.
pub(crate) struct TreeBlobs {
    tree: Arc<Tree>,
    store: Arc<Store>,
}

impl Blobs for TreeBlobs {
    fn files(&self) -> Vec<TreeFile> {
        self.tree.files.clone()
    }

    fn read(&self, oid: &Oid) -> Option<Vec<u8>> {
        self.store.content(oid).map(|content| content.to_vec())
    }
}
