//! `repo add|list|remove`.

use std::path::Path;

use farm_core::id::RepoName;
use farm_core::policy::Policy;
use farm_core::service::Repository;
use farm_core::task::Check;
use serde::Deserialize;

use crate::cli::RepoVerb;
use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::say;
use crate::program::Program;
use crate::verbs::change::items;
use crate::verbs::{encode, print_list};

/// What an operator says of a repository, in TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// `check = []` waives them.
    check: Option<Vec<Check>>,
    #[serde(default)]
    policy: Policy,
}

/// Runs one of the verbs.
pub(crate) async fn run(program: &Program, verb: RepoVerb) -> Outcome {
    let client = Client::new(program)?;
    match verb {
        RepoVerb::Add { name, url, target, credential, rules } => {
            let rules = rules.as_deref().map(read).transpose()?.unwrap_or_default();
            let repository = Repository {
                name: RepoName::new(name).map_err(|error| Failure::new(exit::USAGE, error.to_string()))?,
                url,
                target,
                credential,
                checks: rules.check,
                policy: rules.policy,
            };
            client.post("/repositories", &serde_json::to_value(&repository)?).await?;
            say(&format!("{} can be read, and pushed to agt/", repository.name));
            Ok(())
        }
        RepoVerb::List(output) => {
            let page = client.get("/repositories").await?;
            let columns =
                [("repository", "name"), ("url", "url"), ("target", "target"), ("credential", "credential")];
            print_list(output.form, items(&page, "repositories"), &columns)
        }
        RepoVerb::Remove { name } => {
            client.delete(&format!("/repositories/{}", encode(&name))).await?;
            Ok(())
        }
    }
}

fn read(path: &Path) -> Outcome<Rules> {
    let fail = |detail: String| Failure::new(exit::USAGE, format!("{}: {detail}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    toml::from_str(&text).map_err(|error| fail(error.to_string()))
}
