//! The tips of target branches, asked of the remotes at most once in a short while: what tasks without a base start from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farm_core::id::{Oid, RepoName};
use farm_core::service::Repository;
use tokio::sync::Mutex;

use crate::control::{Control, ControlError};

/// How old a tip may be. A base that is two seconds old is as good as one that a push overtakes two seconds later.
const FRESH: Duration = Duration::from_secs(2);

/// What was seen, by repository. Many who ask at once wait for one answer.
#[derive(Default)]
pub struct Tips {
    seen: Mutex<HashMap<RepoName, Arc<Mutex<Option<Seen>>>>>,
}

struct Seen {
    at: Instant,
    branch: String,
    tip: Option<Oid>,
}

impl Control {
    /// The tip of the target branch; `None` if the branch has no commit.
    pub(crate) async fn tip(&self, repository: &Repository) -> Result<Option<Oid>, ControlError> {
        let place = Arc::clone(self.tips.seen.lock().await.entry(repository.name.clone()).or_default());
        let mut seen = place.lock().await;
        if let Some(seen) = &*seen
            && seen.at.elapsed() < FRESH
            && seen.branch == repository.target
        {
            return Ok(seen.tip.clone());
        }
        let tip = self.mirror(repository).await?.tip(&repository.target).await?;
        *seen = Some(Seen { at: Instant::now(), branch: repository.target.clone(), tip: tip.clone() });
        Ok(tip)
    }
}
