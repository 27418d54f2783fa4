//! A smart-HTTP git remote on loopback: `git http-backend` behind a small HTTP server.
//!
//! It is git's own server code over a folder of bare repositories, so hooks run, refused refs are refused and compare-and-swap
//! is what a git host does. Faults can be switched on, because remotes have them.

mod cgi;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::StreamExt;

/// A running remote. It stops when dropped; requests under way end first.
#[derive(Debug)]
pub struct GitHttp {
    address: SocketAddr,
    front: Arc<Front>,
    /// Never sent on: dropping it is the signal to stop.
    _stop: oneshot::Sender<()>,
}

/// Which requests a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Any,
    /// Clones and fetches.
    Fetch,
    /// Pushes.
    Push,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503, as an overloaded host answers.
    Unavailable,
    /// 403, as a host answers to a credential that may not.
    Forbidden,
    /// The connection ends in place of an answer.
    HangUp,
    /// The request is served in full, but its answer never arrives: the client cannot know that its push landed. (The git
    /// command's HTTP library then sends it once more by itself.)
    LoseAnswer,
    /// The request is served after a pause.
    Delay(Duration),
}

/// Requests served so far, faults included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Listings of refs, which begin every fetch and push.
    pub listings: u64,
    /// Requests for objects (or, in protocol 2, for the listing within).
    pub fetches: u64,
    /// Pushes.
    pub pushes: u64,
}

impl GitHttp {
    /// Serves the bare repositories below `root` on a free port of 127.0.0.1, to anyone or to one user with a secret.
    pub async fn start(root: &Path, auth: Option<(String, String)>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let front = Arc::new(Front {
            root: root.canonicalize()?,
            path: std::env::var_os("PATH").unwrap_or_default(),
            auth: auth.map(|(user, secret)| Login::new(user, &secret)),
            fault: Mutex::new(None),
            listings: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            pushes: AtomicU64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&front));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            // The sender is only ever dropped, so this ends with an error, and that is the signal.
            let _ = stopped.await;
        });
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "git remote stopped");
            }
        });
        Ok(Self { address, front, _stop: stop })
    }

    /// The URL of a repository by its folder below the root (`tally.git`), without credentials.
    pub fn url(&self, repo: &str) -> String {
        format!("http://{}/{repo}", self.address)
    }

    /// Lets `fault` happen to the requests that `when` names, until [`GitHttp::heal`].
    pub fn fail(&self, when: When, fault: Fault) {
        *self.front.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((when, fault));
    }

    /// Ends the fault.
    pub fn heal(&self) {
        *self.front.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many requests came so far.
    pub fn counts(&self) -> Counts {
        Counts {
            listings: self.front.listings.load(Ordering::Relaxed),
            fetches: self.front.fetches.load(Ordering::Relaxed),
            pushes: self.front.pushes.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
struct Front {
    root: PathBuf,
    path: OsString,
    auth: Option<Login>,
    fault: Mutex<Option<(When, Fault)>>,
    listings: AtomicU64,
    fetches: AtomicU64,
    pushes: AtomicU64,
}

/// Who may come in, and the header that proves it. Has no `Debug` that would print the secret.
struct Login {
    user: String,
    header: String,
}

impl Login {
    fn new(user: String, secret: &str) -> Self {
        let header = format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
        Self { user, header }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Front {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.auth
            .as_ref()
            .is_none_or(|login| headers.get(AUTHORIZATION).is_some_and(|sent| *sent == *login.header))
    }

    fn count(&self, uri: &Uri) {
        let counter = if uri.path().ends_with("/info/refs") {
            &self.listings
        } else if is_push(uri) {
            &self.pushes
        } else {
            &self.fetches
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn fault(&self, uri: &Uri) -> Option<Fault> {
        let (when, fault) = (*self.fault.lock().unwrap_or_else(PoisonError::into_inner))?;
        let meets = match when {
            When::Any => true,
            When::Fetch => !is_push(uri),
            When::Push => is_push(uri),
        };
        meets.then_some(fault)
    }
}

/// Whether this request belongs to a push: its listing of refs, or the push itself.
fn is_push(uri: &Uri) -> bool {
    uri.path().ends_with("/git-receive-pack")
        || uri.query().is_some_and(|query| query.contains("service=git-receive-pack"))
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    if !front.admits(request.headers()) {
        let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"git\""))];
        return (StatusCode::UNAUTHORIZED, challenge, "a user and a secret are needed\n").into_response();
    }
    front.count(request.uri());
    let fault = front.fault(request.uri());
    match fault {
        None | Some(Fault::LoseAnswer) => {}
        Some(Fault::Unavailable) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "try again later\n").into_response();
        }
        Some(Fault::Forbidden) => return (StatusCode::FORBIDDEN, "not allowed\n").into_response(),
        Some(Fault::HangUp) => return hang_up(),
        Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
    }
    let user = front.auth.as_ref().map(|login| login.user.as_str());
    // A listing has no effect that a lost answer could hide.
    let lose = fault == Some(Fault::LoseAnswer) && !request.uri().path().ends_with("/info/refs");
    let response = match cgi::serve(&front.root, &front.path, user, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "git http-backend");
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
        }
    };
    if lose {
        let mut rest = response.into_body().into_data_stream();
        while rest.next().await.is_some() {}
        return hang_up();
    }
    response
}

/// An answer that breaks off at once, which makes the server close the connection.
fn hang_up() -> Response {
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(tokio_stream::once(Err::<Bytes, _>(broken))))
}
