//! A small HTTP/1.1 front for `git http-backend`, with basic authentication and a log of what was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;

/// A running server; it ends with the test process.
pub(crate) struct HttpServer {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    root: PathBuf,
    /// `user:password` that is asked for.
    login: Option<String>,
    /// Where every request is redirected to.
    redirect: Option<String>,
    /// Requests for targets that end so are carried out, and the connection closed instead of an answer.
    losing: Option<String>,
    log: Mutex<Vec<Request>>,
}

/// One request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    /// Command lines of all processes of the machine while the request was served.
    pub(crate) processes: String,
}

impl HttpServer {
    pub(crate) fn start(root: &Path) -> Self {
        Self::run(State { root: root.to_owned(), ..State::default() })
    }

    pub(crate) fn with_login(root: &Path, login: &str) -> Self {
        Self::run(State { root: root.to_owned(), login: Some(login.to_owned()), ..State::default() })
    }

    pub(crate) fn redirecting(to: &str) -> Self {
        Self::run(State { redirect: Some(to.to_owned()), ..State::default() })
    }

    pub(crate) fn losing_answers(root: &Path, ending: &str) -> Self {
        Self::run(State { root: root.to_owned(), losing: Some(ending.to_owned()), ..State::default() })
    }

    fn run(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(state);
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), shared.clone());
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }

    /// How many requests were for a target that ends so.
    pub(crate) fn count(&self, ending: &str) -> usize {
        self.log().iter().filter(|request| request.target.ends_with(ending)).count()
    }
}

/// Serves one connection until the client closes it.
fn serve(stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some((request, body)) = read_request(&mut reader) {
        let wanted = state
            .login
            .as_ref()
            .map(|login| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login)));
        let given = request.headers.get("authorization").cloned();
        state.log.lock().unwrap().push(request.clone());
        let answer = if let Some(to) = &state.redirect {
            format!("HTTP/1.1 301 Moved\r\nLocation: {to}{}\r\nContent-Length: 0\r\n\r\n", request.target)
                .into_bytes()
        } else if wanted.is_some() && wanted != given {
            // A careless server that repeats what it was sent.
            let echo = given.unwrap_or_default();
            format!(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"{echo}\"\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n{echo}",
                echo.len()
            )
            .into_bytes()
        } else {
            backend(&request, &body, &state.root)
        };
        let is_lost = state.losing.as_ref().is_some_and(|ending| request.target.ends_with(ending));
        if is_lost || stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<(Request, Vec<u8>)> {
    let mut line = || {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request { method: words.next()?, target: words.next()?, ..Request::default() };
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    request.processes = command_lines();
    let mut body = Vec::new();
    if request.headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            reader.take(size).read_to_end(&mut body).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.headers.get("content-length") {
        reader.take(length.parse().ok()?).read_to_end(&mut body).ok()?;
    }
    Some((request, body))
}

/// What any user of the machine can see of running programs.
pub(crate) fn command_lines() -> String {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n").collect()
}

/// Runs the CGI program and turns its answer into HTTP.
fn backend(request: &Request, body: &[u8], root: &Path) -> Vec<u8> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "tester")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // The program may end before it has read everything.
            let _ = stdin.write_all(body);
        });
        child.wait_with_output().unwrap()
    });
    let split = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, content) = output.stdout.split_at(split);
    let head = String::from_utf8_lossy(head);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let kept = head.lines().filter(|line| !line.starts_with("Status:")).map(|line| format!("{line}\r\n"));
    let content = &content[4..];
    let mut answer =
        format!("HTTP/1.1 {status}\r\n{}Content-Length: {}\r\n\r\n", kept.collect::<String>(), content.len())
            .into_bytes();
    answer.extend_from_slice(content);
    answer
}
