//! The page: what the API knows, for people. It is whole without its script, which only keeps it fresh and adds the buttons.

mod home;

mod change;

mod task;

mod diff;

mod part;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{StatusCode, Uri};
use axum::response::{Html as Answer, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::access::{COOKIE_NAME, cookie_for};
use crate::api::error::ApiError;
use crate::html::{Html, put};
use crate::server::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(home::show))
        .route("/changes/{id}", get(change::show))
        .route("/tasks/{id}", get(task::show))
        .route("/login", get(show_login).post(login))
        .route("/app.js", get(async || asset("text/javascript; charset=utf-8", include_str!("page/app.js"))))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", include_str!("page/style.css"))))
        .fallback(async || Failure(ApiError::new(StatusCode::NOT_FOUND, "no_route", "there is no such page")))
}

fn asset(kind: &'static str, content: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], content)
}

/// A page whose `live` part is asked for again whenever the farm has changed, unless nothing more can happen to it.
fn page(title: impl std::fmt::Display, is_final: bool, live: Html) -> Answer<String> {
    let mut out = head(title);
    out.raw(r#"<p id="fresh" role="status" hidden></p><main id="main"><div id="live""#);
    if !is_final {
        out.raw(" data-follow");
    }
    out.raw(">");
    out.html(live);
    out.raw("</div></main></body></html>\n");
    Answer(out.into_string())
}

fn head(title: impl std::fmt::Display) -> Html {
    let mut out = Html::default();
    put!(out; r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>"# (title) " · Patchfarm</title>"
        r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#
        r#"<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">"#
        r#"<link rel="stylesheet" href="/style.css"><script src="/app.js" defer></script></head><body>"#
        r##"<a class="skip" href="#main">Skip to content</a>"##
        r#"<header><a class="home" href="/">Patchfarm</a></header>"#);
    out
}

/// An error, for people.
struct Failure(ApiError);

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut out = Html::default();
        put!(out; "<h1>" (self.0.status) "</h1><p>" (self.0.message) "</p>");
        (self.0.status, page(self.0.status, true, out)).into_response()
    }
}

async fn show_login(State(app): State<App>) -> Response {
    if !app.gate.is_closed() {
        return Redirect::to("/").into_response();
    }
    login_form("").into_response()
}

fn login_form(refusal: &'static str) -> Answer<String> {
    let mut out = head("Sign in");
    put!(out; r#"<main id="main"><h1>Sign in</h1><form method="post" action="/login">"#
        r#"<p><label for="token">Token of this farm (PATCHFARM_TOKEN)</label></p>"#
        r#"<p><input id="token" name="token" type="password" autocomplete="current-password" required autofocus>"#
        r#" <button>Sign in</button></p><p role="alert">"# (refusal) "</p></form></main></body></html>\n");
    Answer(out.into_string())
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

/// Gives a cookie for the token. Scripts cannot read it, and other sites cannot make a browser send it.
async fn login(State(app): State<App>, body: Bytes) -> Response {
    // A form's body is written like a query.
    let form = std::str::from_utf8(&body).ok().and_then(|body| Uri::try_from(format!("/?{body}")).ok());
    let form = form.and_then(|uri| Query::<Login>::try_from_uri(&uri).ok());
    match form {
        Some(Query(Login { token })) if app.gate.knows(&token) => {
            let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict", cookie_for(&token));
            ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        _ => (StatusCode::UNAUTHORIZED, login_form("This is not the token.")).into_response(),
    }
}
