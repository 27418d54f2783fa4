//! Keeping a mirror quick: tens of thousands of loose objects become one pack.

use std::time::Duration;

use crate::error::GitError;
use crate::lock::{Kind, try_lock};
use crate::mirror::Mirror;

/// Loose objects from which a repack pays; git's own figure.
const MANY_LOOSE: usize = 6_700;
/// Packs from which a repack pays; git's own figure.
const MANY_PACKS: usize = 50;
/// Objects that no ref here reaches are the farm's own, pushed or in work; after so long nobody needs them here.
const KEPT_UNREACHABLE: &str = "30.days.ago";
/// A repack of a large repository takes its time; it holds up nobody.
const LIMIT: Duration = Duration::from_secs(3600);
/// Longer than any fetch or repack may take.
const TORN_AFTER: Duration = Duration::from_secs(86_400);

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
    /// Repacks the mirror if that pays, or in any case with `force`. Fetches, pushes and object work may go on meanwhile:
    /// objects move before their old copies go, and a reader that misses one looks again.
    pub async fn maintain(&self, force: bool) -> Result<Maintained, GitError> {
        let Some(_lock) = try_lock(&self.shared.dir.join("farm-maintain.lock"), Kind::Exclusive)? else {
            return Ok(Maintained::Busy);
        };
        if !force && !self.is_untidy() {
            return Ok(Maintained::NotNeeded);
        }
        let expiration = format!("--cruft-expiration={KEPT_UNREACHABLE}");
        let options = ["-a", "-d", "-l", "-q", "--cruft", &expiration];
        let args = options.iter().map(Into::into).collect();
        let mut call = self.call("repack", args, LIMIT);
        call.remote = None;
        let repacked = self.shared.git.run_ok(call).await;
        self.shared.objects.packs_changed();
        self.remove_torn_packs();
        repacked.map(|_| Maintained::Repacked)
    }

    /// Removes what killed fetches and repacks left half written, once nobody can be writing it any more.
    fn remove_torn_packs(&self) {
        let packs = std::fs::read_dir(self.shared.dir.join("objects/pack")).into_iter().flatten().flatten();
        for torn in packs.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tmp_")) {
            let age = torn.metadata().and_then(|found| found.modified()).map(|time| time.elapsed());
            if age.is_ok_and(|age| age.is_ok_and(|age| age > TORN_AFTER))
                && let Err(source) = std::fs::remove_file(torn.path())
            {
                tracing::warn!(path = %torn.path().display(), %source, "could not remove a torn pack");
            }
        }
    }

    /// Estimates as git does, from one of the 256 directories of loose objects.
    fn is_untidy(&self) -> bool {
        let count = |dir: &str, suffix: &str| {
            let entries = std::fs::read_dir(self.shared.dir.join("objects").join(dir)).into_iter().flatten();
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix)).count()
        };
        count("17", "") * 256 > MANY_LOOSE || count("pack", ".pack") > MANY_PACKS
    }
}
