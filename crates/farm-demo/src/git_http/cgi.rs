//! One request through `git http-backend`, as RFC 3875 (CGI) has it; both bodies are streamed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes in one piece of a streamed answer.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of headers that are read before the answer counts as broken.
const MAX_HEADER_BYTES: u64 = 64 * 1024;

/// The program gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CgiError {
    /// It did not start.
    #[error("git http-backend cannot be started: {source}; is git installed?")]
    NotStarted {
        /// Why.
        source: std::io::Error,
    },
    /// Its pipes broke.
    #[error("git http-backend cannot be read: {source}")]
    Unreadable {
        /// Why.
        source: std::io::Error,
    },
    /// Something other than a header stood before the empty line.
    #[error("git http-backend sent {line:?} where a header was expected")]
    NoHeader {
        /// What stood there.
        line: String,
    },
}

/// Serves `request` from the repositories below `root`.
pub(super) async fn serve(
    root: &Path,
    path: &OsStr,
    user: Option<&str>,
    request: Request,
) -> Result<Response, CgiError> {
    let mut child =
        command(root, path, user, &request).spawn().map_err(|source| CgiError::NotStarted { source })?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        let source = std::io::Error::other("a pipe is missing");
        return Err(CgiError::NotStarted { source });
    };
    tokio::spawn(feed(request.into_body(), stdin));
    tokio::spawn(log(stderr));

    // The program sends its headers before it does its work, so they come at once.
    let mut stdout = BufReader::with_capacity(CHUNK_BYTES, stdout);
    let mut response = head(&mut stdout).await?;
    let (send, receive) = mpsc::channel(4);
    tokio::spawn(pass_on(child, stdout, send));
    *response.body_mut() = Body::from_stream(ReceiverStream::new(receive));
    Ok(response)
}

fn command(root: &Path, path: &OsStr, user: Option<&str>, request: &Request) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "http.receivepack=true", "-c", "safe.directory=*"])
        // A collection in the background would outlive a test and its folder.
        .args(["-c", "receive.autogc=false", "http-backend"])
        .env_clear()
        .env("PATH", path)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(user) = user {
        command.env("REMOTE_USER", user);
    }
    let git_protocol = HeaderName::from_static("git-protocol");
    for (header, variable) in [
        (CONTENT_TYPE, "CONTENT_TYPE"),
        (CONTENT_LENGTH, "CONTENT_LENGTH"),
        (CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (git_protocol, "GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.headers().get(header).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    command
}

/// Passes the request's body to the program. A client that goes away ends it early, and git then refuses what it has.
async fn feed(body: Body, stdin: ChildStdin) {
    let mut stdin = Some(stdin);
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        // A program that stopped reading still answers; the rest is read for the client's sake, who sends before it listens.
        if let Some(pipe) = &mut stdin
            && pipe.write_all(&chunk).await.is_err()
        {
            stdin = None;
        }
    }
}

async fn log(stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(line, "git http-backend");
    }
}

/// Reads the headers of the answer, up to and with the empty line.
async fn head(stdout: &mut BufReader<ChildStdout>) -> Result<Response, CgiError> {
    let mut response = Response::new(Body::empty());
    let mut limited = stdout.take(MAX_HEADER_BYTES);
    loop {
        let mut line = String::new();
        limited.read_line(&mut line).await.map_err(|source| CgiError::Unreadable { source })?;
        let text = line.trim_end();
        if text.is_empty() && line.ends_with('\n') {
            return Ok(response);
        }
        let no_header = || CgiError::NoHeader { line: text.to_owned() };
        let (name, value) = text.split_once(": ").ok_or_else(no_header)?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).map_err(|_| no_header())?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| no_header())?;
            let value = HeaderValue::from_str(value).map_err(|_| no_header())?;
            response.headers_mut().append(name, value);
        }
    }
}

/// Passes the answer's body on. A client that went away changes nothing: a push that was sent in full still lands, as it does
/// on a real host.
async fn pass_on(
    mut child: Child,
    mut stdout: BufReader<ChildStdout>,
    send: mpsc::Sender<std::io::Result<Bytes>>,
) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let piece = match stdout.read(&mut chunk).await {
            Ok(0) => break,
            Ok(length) => {
                chunk.truncate(length);
                Ok(Bytes::from(chunk))
            }
            Err(error) => Err(error),
        };
        let broken = piece.is_err();
        // Nobody listens any more: see above.
        let _ = send.send(piece).await;
        if broken {
            break;
        }
    }
    match child.wait().await {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::debug!(%status, "git http-backend"),
        Err(error) => tracing::warn!(%error, "git http-backend"),
    }
}
