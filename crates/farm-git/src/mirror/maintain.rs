//! Keeping a mirror quick: tens of thousands of loose objects become one pack.

use std::path::Path;
use std::time::Duration;

use crate::command::Call;
use crate::error::GitError;
use crate::lock::{Kind, try_lock};
use crate::mirror::push::outgoing_dir;
use crate::mirror::{Mirror, Shared};

/// Loose objects from which a repack pays; git's own figure.
const MANY_LOOSE: usize = 6_700;
/// Packs from which a repack pays; git's own figure.
const MANY_PACKS: usize = 50;
/// Objects that no ref here reaches are the farm's own, pushed or in work; after so long nobody needs them here.
const KEPT_UNREACHABLE: &str = "30.days.ago";
/// A repack of a large repository takes its time; it holds up nobody.
const LIMIT: Duration = Duration::from_secs(3600);
/// Longer than any fetch, push or repack may take.
const LEFT_AFTER: Duration = Duration::from_secs(86_400);

/// What maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintained {
    /// The mirror was repacked.
    Repacked,
    /// There is not enough to gain yet.
    NotNeeded,
    /// Another process is at it.
    Busy,
}

impl Mirror {
    /// See [`Shared::maintain`].
    pub async fn maintain(&self, force: bool) -> Result<Maintained, GitError> {
        self.shared.maintain(force).await
    }
}

impl Shared {
    /// Repacks the mirror if that pays, or in any case with `force`. Fetches, pushes and object work may go on meanwhile:
    /// objects move before their old copies go, and a reader that misses one looks again.
    pub(super) async fn maintain(&self, force: bool) -> Result<Maintained, GitError> {
        let Some(_lock) = try_lock(&self.dir.join("farm-maintain.lock"), Kind::Exclusive)? else {
            return Ok(Maintained::Busy);
        };
        let stores = [&self.upstream, &self.objects];
        let mut done = Maintained::NotNeeded;
        for store in stores.into_iter().filter(|store| force || is_untidy(store.dir())) {
            let expiration = format!("--cruft-expiration={KEPT_UNREACHABLE}");
            let options = ["-a", "-d", "-l", "-q", "--cruft", &expiration];
            let call = Call {
                verb: "repack",
                git_dir: store.dir(),
                object_dir: None,
                remote: None,
                args: options.iter().map(Into::into).collect(),
                limit: LIMIT,
            };
            let repacked = self.git.run_ok(call).await;
            // Whatever came of it; the inner store's repositories read the outer one as well.
            stores.iter().for_each(|store| store.packs_changed());
            repacked?;
            remove_old(&store.dir().join("objects/pack"), "tmp_");
            done = Maintained::Repacked;
        }
        remove_old(&outgoing_dir(&self.dir), "");
        Ok(done)
    }
}

/// Estimates as git does, from one of the 256 directories of loose objects.
fn is_untidy(store: &Path) -> bool {
    let count = |dir: &str, suffix: &str| {
        let entries = std::fs::read_dir(store.join("objects").join(dir)).into_iter().flatten();
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix)).count()
    };
    count("17", "") * 256 > MANY_LOOSE || count("pack", ".pack") > MANY_PACKS
}

/// Removes what killed processes left half written, once nobody can be writing it any more.
fn remove_old(dir: &Path, prefix: &str) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())) {
        let path = entry.path();
        let Ok(found) = entry.metadata() else { continue };
        if !found.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LEFT_AFTER)) {
            continue;
        }
        let removed =
            if found.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        if let Err(source) = removed {
            tracing::warn!(path = %path.display(), %source, "could not remove what a killed git left");
        }
    }
}
