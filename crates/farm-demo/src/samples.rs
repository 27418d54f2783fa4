//! Three small repositories whose checks run with what a Rust machine has: cargo, python3 and sh.
//!
//! Their files are part of the program. The git command builds them with fixed names and dates, so that every machine has
//! the same commits.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use farm_core::id::{InvalidId, Oid};

/// A repository to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// `tally`; its bare repository is `tally.git`.
    pub name: &'static str,
    /// What it is written in.
    pub language: &'static str,
    /// All its files, by path.
    pub files: &'static [SampleFile],
}

/// A file of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleFile {
    /// Where it is.
    pub path: &'static str,
    /// All of it.
    pub content: &'static str,
    /// Whether it has the executable bit.
    pub executable: bool,
}

/// A repository that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The bare repository.
    pub path: PathBuf,
    /// The tip of [`BRANCH`].
    pub commit: Oid,
}

/// The branch that every sample has.
pub const BRANCH: &str = "main";

/// Who commits, and when: 2026-01-01 00:00:00 UTC.
const COMMITTER: &str = "Patchfarm Samples <samples@patchfarm.invalid> 1767225600 +0000";

macro_rules! files {
    ($sample:literal: $($mode:ident $path:literal,)*) => {
        &[$(SampleFile {
            path: $path,
            content: include_str!(concat!("../samples/", $sample, "/", $path)),
            executable: files!(@ $mode),
        }),*]
    };
    (@ plain) => { false };
    (@ executable) => { true };
}

/// Counts words and lines, in Rust.
pub const TALLY: Sample = Sample {
    name: "tally",
    language: "Rust",
    files: files!("tally":
        plain ".gitignore",
        plain "Cargo.lock",
        plain "Cargo.toml",
        plain "README.md",
        plain "patchfarm.toml",
        plain "src/count.rs",
        plain "src/lib.rs",
        plain "src/size.rs",
        plain "src/stats.rs",
    ),
};

/// Says hello in several languages, in Python.
pub const GREET: Sample = Sample {
    name: "greet",
    language: "Python",
    files: files!("greet":
        plain ".gitignore",
        plain "AGENTS.md",
        plain "README.md",
        plain "greet/__init__.py",
        plain "greet/__main__.py",
        plain "greet/clock.py",
        plain "greet/names.py",
        plain "greet/phrases.py",
        plain "patchfarm.toml",
        plain "tests/__init__.py",
        plain "tests/test_clock.py",
        plain "tests/test_names.py",
        plain "tests/test_phrases.py",
        plain "tools/rename.py",
    ),
};

/// Passes log lines on, in POSIX shell.
pub const RELAY: Sample = Sample {
    name: "relay",
    language: "sh",
    files: files!("relay":
        plain "README.md",
        executable "bin/relay",
        plain "deploy/production.conf",
        plain "lib/fields.sh",
        plain "lib/levels.sh",
        plain "lib/retry.sh",
        plain "patchfarm.toml",
        plain "tests/fields_test.sh",
        plain "tests/levels_test.sh",
        plain "tests/lint.sh",
        plain "tests/relay_test.sh",
        plain "tests/retry_test.sh",
        plain "tests/run.sh",
    ),
};

/// All of them.
pub const SAMPLES: [Sample; 3] = [TALLY, GREET, RELAY];

/// A sample could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// Something is there already.
    #[error("{path} exists already, choose an empty folder", path = path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The git command did not run.
    #[error("git {step} cannot be run: {source}; is git installed?")]
    NotRun {
        /// Its subcommand.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The git command failed.
    #[error("git {step} failed: {detail}")]
    Failed {
        /// Its subcommand.
        step: &'static str,
        /// What it said.
        detail: String,
    },
    /// The git command printed no commit.
    #[error("git rev-parse printed no commit: {source}")]
    NoCommit {
        /// What it printed instead.
        #[from]
        source: InvalidId,
    },
}

impl Sample {
    /// Builds the bare repository `<folder>/<name>.git`. Waits for the git command, so an async caller moves it off its
    /// runtime's threads.
    pub fn build(&self, folder: &Path) -> Result<Built, SampleError> {
        let path = folder.join(format!("{}.git", self.name));
        if path.exists() {
            return Err(SampleError::Exists { path });
        }
        let target = path.as_os_str();
        git(
            "init",
            Command::new("git")
                .args(["init", "--quiet", "--bare", "--template="])
                .arg(format!("--initial-branch={BRANCH}"))
                .arg(target),
            b"",
        )?;
        git(
            "fast-import",
            Command::new("git").arg("-C").arg(target).args(["fast-import", "--quiet"]),
            &self.import_stream(),
        )?;
        let commit =
            git("rev-parse", Command::new("git").arg("-C").arg(target).args(["rev-parse", BRANCH]), b"")?;
        Ok(Built { path, commit: Oid::new(commit.trim_end())? })
    }

    /// The one commit, as `git fast-import` reads it.
    fn import_stream(&self) -> Vec<u8> {
        let message = format!("{}: first version\n", self.name);
        let mut stream =
            format!("commit refs/heads/{BRANCH}\ncommitter {COMMITTER}\ndata {}\n{message}", message.len());
        for file in self.files {
            let mode = if file.executable { "100755" } else { "100644" };
            let (path, content) = (file.path, file.content);
            stream.push_str(&format!("M {mode} inline {path}\ndata {}\n{content}\n", content.len()));
        }
        stream.into_bytes()
    }
}

/// Runs the git command without any user's configuration, feeds it, and gives back what it printed.
fn git(step: &'static str, command: &mut Command, input: &[u8]) -> Result<String, SampleError> {
    let not_run = |source| SampleError::NotRun { step, source };
    let mut child = command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    // All input is written before any output is read: none of these commands prints more than a pipe holds.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().map_err(not_run)?;
    if !output.status.success() {
        let detail = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(SampleError::Failed { step, detail });
    }
    written.map_err(not_run)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_sample_is_part_of_the_program() {
        for sample in SAMPLES {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(sample.name);
            let mut found = Vec::new();
            list(&root, &root, &mut found);
            found.sort();
            let embedded: Vec<_> = sample.files.iter().map(|file| file.path.to_owned()).collect();
            assert_eq!(found, embedded, "{}", sample.name);
        }
    }

    fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What a run of the checks in place leaves behind.
            if path.ends_with("target") || path.ends_with("__pycache__") {
                continue;
            }
            if path.is_dir() {
                list(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
}
