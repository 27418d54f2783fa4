//! Runs one command, contained and limited, over a writable view of a shared read-only tree.
//!
//! Three words: a [`Sandbox`] is proved once, when a worker starts; a [`Workspace`] is what a task's commands may write;
//! a [`Command`] goes in and a [`Finished`] comes out. Nothing here knows of tasks, checks or git.
//!
//! ```text
//! worker ── fork ── child ────────────────────────────── exec ── bwrap ── init (pid 1) ── the command
//!                   binds, uid dropped, user namespace,          new pid, net, ipc, uts and
//!                   overlay mounted, limits set                  mount namespaces, no capability
//! ```
//!
//! In reading order:
//! - [`command`]: what to run, its limits, and what came of it;
//! - [`sandbox`]: the probe and the one way to run; `sandbox::probe` holds the canaries;
//! - [`workspace`]: overlay or copy; laying files, reading files, listing what changed; never follows a link;
//! - [`toolchains`]: compilers and interpreters outside `/usr`, mounted without the home folders around them;
//! - `launch`: the bubblewrap argument list and the steps before it; `child`: those steps after fork, in raw system
//!   calls; `spawn`: the thread that forks; `supervise`: output, time limit, killing, reaping;
//! - `idmap`: shows root's files to a slot as its own; `session`: the folder that dies with the worker.

pub mod command;
pub mod sandbox;
pub mod toolchains;
pub mod workspace;

mod child;
mod idmap;
mod launch;
mod output;
mod session;
mod spawn;
mod supervise;

pub use command::{Captured, Command, Exit, Finished, Limits, Mount, SCRATCH_DIR, WORKSPACE_DIR};
pub use sandbox::{Sandbox, SandboxError, Settings, Tier, Unavailable};
pub use toolchains::Toolchains;
pub use workspace::{Change, ChangeKind, EntryKind, Workspace, WorkspaceError};
