//! One Index call: a manifest (or several, for a large tree), after each the ids that are missing, then their contents, then
//! the tree is searchable.

use std::collections::HashSet;

use farm_core::id::Oid;
use farm_core::port::TreeFile;
use farm_wire::v1;
use sha1::Digest;
use tonic::Status;

use super::store::{Store, Tree, file_bytes};
use crate::extract::MAX_SOURCE_BYTES;

/// Longer paths are not made by people.
const MAX_PATH_BYTES: usize = 4_096;

/// A tree that is being brought.
pub(crate) struct Upload<'a> {
    store: &'a Store,
    max_bytes: usize,
    tree: Option<Oid>,
    files: Vec<TreeFile>,
    bytes: usize,
    /// Asked for and not yet here.
    missing: HashSet<Oid>,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(store: &'a Store, max_bytes: usize) -> Self {
        Self { store, max_bytes, tree: None, files: Vec::new(), bytes: 0, missing: HashSet::new() }
    }

    /// Takes a part of the list of files; answers what of it is missing.
    pub(crate) fn manifest(&mut self, manifest: v1::Manifest) -> Result<v1::Missing, Status> {
        let tree = object_id("manifest.tree", manifest.tree)?;
        if self.tree.get_or_insert_with(|| tree.clone()) != &tree {
            return Err(Status::invalid_argument("one Index call is about one tree, found a second"));
        }
        let mut missing = Vec::new();
        for entry in manifest.entries {
            let oid = object_id("manifest.entries.oid", entry.oid)?;
            if entry.path.is_empty() || entry.path.len() > MAX_PATH_BYTES {
                return Err(Status::invalid_argument(format!(
                    "a path must have 1 to {MAX_PATH_BYTES} bytes"
                )));
            }
            let file = TreeFile { path: entry.path, oid, size: entry.size };
            self.bytes += file_bytes(&file);
            if self.bytes > self.max_bytes {
                let max = self.max_bytes;
                return Err(Status::resource_exhausted(format!(
                    "the tree's list of files takes more than {max} bytes"
                )));
            }
            let is_source = file.size <= MAX_SOURCE_BYTES as u64;
            if is_source && !self.store.has(&file.oid) && self.missing.insert(file.oid.clone()) {
                missing.push(file.oid.to_string());
            }
            self.files.push(file);
        }
        Ok(v1::Missing { oids: missing })
    }

    /// Takes a content that was asked for, and is what its id says.
    pub(crate) fn blob(&mut self, blob: v1::Blob) -> Result<(), Status> {
        let oid = object_id("blob.oid", blob.oid)?;
        if !self.missing.remove(&oid) {
            return Err(Status::invalid_argument(format!("blob {oid} was not asked for")));
        }
        if blob.content.len() > MAX_SOURCE_BYTES {
            return Err(Status::invalid_argument(format!("blob {oid} is larger than its manifest said")));
        }
        if !is_content_of(&oid, &blob.content) {
            return Err(Status::invalid_argument(format!("blob {oid} has another content than its id says")));
        }
        if self.store.put_content(oid, &blob.content) { Ok(()) } else { Err(too_large()) }
    }

    /// Makes the tree searchable; what was asked for and did not come counts by its path.
    pub(crate) fn finish(self) -> Result<Oid, Status> {
        let Some(tree) = self.tree else {
            return Err(Status::invalid_argument("expected a manifest first, found the end"));
        };
        let is_absent =
            |file: &&TreeFile| file.size > MAX_SOURCE_BYTES as u64 || self.missing.contains(&file.oid);
        let absent = self.files.iter().filter(is_absent).map(|file| file.oid.clone()).collect();
        if self.store.put_tree(&tree, Tree { files: self.files, absent }) {
            Ok(tree)
        } else {
            Err(too_large())
        }
    }
}

fn too_large() -> Status {
    Status::resource_exhausted("the tree and its blobs do not fit the service's memory; raise its limit")
}

pub(crate) fn object_id(field: &str, text: String) -> Result<Oid, Status> {
    Oid::new(text).map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

/// Blobs are shared between callers, so that nobody may bring one under another's id.
fn is_content_of(oid: &Oid, content: &[u8]) -> bool {
    fn hex<D: Digest>(content: &[u8]) -> String {
        let digest =
            D::new().chain_update(format!("blob {}\0", content.len())).chain_update(content).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    let is_sha1 = oid.as_str().len() == 40;
    oid.as_str() == if is_sha1 { hex::<sha1::Sha1>(content) } else { hex::<sha2::Sha256>(content) }
}
