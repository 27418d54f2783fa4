//! Who may ask. With a token: whoever shows it, in a header or by the cookie that `/login` gave for it. Without one: whoever
//! reaches the port, but a web page that somebody else wrote must not ask through the reader's browser.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use farm_core::delta::sha256;
use farm_core::redact::Secret;

use crate::api::error::ApiError;
use crate::server::App;

/// The cookie's name.
pub(crate) const COOKIE_NAME: &str = "patchfarm";

/// What browsers say of where a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What everybody may have: it tells nothing of the farm.
const OPEN: [&str; 3] = ["/login", "/app.js", "/style.css"];

/// Knows the token by its digests only, so that comparing tells nothing by its time.
pub(crate) struct Gate {
    token: Option<Digests>,
}

struct Digests {
    token: String,
    session: String,
}

/// How a caller showed that it may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Token,
    Cookie,
    Nothing,
}

impl Gate {
    pub(crate) fn new(token: Option<Secret>) -> Self {
        let digests = |token: Secret| Digests {
            token: sha256(token.reveal().as_bytes()),
            session: sha256(cookie_for(token.reveal()).as_bytes()),
        };
        Self { token: token.map(digests) }
    }

    /// Whether a token is wanted at all.
    pub(crate) fn is_closed(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this is the token.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.token.as_ref().is_some_and(|digests| sha256(token.as_bytes()) == digests.token)
    }

    fn shown(&self, headers: &HeaderMap) -> Shown {
        let Some(digests) = &self.token else { return Shown::Nothing };
        if bearer(headers).is_some_and(|token| self.knows(token)) {
            Shown::Token
        } else if cookie(headers).is_some_and(|cookie| sha256(cookie.as_bytes()) == digests.session) {
            Shown::Cookie
        } else {
            Shown::Nothing
        }
    }

    /// Judges a request by its method, address and headers.
    fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        match self.shown(headers) {
            // No foreign page can make a browser send this header.
            Shown::Token => return Ok(()),
            Shown::Cookie => {}
            Shown::Nothing if self.is_closed() => {
                if !OPEN.contains(&uri.path()) {
                    return Err(ApiError::unauthorized());
                }
            }
            Shown::Nothing => known_host(headers, uri, is_safe(method))?,
        }
        if is_safe(method) { Ok(()) } else { same_origin(headers, uri) }
    }
}

/// Whether a call with this method changes nothing.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The cookie's value: it shows that its owner knew the token, and does not tell it.
pub(crate) fn cookie_for(token: &str) -> String {
    sha256(format!("patchfarm session\0{token}").as_bytes())
}

/// Lets pass what may pass. A person without a token is led to `/login`.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.gate.judge(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) if error.is_unauthorized() && !request.uri().path().starts_with("/api/") => {
            Redirect::to("/login").into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// Refuses what a browser says comes from another origin. Programs say nothing of the kind, and are not tricked into calls.
fn same_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let site = headers.get(SEC_FETCH_SITE).map(|value| value.as_bytes());
    if site.is_some_and(|site| site != b"same-origin") {
        return Err(ApiError::foreign_origin());
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    if origin.is_some() && origin == authority(headers, uri) {
        Ok(())
    } else {
        Err(ApiError::foreign_origin())
    }
}

/// Refuses names that somebody else may make lead here (DNS rebinding). An address cannot be made so, but only a loopback
/// one says that the caller is on this machine.
fn known_host(headers: &HeaderMap, uri: &Uri, reads: bool) -> Result<(), ApiError> {
    let found = authority(headers, uri).unwrap_or_default();
    let name = match found.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => found.split_once(':').map_or(found, |(name, _)| name),
    };
    let is_known = match name.parse::<IpAddr>() {
        Ok(address) => reads || address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    if is_known { Ok(()) } else { Err(ApiError::foreign_host(name)) }
}

/// What a request calls this server: its one Host header.
fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, None) => uri.authority().map(|authority| authority.as_str()),
        _ => None,
    }
}
