//! One bare mirror a remote: fetched incrementally, read by everybody, pushed from.
//!
//! A mirror has two stores. The outer one holds what branches of the remote brought; the inner one, `farm/`, sees the outer
//! one and takes all that the farm makes itself. A push shows git the outer store and the few objects that are new: a
//! remote with a thousand branches of ours would otherwise make it compare with a thousand commits that it finds here.
//!
//! Several processes may share the root directory. Fetches of one mirror follow each other (a lock in this process, a file
//! lock between processes) and whoever waited looks again before fetching; pushes and object work need no lock, since
//! they write no refs here.

mod fetch;

mod maintain;

mod push;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farm_core::delta::sha256;
use farm_core::id::Oid;

use crate::command::{Call, Git, GitSettings, replace_file};
use crate::error::GitError;
use crate::lock::{Kind, lock};
use crate::objects::{Objects, blocking};
use crate::remote::{Remote, Transport};

pub use maintain::Maintained;
pub use push::Pushed;

/// The configuration of every mirror, written anew at each start; nothing else writes there.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

/// The inner store, in the outer one's directory.
const INNER: &str = "farm";

/// All mirrors below one directory.
#[derive(Debug)]
pub struct Mirrors {
    root: PathBuf,
    git: Arc<Git>,
    open: Mutex<HashMap<String, Arc<Shared>>>,
}

/// One mirror, with the credential to use for its remote. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
}

/// What all handles of one mirror share.
#[derive(Debug)]
struct Shared {
    /// The outer store.
    dir: PathBuf,
    git: Arc<Git>,
    /// What branches of the remote brought.
    upstream: Objects,
    /// The inner store, through which everything is seen.
    objects: Objects,
    fetches: tokio::sync::Mutex<fetch::Fetched>,
    pushes: push::Queue,
}

impl Mirrors {
    /// Uses (and makes) the directory `root`, which belongs to the farm alone.
    pub fn open(root: impl Into<PathBuf>, settings: GitSettings) -> Result<Self, GitError> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(GitError::io("create", &root))?;
        let root = root.canonicalize().map_err(GitError::io("resolve", &root))?;
        let git = Arc::new(Git::new(settings, &root)?);
        Ok(Self { root, git, open: Mutex::default() })
    }

    /// The mirror of a remote, made empty if it is not there; nothing is fetched.
    pub async fn mirror(&self, remote: &Remote) -> Result<Mirror, GitError> {
        if remote.transport() == (Transport::Http { loopback: false }) && !self.git.settings.allow_plain_http
        {
            return Err(GitError::InvalidRemote {
                why: "plain http leaves this machine unprotected; use https, or allow it in the settings"
                    .into(),
            });
        }
        // The name is a hash, since an address may hold anything that a file name may not.
        let key = sha256(remote.url().as_bytes())[..32].to_owned();
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let shared = match known {
            Some(shared) => shared,
            None => {
                let dir = self.root.join(format!("{key}.git"));
                let _lock = lock(&self.root.join(format!("{key}.lock")), Kind::Exclusive).await?;
                let (git, url) = (self.git.clone(), remote.url().to_owned());
                let made = blocking(move || Shared::open(dir, git, &url)).await?;
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.entry(key).or_insert_with(|| Arc::new(made)).clone()
            }
        };
        Ok(Mirror { shared, remote: Arc::new(remote.clone()) })
    }

    /// Keeps every mirror in use quick, from time to time; see [`Mirror::maintain`]. Never ends by itself.
    pub async fn keep_tidy(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let open: Vec<_> =
                self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for shared in open {
                match shared.maintain(false).await {
                    Ok(done) => tracing::debug!(dir = %shared.dir.display(), ?done, "mirror looked after"),
                    Err(error) => tracing::warn!(dir = %shared.dir.display(), %error, "mirror not repacked"),
                }
            }
        }
    }
}

impl Shared {
    fn open(dir: PathBuf, git: Arc<Git>, url: &str) -> Result<Self, GitError> {
        if !dir.join("HEAD").exists() {
            create(&dir, url)?;
        }
        let inner = dir.join(INNER);
        for dir in [&dir, &inner] {
            replace_file(&dir.join("config"), CONFIG)?;
        }
        let upstream = Objects::open_mirror(dir.clone(), &git.settings)?;
        let objects = Objects::open_mirror(inner, &git.settings)?;
        Ok(Self { dir, git, upstream, objects, fetches: Default::default(), pushes: Default::default() })
    }
}

impl Mirror {
    /// The remote's address.
    pub fn url(&self) -> &str {
        self.remote.url()
    }

    /// The outer git directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Reading and writing local objects.
    pub fn objects(&self) -> Objects {
        self.shared.objects.clone()
    }

    /// Where a branch of the remote stands now, without fetching; `None` if there is no such branch.
    pub async fn tip(&self, branch: &str) -> Result<Option<Oid>, GitError> {
        let name = full_ref(branch)?;
        let refs = self.list_refs([&name]).await?;
        Ok(refs.into_iter().find(|(found, _)| *found == name).map(|(_, oid)| oid))
    }

    /// The remote's branches whose names begin with `prefix` (such as `agt/`), sorted, without `refs/heads/`.
    pub async fn remote_branches(&self, prefix: &str) -> Result<Vec<(String, Oid)>, GitError> {
        if !prefix.is_empty() {
            // As a branch's name would be judged, so that it cannot be a pattern.
            full_ref(&format!("{prefix}x"))?;
        }
        let mut branches: Vec<(String, Oid)> = self
            .list_refs([format!("refs/heads/{prefix}*")])
            .await?
            .into_iter()
            .filter_map(|(name, oid)| name.strip_prefix("refs/heads/").map(|name| (name.to_owned(), oid)))
            .filter(|(name, _)| name.starts_with(prefix))
            .collect();
        branches.sort();
        Ok(branches)
    }

    async fn list_refs(
        &self,
        patterns: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Vec<(String, Oid)>, GitError> {
        let limit = self.shared.git.settings.timeout;
        let mut args: Vec<OsString> = vec!["--heads".into(), "--".into(), self.url().into()];
        args.extend(patterns.into_iter().map(Into::into));
        let output = self.shared.git.run_ok(self.call("ls-remote", args, limit)).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(oid, name)| Some((name.to_owned(), Oid::new(oid).ok()?)))
            .collect())
    }

    fn call(&self, verb: &'static str, args: Vec<OsString>, limit: std::time::Duration) -> Call<'_> {
        Call { verb, git_dir: &self.shared.dir, object_dir: None, remote: Some(&self.remote), args, limit }
    }
}

/// Makes both stores aside and moves them into place.
fn create(dir: &Path, url: &str) -> Result<(), GitError> {
    let aside = dir.with_extension("new");
    if aside.exists() {
        // Somebody died here; the caller holds the lock.
        std::fs::remove_dir_all(&aside).map_err(GitError::io("remove", &aside))?;
    }
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false).mkpath(true);
    for dir in [&aside, &aside.join(INNER)] {
        git2::Repository::init_opts(dir, &options)
            .map_err(GitError::object(format!("make the repository {}", dir.display())))?;
    }
    replace_file(&aside.join("description"), &format!("{url}\n"))?;
    // Relative to the directory of objects that the file stands in.
    replace_file(&aside.join(INNER).join("objects/info/alternates"), "../../objects\n")?;
    std::fs::rename(&aside, dir).map_err(GitError::io("create", dir))
}

/// `refs/heads/<branch>`, if git takes it for a branch.
fn full_ref(branch: &str) -> Result<String, GitError> {
    let name = format!("refs/heads/{branch}");
    if branch.starts_with('-') || !git2::Reference::is_valid_name(&name) {
        return Err(GitError::InvalidBranch { branch: branch.to_owned(), why: "git does not take it" });
    }
    Ok(name)
}
