//! The operator's document that says what may be written, and its judge.
//!
//! It judges the tree delta, never the text of a diff. Deny beats allow, what is not allowed is denied, and some paths no
//! document opens.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::delta::{FileMode, PathChange, TreeDelta, sha256};
use crate::reason::Reason;
use crate::task::Risk;

/// Who may write what in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// The master switch of this repository.
    pub enabled: bool,
    /// Globs that may be written. `**` crosses folders, `*` does not.
    pub write: Vec<String>,
    /// Globs that may never be written, whatever `write` says.
    pub deny_write: Vec<String>,
    /// Globs that never reach a prompt, a tool or a report.
    pub deny_read: Vec<String>,
    /// Allowed file suffixes with their dot (`.py`); empty allows all.
    pub suffixes: Vec<String>,
    /// What may be done to a path.
    pub operations: Vec<Operation>,
    /// The largest file that may be written, in bytes.
    pub max_file_bytes: u64,
    /// The most files in one patch.
    pub max_files: usize,
    /// Whether tasks of risk high and critical may run.
    pub high_risk: bool,
}

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// It was not there.
    Add,
    /// Its content changes.
    Modify,
    /// It goes.
    Delete,
    /// Its executable bit changes.
    Mode,
}

impl Default for Policy {
    fn default() -> Self {
        let globs = |list: &[&str]| list.iter().map(|glob| (*glob).to_owned()).collect();
        Self {
            enabled: true,
            write: globs(&["**"]),
            deny_write: Vec::new(),
            deny_read: globs(&["**/.env*", "**/_secure/**", "**/*.pem", "**/id_rsa*", "**/id_ed25519*"]),
            suffixes: Vec::new(),
            operations: vec![Operation::Add, Operation::Modify, Operation::Delete, Operation::Mode],
            max_file_bytes: 1024 * 1024,
            max_files: 100,
            high_risk: false,
        }
    }
}

/// Paths that no document opens: they decide what runs on other machines, or what the farm itself obeys.
const PROTECTED: &[&str] = &[
    "patchfarm.toml",
    "**/.gitmodules",
    "**/.gitattributes",
    ".github/workflows/**",
    ".github/actions/**",
    ".gitlab-ci.yml",
    ".circleci/**",
    "**/Jenkinsfile",
    ".pre-commit-config.yaml",
    ".git/**",
    "**/.git/**",
];

/// One rule that a patch breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason, which also says whether the model may try again.
    pub reason: Reason,
    /// The rule, as the operator wrote it: `deny-write = "infra/**"`.
    pub rule: String,
    /// The path that breaks it, escaped; empty if no single path does.
    pub path: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.reason.text())?;
        if !self.path.is_empty() {
            write!(f, " ({})", self.path)?;
        }
        write!(f, "; rule: {}", self.rule)
    }
}

/// A glob in the document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy field {field}: {glob:?} is no glob: {detail}")]
pub struct BadGlob {
    /// Which list.
    pub field: &'static str,
    /// What stands there.
    pub glob: String,
    /// Why it cannot be read.
    pub detail: String,
}

/// The document, compiled, narrowed to one task.
#[derive(Debug, Clone)]
pub struct Judge {
    policy: Policy,
    protected: Vec<Rule>,
    write: Vec<Rule>,
    scope: Vec<Rule>,
    deny_write: Vec<Rule>,
    deny_read: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    glob: String,
    matcher: GlobMatcher,
}

impl Policy {
    /// SHA-256 of the document: the version that an approval names (I7).
    pub fn version(&self) -> String {
        // A struct of plain fields always serializes; an empty text would only make a version that matches nothing.
        sha256(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }

    /// Compiles it for one task, whose `scope` may narrow it further.
    pub fn judge(&self, scope: &[String]) -> Result<Judge, BadGlob> {
        let protected: Vec<String> = PROTECTED.iter().map(|glob| (*glob).to_owned()).collect();
        Ok(Judge {
            protected: compile("protected", &protected)?,
            write: compile("write", &self.write)?,
            scope: compile("scope", scope)?,
            deny_write: compile("deny-write", &self.deny_write)?,
            deny_read: compile("deny-read", &self.deny_read)?,
            policy: self.clone(),
        })
    }
}

impl Judge {
    /// Whether a task may run here at all.
    pub fn admits(&self, risk: Risk) -> Result<(), Denial> {
        let denial = |reason, rule: &str| Denial { reason, rule: rule.to_owned(), path: String::new() };
        if !self.policy.enabled {
            return Err(denial(Reason::PolicyOff, "enabled = false"));
        }
        if risk >= Risk::High && !self.policy.high_risk {
            return Err(denial(Reason::RiskNotAllowed, "high-risk = false"));
        }
        Ok(())
    }

    /// Whether a path may be shown to a model or a report.
    pub fn may_read(&self, path: &str) -> bool {
        !self.deny_read.iter().any(|rule| rule.matches(path))
    }

    /// Every rule that the delta breaks, gravest first; empty means that it may be pushed.
    pub fn denials(&self, delta: &TreeDelta) -> Vec<Denial> {
        let mut denials: Vec<Denial> =
            delta.changes.iter().filter_map(|change| self.path_denial(change)).collect();
        if delta.changes.len() > self.policy.max_files {
            denials.push(Denial {
                reason: Reason::TooLarge,
                rule: format!("max-files = {} (found {})", self.policy.max_files, delta.changes.len()),
                path: String::new(),
            });
        }
        denials.sort_by_key(|denial| denial.reason.class() != crate::reason::Class::Hard);
        denials
    }

    fn path_denial(&self, change: &PathChange) -> Option<Denial> {
        let deny = |reason, rule: String| Some(Denial { reason, rule, path: change.path.to_string() });
        let Some(path) = change.path.as_str() else {
            return deny(Reason::PathInvalid, "paths are UTF-8".to_owned());
        };
        if let Some(rule) = invalid_path(path) {
            return deny(Reason::PathInvalid, rule.to_owned());
        }
        for (side, what) in [(&change.new, "new"), (&change.old, "old")] {
            match side.as_ref().map(|entry| entry.mode) {
                Some(FileMode::Link) => {
                    return deny(Reason::SymlinkForbidden, format!("no symbolic links ({what})"));
                }
                Some(FileMode::Submodule) => {
                    return deny(Reason::SubmoduleForbidden, format!("no submodules ({what})"));
                }
                Some(FileMode::Regular | FileMode::Executable) | None => {}
            }
        }
        if let Some(rule) = self.protected.iter().find(|rule| rule.matches(path)) {
            return deny(Reason::ProtectedPath, format!("protected = {:?}", rule.glob));
        }
        if let Some(rule) = self.deny_write.iter().find(|rule| rule.matches(path)) {
            return deny(Reason::PathForbidden, format!("deny-write = {:?}", rule.glob));
        }
        if !self.write.iter().any(|rule| rule.matches(path)) {
            return deny(Reason::PathNotAllowed, format!("write = {:?}", self.policy.write));
        }
        if !self.scope.is_empty() && !self.scope.iter().any(|rule| rule.matches(path)) {
            let scope: Vec<&str> = self.scope.iter().map(|rule| rule.glob.as_str()).collect();
            return deny(Reason::PathNotAllowed, format!("scope = {scope:?}"));
        }
        if !self.policy.suffixes.is_empty()
            && !self.policy.suffixes.iter().any(|suffix| path.ends_with(suffix))
        {
            return deny(Reason::SuffixNotAllowed, format!("suffixes = {:?}", self.policy.suffixes));
        }
        if let Some(operation) = operations(change).into_iter().find(|o| !self.policy.operations.contains(o))
        {
            return deny(
                Reason::OperationNotAllowed,
                format!("operations lacks {operation:?}").to_lowercase(),
            );
        }
        match &change.new {
            Some(entry) if entry.size > self.policy.max_file_bytes => deny(
                Reason::TooLarge,
                format!("max-file-bytes = {} (found {})", self.policy.max_file_bytes, entry.size),
            ),
            _ => None,
        }
    }
}

impl Rule {
    /// Compares without case: on some machines `.ENV` is `.env`, and a denial must hold on all.
    fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }
}

fn operations(change: &PathChange) -> Vec<Operation> {
    match (&change.old, &change.new) {
        (None, _) => vec![Operation::Add],
        (_, None) => vec![Operation::Delete],
        (Some(old), Some(new)) => {
            let mut operations = Vec::new();
            if old.oid != new.oid {
                operations.push(Operation::Modify);
            }
            if old.mode != new.mode {
                operations.push(Operation::Mode);
            }
            operations
        }
    }
}

fn invalid_path(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | ".."))
    {
        return Some("paths are relative, without empty, . or .. components");
    }
    if path.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Some("paths have no control or invisible characters");
    }
    if path.contains('\\') {
        return Some("paths have no backslash");
    }
    None
}

/// Default-ignorable and direction-changing characters: they make one name look like another (`.g<U+200C>it`).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

fn compile(field: &'static str, globs: &[String]) -> Result<Vec<Rule>, BadGlob> {
    globs
        .iter()
        .map(|glob| {
            let built = GlobBuilder::new(glob).literal_separator(true).case_insensitive(true).build();
            match built {
                Ok(built) => Ok(Rule { glob: glob.clone(), matcher: built.compile_matcher() }),
                Err(error) => Err(BadGlob { field, glob: glob.clone(), detail: error.to_string() }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::{Entry, RepoPath};
    use crate::id::Oid;

    fn entry(digit: char, mode: FileMode, size: u64) -> Option<Entry> {
        Some(Entry { oid: Oid::new(digit.to_string().repeat(40)).unwrap(), mode, size })
    }

    fn add(path: &str) -> PathChange {
        PathChange { path: path.into(), old: None, new: entry('1', FileMode::Regular, 10) }
    }

    fn first(policy: &Policy, scope: &[&str], change: PathChange) -> Option<Reason> {
        let scope: Vec<String> = scope.iter().map(|s| (*s).to_owned()).collect();
        let denials = policy.judge(&scope).unwrap().denials(&TreeDelta { changes: vec![change] });
        denials.first().map(|denial| denial.reason)
    }

    #[test]
    fn paths_are_judged_by_the_first_rule_that_denies() {
        let policy = Policy {
            write: vec!["src/**".into(), "docs/*.md".into()],
            deny_write: vec!["src/secret/**".into()],
            suffixes: vec![".rs".into(), ".md".into()],
            ..Policy::default()
        };
        for (path, expected) in [
            ("src/a.rs", None),
            ("src/deep/er/a.rs", None),
            ("docs/a.md", None),
            ("docs/deep/a.md", Some(Reason::PathNotAllowed)),
            ("source/a.rs", Some(Reason::PathNotAllowed)),
            ("src/secret/a.rs", Some(Reason::PathForbidden)),
            ("SRC/Secret/a.rs", Some(Reason::PathForbidden)),
            ("src/a.py", Some(Reason::SuffixNotAllowed)),
            ("patchfarm.toml", Some(Reason::ProtectedPath)),
            (".GITHUB/workflows/x.yml", Some(Reason::ProtectedPath)),
            ("src/.git/config", Some(Reason::ProtectedPath)),
            ("src/../a.rs", Some(Reason::PathInvalid)),
            ("/src/a.rs", Some(Reason::PathInvalid)),
            ("src/a\nb.rs", Some(Reason::PathInvalid)),
            ("src/.g\u{200c}it/a.rs", Some(Reason::PathInvalid)),
            ("src\\a.rs", Some(Reason::PathInvalid)),
        ] {
            assert_eq!(first(&policy, &[], add(path)), expected, "{path}");
        }
    }

    #[test]
    fn scope_narrows_and_never_widens() {
        let policy = Policy { write: vec!["src/**".into()], ..Policy::default() };
        assert_eq!(first(&policy, &["src/a/**"], add("src/a/x")), None);
        assert_eq!(first(&policy, &["src/a/**"], add("src/b/x")), Some(Reason::PathNotAllowed));
        assert_eq!(first(&policy, &["**"], add("infra/x")), Some(Reason::PathNotAllowed));
    }

    #[test]
    fn links_submodules_and_odd_bytes_are_refused_on_either_side() {
        let policy = Policy::default();
        let change = |old, new| PathChange { path: "x".into(), old, new };
        let regular = || entry('1', FileMode::Regular, 1);
        assert_eq!(
            first(&policy, &[], change(None, entry('2', FileMode::Link, 1))),
            Some(Reason::SymlinkForbidden)
        );
        assert_eq!(
            first(&policy, &[], change(entry('2', FileMode::Link, 1), None)),
            Some(Reason::SymlinkForbidden)
        );
        assert_eq!(
            first(&policy, &[], change(regular(), entry('2', FileMode::Link, 1))),
            Some(Reason::SymlinkForbidden)
        );
        assert_eq!(
            first(&policy, &[], change(None, entry('2', FileMode::Submodule, 0))),
            Some(Reason::SubmoduleForbidden)
        );
        let odd = PathChange { path: RepoPath(b"caf\xe9".to_vec()), old: None, new: regular() };
        assert_eq!(first(&policy, &[], odd), Some(Reason::PathInvalid));
    }

    #[test]
    fn operations_sizes_and_counts_are_limited() {
        let policy = Policy {
            operations: vec![Operation::Modify],
            max_file_bytes: 100,
            max_files: 1,
            ..Policy::default()
        };
        let change = |old, new| PathChange { path: "x".into(), old, new };
        let regular = |digit| entry(digit, FileMode::Regular, 1);
        assert_eq!(first(&policy, &[], change(regular('1'), regular('2'))), None);
        assert_eq!(first(&policy, &[], change(None, regular('2'))), Some(Reason::OperationNotAllowed));
        assert_eq!(first(&policy, &[], change(regular('2'), None)), Some(Reason::OperationNotAllowed));
        let executable = entry('1', FileMode::Executable, 1);
        assert_eq!(first(&policy, &[], change(regular('1'), executable)), Some(Reason::OperationNotAllowed));
        let big = entry('2', FileMode::Regular, 101);
        assert_eq!(first(&policy, &[], change(regular('1'), big)), Some(Reason::TooLarge));
        let two = TreeDelta { changes: vec![change(regular('1'), regular('2')), add("y")] };
        let reasons: Vec<_> = policy.judge(&[]).unwrap().denials(&two).iter().map(|d| d.reason).collect();
        assert!(reasons.contains(&Reason::TooLarge), "{reasons:?}");
    }

    #[test]
    fn hard_denials_come_first() {
        let policy =
            Policy { suffixes: vec![".rs".into()], deny_write: vec!["b.rs".into()], ..Policy::default() };
        let delta = TreeDelta { changes: vec![add("a.py"), add("b.rs")] };
        let reasons: Vec<_> = policy.judge(&[]).unwrap().denials(&delta).iter().map(|d| d.reason).collect();
        assert_eq!(reasons, [Reason::PathForbidden, Reason::SuffixNotAllowed]);
    }

    #[test]
    fn the_switch_and_the_risk_gate_hold() {
        let off = Policy { enabled: false, ..Policy::default() };
        assert_eq!(off.judge(&[]).unwrap().admits(Risk::Low).unwrap_err().reason, Reason::PolicyOff);
        let judge = Policy::default().judge(&[]).unwrap();
        assert!(judge.admits(Risk::Medium).is_ok());
        assert_eq!(judge.admits(Risk::High).unwrap_err().reason, Reason::RiskNotAllowed);
        assert!(!judge.may_read("a/.env.local"));
        assert!(judge.may_read("a/env.rs"));
    }

    #[test]
    fn a_bad_glob_names_its_field() {
        let policy = Policy { deny_write: vec!["a[".into()], ..Policy::default() };
        assert_eq!(policy.judge(&[]).unwrap_err().field, "deny-write");
    }

    #[test]
    fn the_version_changes_with_the_document() {
        assert_eq!(Policy::default().version(), Policy::default().version());
        assert_ne!(Policy::default().version(), Policy { max_files: 1, ..Policy::default() }.version());
    }
}
