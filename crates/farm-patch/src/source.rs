//! What the engine is given: the reply, the files at the base, and the limits.

use serde::{Deserialize, Serialize};

/// The files that a reply may speak of, as they are at the base.
pub trait Source {
    /// Reads one file; `None` when the base has nothing at that path.
    ///
    /// A link or a submodule is answered with its [`Mode::Other`], so that it can be refused; a directory with `None`.
    fn read(&self, path: &str) -> Option<File>;
}

/// One file of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub mode: Mode,
}

/// What kind of entry a path is, in git's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    Regular,
    Executable,
    /// Anything that the engine never writes: a link (`0o120000`), a submodule (`0o160000`), odd permission bits.
    Other(u32),
}

impl Mode {
    pub const LINK: u32 = 0o120_000;
    pub const SUBMODULE: u32 = 0o160_000;

    /// Reads git's number of a mode.
    pub fn from_bits(bits: u32) -> Mode {
        match bits {
            0o100_644 => Mode::Regular,
            0o100_755 => Mode::Executable,
            other => Mode::Other(other),
        }
    }

    /// Gives git's number of the mode.
    pub fn bits(self) -> u32 {
        match self {
            Mode::Regular => 0o100_644,
            Mode::Executable => 0o100_755,
            Mode::Other(bits) => bits,
        }
    }
}

/// One reply to be applied.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub reply: &'a str,
    /// The task's path, used only where the reply names none.
    pub path: Option<&'a str>,
    pub limits: Limits,
}

/// How much the engine takes on before it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_reply_bytes: usize,
    pub max_file_bytes: usize,
    pub max_files: usize,
    pub max_hunks: usize,
    /// Line comparisons that all hunks together may cost: what keeps adversarial repeats from being quadratic.
    pub max_comparisons: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_reply_bytes: 16 << 20,
            max_file_bytes: 64 << 20,
            max_files: 2_000,
            max_hunks: 100_000,
            max_comparisons: 50_000_000,
        }
    }
}
