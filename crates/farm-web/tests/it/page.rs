//! What people see, and that no foreign text becomes markup there.

use farm_core::result::Status;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Farm, HOSTILE, PAYLOADS};

/// A change and a task whose every text is hostile, with a pushed patch.
async fn hostile_farm() -> Farm {
    let farm = Farm::with_repository().await;
    farm.submit("t1", HOSTILE).await;
    let run = farm.begin("t1").await;
    farm.report(&run, HOSTILE).await;
    farm.succeed(&run, &format!("{HOSTILE}\n--- {HOSTILE}\nplain\n")).await;
    farm
}

#[tokio::test]
async fn no_foreign_text_becomes_markup() {
    let farm = hostile_farm().await;
    for path in ["/", "/changes/c-t1", "/tasks/t1", "/tasks/%3Cscript%3Ealert", "/?state=%3Cscript%3Ealert"] {
        let (_, html) = farm.page(path).await;
        assert!(html.starts_with("<!DOCTYPE html>"), "{path}: {html}");
        for payload in PAYLOADS {
            assert!(!html.contains(payload), "{path} holds {payload:?}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{path} has one script, its own");
    }
    let (_, html) = farm.page("/tasks/t1").await;
    let shown =
        r"&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;x\u{202e}\u{1b}[31m&amp;amp;";
    for place in ["", "asked the model ", "test ", "output ", "model ", "+", "+--- "] {
        assert!(html.contains(&format!("{place}{shown}")), "{place:?} is not shown");
    }
}

#[tokio::test]
async fn a_patch_says_in_words_and_signs_what_it_does() {
    let farm = hostile_farm().await;
    let (_, html) = farm.page("/tasks/t1").await;
    assert!(html.contains(r#"<div class="file">diff --git a/notes.txt b/notes.txt</div>"#));
    assert!(html.contains(r#"<div class="added">+plain</div>"#));
    // A line that looks like a header is what its hunk says, and says that it holds what one would not see.
    assert!(html.contains(r#"<div class="added warning">⚠ +--- &lt;script"#), "{html}");
    assert!(html.contains("⚠ 2 lines hold"), "{html}");
}

#[tokio::test]
async fn a_state_is_told_by_a_word() {
    let farm = Farm::with_repository().await;
    for task in ["queued", "running", "failed"] {
        farm.submit(task, "g").await;
    }
    farm.begin("running").await;
    let run = farm.begin("failed").await;
    farm.fail(&run, "a note").await;
    let (_, home) = farm.page("/").await;
    for (task, word) in [("queued", "queued"), ("running", "running"), ("failed", Status::SoftFail.as_str())]
    {
        let (_, html) = farm.page(&format!("/tasks/{task}")).await;
        for html in [&home, &html] {
            assert!(html.contains(&format!("</span> {word}</span>")), "{task}: {html}");
        }
    }
    let (_, html) = farm.page("/tasks/failed").await;
    assert!(html.contains("a check is worse than on the base") && html.contains("a note"), "{html}");
    assert!(html.contains(r#"data-post="/api/v1/tasks/failed/retry""#), "{html}");
    let (_, html) = farm.page("/?state=running").await;
    assert!(html.contains("/tasks/running") && !html.contains("/tasks/queued"), "{html}");
}

#[tokio::test]
async fn a_long_list_goes_on() {
    let farm = Farm::with_repository().await;
    let tasks: Vec<_> = (0..60).map(|n| json!({ "id": format!("n{n}"), "goal": "g" })).collect();
    let body = json!({ "id": "c", "repository": "greet", "goal": "g", "tasks": tasks });
    assert_eq!(farm.post("/api/v1/changes", &body).await.0, StatusCode::CREATED);
    let (_, first) = farm.page("/").await;
    let older = first.split("<a href=\"").find(|link| link.contains("tasks-before")).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    let (_, second) = farm.page(&older).await;
    for n in 0..60 {
        let link = format!("\"/tasks/n{n}\"");
        assert_ne!(first.contains(&link), second.contains(&link), "{link} is on one of two pages");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_people() {
    let farm = Farm::start().await;
    for (path, status) in [("/tasks/none", 404), ("/changes/none", 404), ("/tasks/A", 400), ("/nothing", 404)]
    {
        let (found, html) = farm.page(path).await;
        assert_eq!(found.as_u16(), status, "{path}");
        assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<h1>"), "{path}: {html}");
    }
    let (status, html) = farm.page("/").await;
    assert!(status.is_success() && html.contains("none seen yet"), "{html}");
}

#[tokio::test]
async fn nothing_comes_from_elsewhere_and_nothing_may_run_but_the_one_script() {
    let farm = hostile_farm().await;
    for path in
        ["/", "/tasks/t1", "/changes/c-t1", "/nothing", "/app.js", "/api/v1/status", "/api/v1/nothing"]
    {
        let answer = farm.request(Method::GET, path).send().await.unwrap();
        let headers = answer.headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "same-origin");
        let text = answer.text().await.unwrap();
        for marker in ["http://", "https://", " style=\"", "<style", " onclick="] {
            assert!(!text.contains(marker), "{path} holds {marker}");
        }
    }
}
