//! Git for the farm: mirrors, trees, deltas, exports, branches and pushes.
//!
//! Two tools do the work. The network belongs to the git command ([`mirror`]): it is the reference for protocols and
//! credentials, and several times faster than libgit2 at pushing. Local objects belong to libgit2 ([`objects`]), used
//! without checkout, config, hooks, filters or attributes, so that nothing inside a repository decides what runs here.
//!
//! Read in this order: [`remote`] (what a repository is to us), [`credentials`] (references to secrets, looked up here),
//! [`command`] (how git is run), [`mirror`] (one bare copy a remote, fetched incrementally, pushed from), [`objects`]
//! (reading and writing trees and commits), [`exports`] (shared read-only trees on disk), [`path`] (which paths may be
//! written) and [`error`].

pub mod remote;

pub mod credentials;

pub mod command;

pub mod mirror;

pub mod objects;

pub mod exports;

pub mod path;

mod lock;

pub mod error;
