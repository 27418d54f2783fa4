//! A remote repository: its address, checked once, and how to prove who we are.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use farm_core::redact::{Redactor, Secret};

use crate::error::GitError;

/// The longest address that is accepted, in bytes.
const MAX_URL_LEN: usize = 2048;

/// An address that was checked, and a credential. Neither `Debug` nor `Display` shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    transport: Transport,
    credential: Option<Credential>,
}

/// How to prove who we are. The caller reads secrets from environment or file; they reach git through its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password (or token) over HTTP.
    Basic {
        /// User name; for most hosts' tokens any non-empty word.
        user: String,
        /// Password or access token.
        secret: Secret,
    },
    /// A bearer token over HTTP.
    Bearer(Secret),
    /// A private key file over ssh, and the file of known hosts if it is not the user's own.
    SshKey {
        /// The private key; ssh insists that only its owner can read it.
        key: PathBuf,
        /// `known_hosts`; `None` is the user's own.
        known_hosts: Option<PathBuf>,
    },
}

/// The four ways to reach a repository; every other scheme and remote helper is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `https://`
    Https,
    /// `http://`
    Http {
        /// Whether the host is this machine.
        loopback: bool,
    },
    /// `ssh://` or `user@host:path`
    Ssh,
    /// `file://` or an absolute path
    Local,
}

impl Remote {
    /// Checks the address and that the credential fits its transport.
    pub fn new(url: &str, credential: Option<Credential>) -> Result<Self, GitError> {
        let transport = check_url(url)?;
        match (&credential, transport) {
            (None, _) => {}
            (Some(Credential::Basic { user, secret }), Transport::Https | Transport::Http { .. }) => {
                if user.contains(':') || has_control(user) || has_control(secret.reveal()) {
                    return refuse(
                        "a user name holds no colon, and neither it nor the secret a control character",
                    );
                }
            }
            (Some(Credential::Bearer(secret)), Transport::Https | Transport::Http { .. }) => {
                if has_control(secret.reveal()) {
                    return refuse("a token holds no control character");
                }
            }
            (Some(Credential::SshKey { .. }), Transport::Ssh) => {}
            (Some(_), _) => return refuse("the credential does not fit the address's transport"),
        }
        Ok(Self { url: url.to_owned(), transport, credential })
    }

    /// The address; it holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// The header that proves who we are, for HTTP.
    pub(crate) fn authorization(&self) -> Option<String> {
        match &self.credential {
            Some(Credential::Basic { user, secret }) => {
                let pair = format!("{user}:{}", secret.reveal());
                Some(format!(
                    "Authorization: Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                ))
            }
            Some(Credential::Bearer(secret)) => Some(format!("Authorization: Bearer {}", secret.reveal())),
            Some(Credential::SshKey { .. }) | None => None,
        }
    }

    /// Cleans git's words, which may repeat what a server echoed.
    pub(crate) fn redactor(&self) -> Redactor {
        match &self.credential {
            Some(Credential::Basic { secret, .. } | Credential::Bearer(secret)) => {
                let header = self.authorization().unwrap_or_default();
                let encoded = header.rsplit(' ').next().unwrap_or_default();
                Redactor::new([secret, &Secret::new(encoded)])
            }
            Some(Credential::SshKey { .. }) | None => Redactor::default(),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

fn refuse<T>(why: &str) -> Result<T, GitError> {
    Err(GitError::InvalidRemote { why: why.to_owned() })
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn check_url(url: &str) -> Result<Transport, GitError> {
    if url.is_empty() || url.len() > MAX_URL_LEN {
        return refuse("it must have 1 to 2048 bytes");
    }
    // A newline could smuggle a second line into git's credential protocol or config (CVE-2020-5260, CVE-2025-48384).
    if has_control(url) {
        return refuse("it holds a control character such as a newline");
    }
    if let Some(path) = url.strip_prefix("file://").or_else(|| url.starts_with('/').then_some(url)) {
        return if path.starts_with('/') {
            Ok(Transport::Local)
        } else {
            refuse("a file address has the form file:///absolute/path")
        };
    }
    if url.contains(char::is_whitespace) {
        return refuse("it holds white space");
    }
    match url.split_once("://") {
        Some(("https", rest)) => check_http(rest).map(|_| Transport::Https),
        Some(("http", rest)) => check_http(rest).map(|host| Transport::Http { loopback: is_loopback(host) }),
        Some(("ssh", rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            if user.contains(':') {
                return refuse("a password does not belong into the address; use a credential reference");
            }
            check_ssh(user, host, path)
        }
        Some(_) => refuse("the scheme must be https, http, ssh or file"),
        None => {
            // `user@host:path`, as scp writes it; `helper::address` would start a program of that name.
            let Some((authority, path)) = url.split_once(':').filter(|(host, _)| !host.contains('/')) else {
                return refuse("expected https://, ssh://, user@host:path, file:// or an absolute path");
            };
            if path.starts_with(':') {
                return refuse("remote helpers are not used");
            }
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            check_ssh(user, host, path)
        }
    }
}

fn check_http(rest: &str) -> Result<&str, GitError> {
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return refuse("user and password do not belong into the address; use a credential reference");
    }
    if authority.is_empty() || authority.starts_with('-') {
        return refuse("it names no host");
    }
    if rest.contains(['?', '#', '\\']) {
        return refuse("a repository's address has no query, fragment or backslash");
    }
    Ok(authority)
}

fn check_ssh(user: &str, host: &str, path: &str) -> Result<Transport, GitError> {
    // A leading dash would be read as an option by ssh or by the remote git (CVE-2017-1000117).
    if host.is_empty() || path.is_empty() || [user, host, path].iter().any(|part| part.starts_with('-')) {
        return refuse("an ssh address needs host and path, none of which begins with a dash");
    }
    Ok(Transport::Ssh)
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_four_transports_are_taken() {
        for (url, transport) in [
            ("https://git.example.com/team/app.git", Transport::Https),
            ("http://127.0.0.1:8080/app.git", Transport::Http { loopback: true }),
            ("http://[::1]:8080/app.git", Transport::Http { loopback: true }),
            ("http://git.example.com/app.git", Transport::Http { loopback: false }),
            ("http://127.0.0.1.example.com/app.git", Transport::Http { loopback: false }),
            ("ssh://git@git.example.com:2222/app.git", Transport::Ssh),
            ("git@git.example.com:team/app.git", Transport::Ssh),
            ("/srv/git/with space.git", Transport::Local),
            ("file:///srv/git/app.git", Transport::Local),
        ] {
            assert_eq!(check_url(url).unwrap(), transport, "{url}");
        }
    }

    #[test]
    fn addresses_that_could_run_something_or_leak_something_are_refused() {
        for url in [
            "",
            "app.git",
            "../app.git",
            "https://h/a\nb",
            "https://h/a\rb",
            "/srv/a\nb",
            "-uhttps://h/a",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "fd::17",
            "git://h/a",
            "ftp://h/a",
            "ssh://-oProxyCommand=x/a",
            "ssh://git@-oProxyCommand=x/a",
            "ssh://git:pw@h/a",
            "-oProxyCommand=x:a",
            "git@host:-x",
            "https://user:hunter22@h/a",
            "https://token@h/a",
            "https:///a",
            "https://h/a?token=hunter22",
            "file://host/a",
            &format!("https://h/{}", "a".repeat(3000)),
        ] {
            let error = Remote::new(url, None).unwrap_err().to_string();
            assert!(!error.contains("hunter22"), "{error}");
        }
    }

    #[test]
    fn a_credential_must_fit_and_is_never_shown() {
        let basic = || Some(Credential::Basic { user: "bot".into(), secret: Secret::new("hunter22") });
        let remote = Remote::new("https://h/a", basic()).unwrap();
        assert!(!format!("{remote:?} {remote}").contains("hunter22"));
        assert!(!remote.redactor().clean("bot:hunter22 Ym90Omh1bnRlcjIy").contains("Ym90Omh1bnRlcjIy"));
        assert!(Remote::new("/srv/a", basic()).is_err());
        assert!(Remote::new("git@h:a", basic()).is_err());
        let split = Credential::Basic { user: "bot".into(), secret: Secret::new("a\r\nX-Evil: 1") };
        assert!(Remote::new("https://h/a", Some(split)).is_err());
    }
}
