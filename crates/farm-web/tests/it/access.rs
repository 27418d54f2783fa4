//! Who may ask: with a token, without one, and from a page that somebody else wrote.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Farm, read};

const TOKEN: &str = "a-token-with-%-and-&";

#[tokio::test]
async fn with_a_token_nothing_is_told_to_who_does_not_know_it() {
    let farm = Farm::with(Some(TOKEN)).await;
    for (path, status) in [
        ("/api/v1/status", 401),
        ("/api/v1/events", 401),
        ("/api/v1/nothing", 401),
        ("/", 303),
        ("/tasks/t", 303),
    ] {
        for given in [None, Some("Bearer other"), Some("Bearer "), Some("Basic a-token-with-%-and-&")] {
            let mut request = farm.request(Method::GET, path);
            if let Some(given) = given {
                request = request.header(AUTHORIZATION, given);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path} {given:?}");
            match status {
                401 => assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer"),
                _ => assert_eq!(answer.headers()[LOCATION], "/login"),
            }
        }
    }
    let post = farm.request(Method::POST, "/api/v1/changes").json(&json!({}));
    assert_eq!(read(post).await.0, StatusCode::UNAUTHORIZED);
    for path in ["/login", "/app.js", "/style.css"] {
        assert_eq!(farm.page(path).await.0, StatusCode::OK, "{path}");
    }
    let shown = farm.request(Method::GET, "/api/v1/status").bearer_auth(TOKEN);
    assert_eq!(read(shown).await.0, StatusCode::OK);
    // Whoever knows the token may call this server by any name.
    let named =
        farm.request(Method::POST, "/api/v1/tasks/t/cancel").bearer_auth(TOKEN).header("host", "farm.test");
    assert_eq!(read(named).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_person_signs_in_with_the_token_and_gets_a_cookie() {
    let farm = Farm::with(Some(TOKEN)).await;
    let form = |token: &str| {
        let body = format!("token={}", token.replace('%', "%25").replace('&', "%26"));
        farm.request(Method::POST, "/login")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
    };
    let refused = form("other").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().get(SET_COOKIE)), (401, None));
    let foreign = form(TOKEN).header("origin", "http://evil.test").send().await.unwrap();
    assert_eq!((foreign.status().as_u16(), foreign.headers().get(SET_COOKIE)), (403, None));
    let accepted = form(TOKEN).header("origin", &farm.base).send().await.unwrap();
    assert_eq!(accepted.status(), StatusCode::SEE_OTHER);
    let cookie = accepted.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let with = |method, path: &str| farm.request(method, path).header(COOKIE, format!("a=b; {cookie}"));
    assert_eq!(with(Method::GET, "/").send().await.unwrap().status(), StatusCode::OK);
    let forged = farm.request(Method::GET, "/").header(COOKIE, format!("patchfarm={TOKEN}"));
    assert_eq!(forged.send().await.unwrap().status(), StatusCode::SEE_OTHER);
    for (name, value, status) in [
        ("origin", farm.base.as_str(), 404),
        ("sec-fetch-site", "same-origin", 404),
        ("origin", "http://evil.test", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let answer = read(with(Method::POST, "/api/v1/tasks/t/cancel").header(name, value)).await;
        assert_eq!(answer.0.as_u16(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn without_a_token_only_this_machine_changes_anything() {
    let farm = Farm::start().await;
    let port = farm.base.rsplit_once(':').unwrap().1;
    for (host, reads, changes) in [
        ("localhost", true, true),
        ("LOCALHOST:1", true, true),
        ("127.0.0.1", true, true),
        ("127.1.2.3:80", true, true),
        ("[::1]:8080", true, true),
        ("192.168.1.7:8080", true, false),
        ("[fe80::1]", true, false),
        ("evil.test", false, false),
        ("localhost.evil.test", false, false),
        ("127.0.0.1.evil.test", false, false),
        ("", false, false),
    ] {
        let get = read(farm.request(Method::GET, "/api/v1/status").header("host", host)).await;
        assert_eq!(get.0 == StatusCode::OK, reads, "GET as {host:?}: {}", get.1);
        let post = read(farm.request(Method::POST, "/api/v1/tasks/t/cancel").header("host", host)).await;
        assert_eq!(post.0 == StatusCode::NOT_FOUND, changes, "POST as {host:?}: {}", post.1);
        if !reads {
            assert_eq!((get.0.as_u16(), get.1["code"].as_str()), (403, Some("foreign_host")));
        }
    }
    for (origin, status) in [
        (farm.base.clone(), 404),
        (format!("http://localhost:{port}"), 403),
        ("http://127.0.0.1:1".to_owned(), 403),
        ("https://evil.test".to_owned(), 403),
        ("null".to_owned(), 403),
    ] {
        let post = farm.request(Method::POST, "/api/v1/tasks/t/cancel").header("origin", &origin);
        assert_eq!(read(post).await.0.as_u16(), status, "{origin}");
    }
    let post = farm.request(Method::DELETE, "/api/v1/repositories/r").header("sec-fetch-site", "cross-site");
    assert_eq!(read(post).await.1["code"], "foreign_origin");
    assert_eq!(farm.page("/login").await.0, StatusCode::SEE_OTHER, "there is nothing to sign in to");
}
