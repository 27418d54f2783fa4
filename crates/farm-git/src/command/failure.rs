//! Reading git's words when it failed. `LC_ALL=C` keeps them stable; what the server said (`remote: …`) decides nothing.

use crate::error::GitError;

use super::Output;

/// Which error a phrase of git, curl or ssh stands for; the first that occurs decides.
const PHRASES: [(&str, Kind); 31] = [
    ("Authentication failed", Kind::Auth),
    ("could not read Username", Kind::Auth),
    ("could not read Password", Kind::Auth),
    ("terminal prompts disabled", Kind::Auth),
    ("returned error: 401", Kind::Auth),
    ("returned error: 403", Kind::Auth),
    ("Permission denied (", Kind::Auth),
    ("Host key verification failed", Kind::Auth),
    ("does not appear to be a git repository", Kind::Missing),
    ("Repository not found", Kind::Missing),
    ("returned error: 404", Kind::Missing),
    ("' not found", Kind::Missing),
    ("' does not exist", Kind::Missing),
    ("Could not resolve host", Kind::Unreachable),
    ("Failed to connect", Kind::Unreachable),
    ("Couldn't connect", Kind::Unreachable),
    ("Connection refused", Kind::Unreachable),
    ("Connection reset", Kind::Unreachable),
    ("Connection timed out", Kind::Unreachable),
    ("Network is unreachable", Kind::Unreachable),
    ("No route to host", Kind::Unreachable),
    ("Operation timed out", Kind::Unreachable),
    ("Operation too slow", Kind::Unreachable),
    ("Empty reply from server", Kind::Unreachable),
    ("transfer closed", Kind::Unreachable),
    ("returned error: 5", Kind::Unreachable),
    ("returned error: 429", Kind::Unreachable),
    ("RPC failed", Kind::Unreachable),
    ("early EOF", Kind::Unreachable),
    ("hung up unexpectedly", Kind::Unreachable),
    ("Could not read from remote repository", Kind::Unreachable),
];

#[derive(Clone, Copy)]
enum Kind {
    Auth,
    Missing,
    Unreachable,
}

impl Output {
    /// The error that an unsuccessful exit stands for.
    pub(crate) fn failure(&self, verb: &'static str, url: String) -> GitError {
        let detail = self.detail();
        let ours: Vec<&str> = self.stderr.lines().filter(|line| !line.starts_with("remote:")).collect();
        let kind = PHRASES
            .iter()
            .find(|(phrase, _)| ours.iter().any(|line| line.contains(phrase)))
            .map(|(_, kind)| *kind);
        match kind {
            Some(Kind::Auth) => GitError::Auth { url, detail },
            Some(Kind::Missing) => GitError::RepositoryMissing { url, detail },
            Some(Kind::Unreachable) => GitError::Unreachable { url, detail },
            None => GitError::Command { verb, status: self.status.clone(), detail },
        }
    }

    /// Standard error as one line of at most 600 characters, without terminal controls.
    pub(crate) fn detail(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("; ").chars().filter(|c| !c.is_control()).take(600).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stderr: &str) -> GitError {
        let output =
            Output { stdout: Vec::new(), stderr: stderr.into(), success: false, status: "exit 128".into() };
        output.failure("fetch", "https://h/a".into())
    }

    #[test]
    fn gits_words_become_kinds() {
        for (stderr, kind) in [
            ("fatal: Authentication failed for 'http://h/a/'", "auth"),
            ("fatal: could not read Username for 'http://h': terminal prompts disabled", "auth"),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "auth"),
            ("fatal: repository 'http://h/a/' not found", "missing"),
            (
                "fatal: '/srv/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                "missing",
            ),
            (
                "fatal: unable to access 'http://h/': Failed to connect to h port 80: Connection refused",
                "unreachable",
            ),
            ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", "unreachable"),
            ("fatal: bad object", "other"),
            ("remote: Authentication failed\nfatal: bad object", "other"),
        ] {
            let found = match failure(stderr) {
                GitError::Auth { .. } => "auth",
                GitError::RepositoryMissing { .. } => "missing",
                GitError::Unreachable { .. } => "unreachable",
                _ => "other",
            };
            assert_eq!(found, kind, "{stderr}");
        }
    }
}
