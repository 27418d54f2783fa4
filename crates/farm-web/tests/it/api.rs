//! Each call, and what it says when it cannot.

use farm_core::state::ChangeState;
use farm_store::Integration;
use farm_web::view::{ChangeDetail, TaskDetail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Farm, HOSTILE, id, read};

const API: &str = "/api/v1";

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_change_is_asked_for_listed_shown_and_cancelled() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "say hello").await;
    farm.submit("t2", "say goodbye").await;
    // The same again is the same change; other content under its id is not.
    farm.submit("t1", "say hello").await;
    let other = json!({ "id": "c-t1", "repository": "greet", "goal": "other", "tasks": [] });
    let (status, body) = farm.post("/api/v1/changes", &other).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("refused")));

    let list = farm.found("/api/v1/changes?limit=1").await;
    assert_eq!(ids(&list["changes"]), ["c-t2"]);
    let before = list["next-before"].as_u64().unwrap();
    let rest = farm.found(&format!("/api/v1/changes?limit=2&before={before}")).await;
    assert_eq!((ids(&rest["changes"]), &rest["next-before"]), (vec!["c-t1"], &Value::Null));
    assert_eq!(ids(&farm.found("/api/v1/changes?state=plan").await["changes"]), [""; 0]);
    assert_eq!(
        ids(&farm.found("/api/v1/changes?state=code_phase&repository=greet").await["changes"]).len(),
        2
    );

    let shown: ChangeDetail = serde_json::from_value(farm.found("/api/v1/changes/c-t1").await).unwrap();
    assert_eq!(shown.summary.state, ChangeState::CodePhase);
    assert_eq!(shown.summary.source, "api");
    assert_eq!(shown.tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["t1"]);

    let cancelled = farm.post("/api/v1/changes/c-t1/cancel", &json!({})).await;
    assert_eq!(cancelled, (StatusCode::OK, json!({ "tasks": 1 })));
    let shown: ChangeDetail = serde_json::from_value(farm.found("/api/v1/changes/c-t1").await).unwrap();
    assert_eq!(shown.summary.state, ChangeState::Cancelled);
    assert_eq!(shown.summary.reason.unwrap().text, "a person cancelled it");
}

#[tokio::test]
async fn a_task_is_followed_from_its_queue_to_its_patch() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", HOSTILE).await;
    let task: TaskDetail = serde_json::from_value(farm.found("/api/v1/tasks/t1").await).unwrap();
    assert_eq!((task.summary.state.name(), task.summary.first_begin_ms), ("queued", None));
    assert_eq!(farm.get("/api/v1/tasks/t1/diff").await.1["code"], "no_diff");

    let run = farm.begin("t1").await;
    farm.report(&run, "one").await;
    farm.report(&run, "two").await;
    let steps = farm.found("/api/v1/tasks/t1/steps").await;
    let steps = steps["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!((&steps[0]["phase"], &steps[0]["detail"]), (&json!("strategy"), &json!("one")));
    let after = farm.found(&format!("/api/v1/tasks/t1/steps?after={}", steps[0]["n"])).await;
    assert_eq!(after["steps"].as_array().unwrap()[..], steps[1..]);
    assert_eq!(ids(&farm.found("/api/v1/tasks?state=running").await["tasks"]), ["t1"]);
    assert_eq!(farm.found("/api/v1/changes/c-t1").await["tasks"][0]["step"], "asked the model two");

    let commit = farm.succeed(&run, "a\nb\n").await;
    let task: TaskDetail = serde_json::from_value(farm.found("/api/v1/tasks/t1").await).unwrap();
    assert_eq!(task.summary.commit.as_ref(), Some(&commit));
    assert_eq!((task.summary.attempts, task.summary.tokens), (Some(2), Some(1000)));
    assert_eq!(task.task.goal, HOSTILE, "the API gives text as it is");
    let result = task.result.unwrap();
    assert_eq!((result.checks.len(), result.checks[0].name.as_str()), (1, "unit"));
    assert_eq!(task.summary.reason.unwrap().code, farm_core::reason::Reason::Ok);

    let (status, diff) = farm.page("/api/v1/tasks/t1/diff").await;
    let expected = "diff --git a/notes.txt b/notes.txt\nnew file mode 100644\n--- /dev/null\n+++ b/notes.txt\n\
                    @@ -0,0 +1,2 @@\n+a\n+b\n";
    assert_eq!((status, diff.as_str()), (StatusCode::OK, expected));
    // A later control has an empty mirror: it fetches what the patch needs.
    let list = farm.found("/api/v1/tasks?change=c-t1&repository=greet").await;
    assert_eq!(list["tasks"][0]["branch"], "agt/t1");
    assert_eq!(farm.post("/api/v1/tasks/t1/cancel", &json!({})).await.1, json!({ "tasks": 0 }));
    let (status, body) = farm.post("/api/v1/tasks/t1/retry", &json!({})).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
}

#[tokio::test]
async fn the_patch_of_a_change_is_that_of_its_integration() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    assert_eq!(farm.get("/api/v1/changes/c-t1/diff").await.1["code"], "no_diff");
    let run = farm.begin("t1").await;
    let commit = farm.succeed(&run, "x\n").await;
    let mirror = farm.control.mirror(&run.repository).await.unwrap();
    mirror.push("agt/change-c-t1", None, &commit).await.unwrap();
    let tree = mirror.objects().tree_of(&commit).unwrap();
    let done = Integration { base: run.base, old: None, commit, tree, delta_digest: "d".to_owned() };
    let change = farm_core::id::ChangeId::new("c-t1").unwrap();
    farm.control.store.intend_integration(&change, done, farm.control.now_ms()).await.unwrap();
    let (status, diff) = farm.page("/api/v1/changes/c-t1/diff").await;
    assert!(status.is_success() && diff.ends_with("+x\n"), "{diff}");
    assert!(farm.page("/changes/c-t1").await.1.contains(r#"<div class="added">+x</div>"#));
}

#[tokio::test]
async fn a_retry_has_an_id_of_its_own_and_follows_what_was_retried_before_it() {
    let farm = Farm::with_repository().await;
    let body = json!({
        "id": "c", "repository": "greet", "goal": "g",
        "tasks": [{ "id": "a", "goal": "g" }, { "id": "b", "goal": "g", "after": ["a"] }],
    });
    assert_eq!(farm.post("/api/v1/changes", &body).await.0, StatusCode::CREATED);
    let hastened = farm.post("/api/v1/tasks/a/retry", &json!({})).await;
    assert_eq!(hastened, (StatusCode::OK, json!({ "id": "a" })), "a queued task is only hastened");

    let run = farm.begin("a").await;
    let running = farm.post("/api/v1/tasks/a/retry", &json!({})).await;
    assert_eq!(running.0, StatusCode::CONFLICT);
    farm.fail(&run, "red").await;
    assert_eq!(farm.found("/api/v1/tasks/b").await["reason"]["code"], "preceding_failed");
    for _ in 0..2 {
        let retried = farm.post("/api/v1/tasks/a/retry", &json!({})).await;
        assert_eq!(retried, (StatusCode::OK, json!({ "id": "a-r2" })));
    }
    let retried = farm.post("/api/v1/tasks/b/retry", &json!({})).await;
    assert_eq!(retried.1, json!({ "id": "b-r2" }));
    let task = farm.found("/api/v1/tasks/b-r2").await;
    assert_eq!((&task["task"]["after"], &task["state"]), (&json!(["a-r2"]), &json!("queued")));
    assert_eq!(farm.found("/api/v1/tasks/a").await["replaced-by"], "a-r2");
    // What was retried runs like any other.
    assert_eq!(farm.begin("a-r2").await.task.id, id("a-r2"));
}

#[tokio::test]
async fn repositories_are_registered_only_if_they_can_be_read() {
    let farm = Farm::with_repository().await;
    let list = farm.found("/api/v1/repositories").await;
    assert_eq!(list["repositories"][0]["name"], "greet");
    let missing_branch = farm.repository_body("r", "nowhere");
    let mut missing = farm.repository_body("r", "main");
    missing["url"] = json!(farm.folder.path().join("nothing.git").to_str().unwrap());
    let mut credential = farm.repository_body("r", "main");
    credential["credential"] = json!("env:NOT_SET");
    let mut password = farm.repository_body("r", "main");
    password["url"] = json!("https://user:hunter22@git.invalid/x.git");
    for (body, words) in [
        (&missing_branch, "has no branch \"nowhere\""),
        (&missing, "nothing.git"),
        (&credential, "the variable is not set"),
        (&password, "remote address is refused"),
    ] {
        let (status, answer) = farm.post("/api/v1/repositories", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["code"], "repository_unreadable");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains("hunter22"), "{message}");
    }
    let mut policy = farm.repository_body("r", "main");
    policy["policy"] = json!({ "write": ["["] });
    assert_eq!(farm.post("/api/v1/repositories", &policy).await.1["code"], "refused");
    refuse_pushes(&farm);
    let (status, answer) = farm.post("/api/v1/repositories", &farm.repository_body("r", "main")).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (422, Some("repository_unwritable")), "{answer}");
    assert_eq!(farm.found("/api/v1/repositories").await["repositories"].as_array().unwrap().len(), 1);
}

/// As a host does that lets a credential only read.
fn refuse_pushes(farm: &Farm) {
    let hook = farm.folder.path().join("greet.git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_repository_is_registered_once_it_was_read_and_pushed_to() {
    let farm = Farm::with_repository().await;
    let branches = std::fs::read_dir(farm.folder.path().join("greet.git/refs/heads/agt"));
    assert!(branches.map_or(0, Iterator::count) == 0, "the probe is gone");
    let ledger = farm.found("/api/v1/ledger?after=1").await;
    let body: Value = serde_json::from_str(ledger["entries"][0]["body"].as_str().unwrap()).unwrap();
    assert!(
        body["probe"].as_str().unwrap().starts_with("agt/probe-"),
        "the push stands in the ledger: {body}"
    );

    let slashed = farm.repository_body("team/greet", "main");
    assert_eq!(farm.post("/api/v1/repositories", &slashed).await.0, StatusCode::CREATED);
    for path in ["team%2Fgreet", "greet"] {
        let gone = read(farm.request(Method::DELETE, &format!("{API}/repositories/{path}"))).await;
        assert_eq!(gone, (StatusCode::NO_CONTENT, Value::Null));
        let gone = read(farm.request(Method::DELETE, &format!("{API}/repositories/{path}"))).await;
        assert_eq!(gone.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_farm_is_seen_as_a_whole() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    farm.submit("t2", "g").await;
    let run = farm.begin("t1").await;
    let status = farm.found("/api/v1/status").await;
    assert_eq!(status["tasks"], json!({ "queued": 1, "running": 1, "done": 0 }));
    assert_eq!(status["changes"], json!({ "code_phase": 2 }));
    assert_eq!(status["store-id"], farm.control.store.id());
    assert_eq!(
        (&status["workers"][0]["name"], &status["workers"][0]["running"]),
        (&json!("worker-1"), &json!(1))
    );

    farm.reserve(&run, "README.md").await;
    let leases = farm.found("/api/v1/leases").await;
    assert_eq!(
        (&leases["leases"][0]["path"], &leases["leases"][0]["holder"]),
        (&json!("readme.md"), &json!("t1"))
    );

    let ledger = farm.found("/api/v1/ledger?limit=3").await;
    let entries = ledger["entries"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((&entries[1]["event"], &entries[1]["actor"]), (&json!("repository_changed"), &json!("api")));
    assert_eq!(farm.found("/api/v1/ledger?after=2&limit=1").await["entries"][0], entries[2]);
    let verified = farm.found("/api/v1/ledger/verify").await;
    assert_eq!(verified["whole"], true);
    let last =
        farm.found(&format!("/api/v1/ledger?after={}", verified["entries"].as_u64().unwrap() - 1)).await;
    assert_eq!(last["entries"][0]["hash"], verified["head"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let farm = Farm::with_repository().await;
    for (method, path, body, status, code) in [
        ("GET", "/tasks/none", "", 404, "not_found"),
        ("GET", "/tasks/none/steps", "", 404, "not_found"),
        ("GET", "/tasks/none/diff", "", 404, "not_found"),
        ("GET", "/changes/none", "", 404, "not_found"),
        ("POST", "/tasks/none/cancel", "{}", 404, "not_found"),
        ("POST", "/tasks/none/retry", "{}", 404, "not_found"),
        ("POST", "/changes/none/cancel", "{}", 404, "not_found"),
        ("GET", "/tasks/A%20b", "", 400, "bad_request"),
        ("GET", "/tasks?state=sleeping", "", 400, "bad_request"),
        ("GET", "/tasks?limit=0", "", 400, "bad_request"),
        ("GET", "/changes?limit=1001", "", 400, "bad_request"),
        ("GET", "/changes?before=x", "", 400, "bad_request"),
        ("POST", "/changes", "{", 400, "bad_request"),
        ("POST", "/changes", r#"{"goal":"g","taskz":[]}"#, 400, "bad_request"),
        ("POST", "/changes", r#"{"goal":" ","repository":"greet"}"#, 422, "refused"),
        ("POST", "/changes", r#"{"goal":"g"}"#, 422, "refused"),
        ("POST", "/changes", r#"{"goal":"g","repository":"greet"}"#, 422, "refused"),
        ("POST", "/changes", r#"{"goal":"g","repository":"other"}"#, 422, "repository_unknown"),
        ("GET", "/nothing", "", 404, "no_route"),
        ("PATCH", "/tasks/none", "{}", 405, "no_method"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = farm.request(method, &format!("{API}{path}"));
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        let (found, answer) = read(request).await;
        assert_eq!(
            (found.as_u16(), answer["code"].as_str()),
            (status, Some(code)),
            "{path} {body}: {answer}"
        );
        assert!(answer["message"].is_string() && answer["hint"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn a_body_is_json_and_of_bounded_size() {
    let farm = Farm::with_repository().await;
    let body = r#"{"goal":"g","repository":"greet","tasks":[{"id":"t","goal":"g"}]}"#;
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        for path in ["changes", "tasks/t/cancel"] {
            let mut request = farm.request(Method::POST, &format!("{API}/{path}")).body(body);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let (status, answer) = read(request).await;
            assert_eq!(
                (status.as_u16(), answer["code"].as_str()),
                (415, Some("not_json")),
                "{kind:?} {path}"
            );
        }
    }
    let large = json!({ "goal": "x".repeat(5 << 20), "repository": "greet" });
    let (status, answer) = farm.post("/api/v1/changes", &large).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (413, Some("too_large")));
    let fits =
        json!({ "goal": "x".repeat(3 << 20), "repository": "greet", "tasks": [{ "id": "t", "goal": "g" }] });
    assert_eq!(farm.post("/api/v1/changes", &fits).await.0, StatusCode::CREATED);
    // A call that says nothing needs no body at all.
    let cancelled = read(farm.request(Method::POST, "/api/v1/tasks/t/cancel")).await;
    assert_eq!(cancelled.1, json!({ "tasks": 1 }));
}
