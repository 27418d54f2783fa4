//! Writing a tree as plain files into a fresh directory, without git directory, filters, attributes or hooks.
//!
//! Every file is created through the descriptor of a directory that this call made, exclusively and without following
//! links, so that no tree, however built, writes outside of the destination.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use farm_core::delta::{FileMode, RepoPath};
use farm_core::id::Oid;
use git2::Repository;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use crate::error::GitError;
use crate::objects::{Objects, blob_size, descend, file_mode, id, load};
use crate::path::is_safe_name;

/// Larger blobs are streamed by the git command; libgit2 would hold them in memory.
const STREAMED_BYTES: u64 = 8 << 20;
/// The longest link target that Linux can make.
const MAX_LINK_BYTES: u64 = 4095;

/// What an export may use.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The most entries, directories among them.
    pub max_entries: u64,
    /// The most bytes of content.
    pub max_bytes: u64,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { max_entries: 2_000_000, max_bytes: 32 << 30 }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files and links.
    pub files: u64,
    /// Directories, those of submodules among them.
    pub directories: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// What the file system cannot hold, or must not.
    pub skipped: Vec<Skipped>,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it stands in the tree.
    pub path: RepoPath,
    /// Why it was left out.
    pub why: &'static str,
}

struct Export<'a> {
    repo: &'a Repository,
    objects: &'a Objects,
    options: ExportOptions,
    done: Exported,
    at: Vec<u8>,
}

impl Objects {
    /// Writes `tree` to `dest`, which must not exist and is removed again on failure. Directories and programs get mode
    /// 0755, other files 0644, whatever the umask; links are made as links, submodules as empty directories.
    pub fn export(&self, tree: &Oid, dest: &Path, options: ExportOptions) -> Result<Exported, GitError> {
        let repo = self.pool.take()?;
        std::fs::create_dir(dest).map_err(GitError::io("create", dest))?;
        let mut export =
            Export { repo: &repo.1, objects: self, options, done: Exported::default(), at: Vec::new() };
        let written = open_directory(rustix::fs::CWD, dest.as_os_str())
            .map_err(|error| GitError::io("open", dest)(error.into()))
            .and_then(|dir| export.directory(dir.as_fd(), id(tree)?, 0));
        let done = export.done;
        self.pool.put(repo);
        match written {
            Ok(()) => Ok(done),
            Err(error) => {
                if let Err(source) = std::fs::remove_dir_all(dest) {
                    tracing::warn!(path = %dest.display(), %source, "could not remove a failed export");
                }
                Err(error)
            }
        }
    }
}

impl Export<'_> {
    fn directory(&mut self, dir: BorrowedFd<'_>, tree: git2::Oid, depth: usize) -> Result<(), GitError> {
        let tree = descend(self.repo, tree, depth)?;
        for entry in tree.iter() {
            let length = self.at.len();
            if length > 0 {
                self.at.push(b'/');
            }
            self.at.extend_from_slice(entry.name_bytes());
            self.count()?;
            if is_safe_name(entry.name_bytes()) {
                let name = OsStr::from_bytes(entry.name_bytes());
                let written = match file_mode(entry.filemode()) {
                    None => self.subdirectory(dir, name, Some((entry.id(), depth + 1))),
                    Some(FileMode::Submodule) => self.subdirectory(dir, name, None),
                    Some(FileMode::Link) => self.link(dir, name, entry.id()),
                    Some(FileMode::Regular) => self.file(dir, name, entry.id(), 0o644),
                    Some(FileMode::Executable) => self.file(dir, name, entry.id(), 0o755),
                };
                written?;
            } else {
                self.skip("its name is not that of an ordinary file");
            }
            self.at.truncate(length);
        }
        Ok(())
    }

    fn subdirectory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        tree: Option<(git2::Oid, usize)>,
    ) -> Result<(), GitError> {
        if !self.made(mkdirat(dir, name, Mode::from_raw_mode(0o755)))? {
            return Ok(());
        }
        self.done.directories += 1;
        let made = open_directory(dir, name).map_err(|error| self.io("open", error))?;
        match tree {
            Some((tree, depth)) => self.directory(made.as_fd(), tree, depth),
            None => Ok(()),
        }
    }

    fn link(&mut self, dir: BorrowedFd<'_>, name: &OsStr, blob: git2::Oid) -> Result<(), GitError> {
        let size = blob_size(self.repo, blob)?;
        if size > MAX_LINK_BYTES {
            self.skip("the link's target is longer than 4,095 bytes");
            return Ok(());
        }
        let target = load(self.repo, blob)?;
        if target.is_empty() || target.contains(&0) {
            self.skip("the link's target is empty or holds a NUL byte");
            return Ok(());
        }
        if self.made(symlinkat(OsStr::from_bytes(&target), dir, name))? {
            self.done.files += 1;
        }
        Ok(())
    }

    fn file(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        blob: git2::Oid,
        mode: rustix::fs::RawMode,
    ) -> Result<(), GitError> {
        let size = blob_size(self.repo, blob)?;
        let limit = self.options.max_bytes;
        if self.done.bytes.saturating_add(size) > limit {
            return Err(GitError::TooLarge { what: "the tree's size in bytes".into(), limit });
        }
        let mode = Mode::from_raw_mode(mode);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(mut file) = self.opened(openat(dir, name, flags, mode))? else { return Ok(()) };
        fchmod(&file, mode).map_err(|error| self.io("set the mode of", error))?;
        if size > STREAMED_BYTES {
            self.stream(blob, &file)?;
        } else {
            let doing = || GitError::object(format!("read blob {blob}"));
            let content = self.repo.find_blob(blob).map_err(doing())?;
            file.write_all(content.content()).map_err(|source| self.std_io("write", source))?;
        }
        self.done.files += 1;
        self.done.bytes += size;
        Ok(())
    }

    /// Lets the git command write a blob, in pieces.
    fn stream(&self, blob: git2::Oid, file: &File) -> Result<(), GitError> {
        let git = &self.objects.pool;
        let spawn = |source| GitError::Spawn { program: git.program.clone(), source: Arc::new(source) };
        let stdout = file.try_clone().map_err(|source| self.std_io("write", source))?;
        let output = Command::new(&git.program)
            .args(["-c", "core.bigFileThreshold=1m", "cat-file", "blob", &blob.to_string()])
            .env_clear()
            .env("PATH", &git.path)
            .env("GIT_DIR", self.repo.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .map_err(spawn)?;
        if output.status.success() {
            return Ok(());
        }
        Err(GitError::Command {
            verb: "cat-file",
            status: output.status.to_string(),
            detail: String::from_utf8_lossy(&output.stderr)
                .chars()
                .filter(|c| !c.is_control())
                .take(600)
                .collect(),
        })
    }

    fn count(&self) -> Result<(), GitError> {
        let limit = self.options.max_entries;
        if self.done.files + self.done.directories + self.done.skipped.len() as u64 >= limit {
            return Err(GitError::TooLarge { what: "the tree's number of entries".into(), limit });
        }
        Ok(())
    }

    /// Whether an entry was made; one that stands there already comes from the same tree (twice the same name, or names
    /// that a file system takes for one) and is left alone.
    fn made(&mut self, result: Result<(), Errno>) -> Result<bool, GitError> {
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => {
                self.skip("another entry has this name");
                Ok(false)
            }
            Err(Errno::ILSEQ | Errno::NAMETOOLONG | Errno::INVAL) => {
                self.skip("the file system cannot hold this name");
                Ok(false)
            }
            Err(error) => Err(self.io("create", error)),
        }
    }

    fn opened(&mut self, result: Result<OwnedFd, Errno>) -> Result<Option<File>, GitError> {
        match result {
            Ok(file) => Ok(Some(File::from(file))),
            Err(error) => self.made(Err(error)).map(|_| None),
        }
    }

    fn skip(&mut self, why: &'static str) {
        self.done.skipped.push(Skipped { path: RepoPath(self.at.clone()), why });
    }

    fn io(&self, doing: &'static str, error: Errno) -> GitError {
        self.std_io(doing, error.into())
    }

    fn std_io(&self, doing: &'static str, source: std::io::Error) -> GitError {
        GitError::Io { doing, path: OsStr::from_bytes(&self.at).into(), source: Arc::new(source) }
    }
}

/// Opens a directory that was just made and gives it its mode; a link in its place is an error.
fn open_directory(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(at, name, flags, Mode::empty())?;
    fchmod(&dir, Mode::from_raw_mode(0o755))?;
    Ok(dir)
}
