//! Looks up credentials where they are used: a reference in, a secret out, and nothing of it in between.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::remote::Credential;
use farm_core::redact::{Redactor, Secret};

/// Resolves `env:NAME`, `file:PATH` and `ssh-key:PATH`.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    environment: HashMap<String, Secret>,
}

/// A reference that leads nowhere. Names the place, never what was found there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credential {reference:?} cannot be used: {detail}; expected env:NAME, file:PATH or ssh-key:PATH")]
pub struct NoCredential {
    /// As the repository's registration has it.
    pub reference: String,
    /// What is wrong.
    pub detail: String,
}

impl Credentials {
    /// Knows the environment as it was when the process started.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            environment: environment.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        }
    }

    /// Finds the credential. The text is `token` or `user:password`.
    pub fn find(&self, reference: Option<&str>) -> Result<Option<Credential>, NoCredential> {
        let Some(reference) = reference else { return Ok(None) };
        let fail = |detail: &str| NoCredential { reference: reference.to_owned(), detail: detail.to_owned() };
        let secret = match reference.split_once(':') {
            Some(("env", name)) => {
                self.environment.get(name).cloned().ok_or_else(|| fail("the variable is not set"))?
            }
            Some(("file", path)) => read(Path::new(path)).map_err(|error| fail(&error.to_string()))?,
            Some(("ssh-key", path)) => {
                return Ok(Some(Credential::SshKey { key: PathBuf::from(path), known_hosts: None }));
            }
            _ => return Err(fail("its kind is unknown")),
        };
        if secret.reveal().is_empty() {
            return Err(fail("it is empty"));
        }
        Ok(Some(match secret.reveal().split_once(':') {
            Some((user, password)) => {
                Credential::Basic { user: user.to_owned(), secret: Secret::new(password) }
            }
            // What hosts take for a token over Basic; the name is theirs to ignore.
            None => Credential::Basic { user: "x-access-token".to_owned(), secret },
        }))
    }

    /// Knows the secrets of these references, for whatever is logged, reported or sent to a model.
    pub fn redactor<'a>(
        &self,
        references: impl IntoIterator<Item = &'a str>,
        others: impl IntoIterator<Item = Secret>,
    ) -> Redactor {
        let mut secrets: Vec<Secret> = others.into_iter().collect();
        for reference in references {
            if let Ok(Some(Credential::Basic { secret, .. } | Credential::Bearer(secret))) =
                self.find(Some(reference))
            {
                secrets.push(secret);
            }
        }
        Redactor::new(&secrets)
    }
}

fn read(path: &Path) -> std::io::Result<Secret> {
    std::fs::read_to_string(path).map(|text| Secret::new(text.trim_end_matches(['\n', '\r'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_secrets_and_errors_do_not_show_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "from-file\n").unwrap();
        let credentials = Credentials::new([("PUSH".to_owned(), "bot:from-env".to_owned())]);
        let basic = |reference: &str| match credentials.find(Some(reference)).unwrap() {
            Some(Credential::Basic { user, secret }) => (user, secret.reveal().to_owned()),
            other => panic!("{other:?}"),
        };
        assert_eq!(basic("env:PUSH"), ("bot".into(), "from-env".into()));
        assert_eq!(basic(&format!("file:{}", path.display())).1, "from-file");
        assert!(credentials.find(None).unwrap().is_none());
        for bad in ["env:MISSING", "file:/does/not/exist", "hunter22", "vault:x"] {
            assert!(credentials.find(Some(bad)).is_err(), "{bad}");
        }
        assert!(!format!("{credentials:?}").contains("from-env"));
    }
}
