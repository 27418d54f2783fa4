//! Credentials reach the server and nothing else.

use std::path::Path;

use farm_core::redact::Secret;
use farm_git::error::GitError;
use farm_git::remote::Credential;

use crate::http_server::HttpServer;
use crate::support::{Lab, edit};

const PASSWORD: &str = "correct-horse-battery";
/// `bot:correct-horse-battery`, as the header has it.
const ENCODED: &str = "Ym90OmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==";

fn login(secret: &str) -> Option<Credential> {
    Some(Credential::Basic { user: "bot".into(), secret: Secret::new(secret) })
}

fn assert_not_in_files(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            assert_not_in_files(&entry.path());
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(PASSWORD) && !text.contains(ENCODED), "{}", entry.path().display());
        }
    }
}

#[tokio::test]
async fn a_password_is_sent_and_seen_nowhere_else() {
    let lab = Lab::new();
    let server = HttpServer::with_login(lab.dir.path(), &format!("bot:{PASSWORD}"));
    let mirrors = lab.mirrors();
    let mirror = mirrors.mirror(&lab.http(&server, login(PASSWORD))).await.unwrap();
    let main = mirror.ensure_branch("main").await.unwrap();
    let commit = edit(&mirror.objects(), Some(&main), "x\n");
    mirror.push("agt/t", None, &commit).await.unwrap();
    assert_eq!(lab.tip("agt/t"), Some(commit));
    let log = server.log();
    assert!(log.iter().all(|request| request.headers.contains_key("authorization")), "no wasted round trip");
    for request in &log {
        assert!(request.processes.contains("git-remote-http") || request.processes.contains("remote-http"));
        assert!(!request.processes.contains(PASSWORD) && !request.processes.contains(ENCODED));
    }
    assert_not_in_files(&lab.dir.path().join("mirrors"));
    assert!(!format!("{mirror:?} {mirrors:?}").contains(PASSWORD));
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_repeated() {
    let lab = Lab::new();
    let server = HttpServer::with_login(lab.dir.path(), "bot:another-password");
    let mirror = lab.mirrors().mirror(&lab.http(&server, login(PASSWORD))).await.unwrap();
    for error in [mirror.tip("main").await.unwrap_err(), mirror.ensure_branch("main").await.unwrap_err()] {
        assert!(matches!(error, GitError::Auth { .. }) && !error.is_transient(), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(PASSWORD) && !shown.contains(ENCODED), "{shown}");
    }
    let commit = edit(&mirror.objects(), None, "x\n");
    let error = mirror.push("agt/t", None, &commit).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(ENCODED), "{error:?}");
}

#[tokio::test]
async fn a_redirect_does_not_carry_the_password_along() {
    let lab = Lab::new();
    let thief = HttpServer::start(lab.dir.path());
    let server = HttpServer::redirecting(thief.url("").trim_end_matches('/'));
    let mirror = lab.mirrors().mirror(&lab.http(&server, login(PASSWORD))).await.unwrap();
    assert!(mirror.tip("main").await.is_err());
    assert_eq!(thief.log().len(), 0);
    // Without a credential there is nothing to lose.
    let mirror = lab.mirrors().mirror(&lab.http(&server, None)).await.unwrap();
    assert_eq!(mirror.tip("main").await.unwrap(), lab.tip("main"));
}
