//! The description and the server say the same.

use farm_web::api::OPENAPI;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Farm, read};

fn description() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// Whether `value` has the form of `schema`; says where it has not.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = root.pointer(reference.trim_start_matches('#')).ok_or(format!("no {reference}"))?;
        return check(root, found, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let errors: Vec<String> = any.iter().filter_map(|one| check(root, one, value, at).err()).collect();
        return if errors.len() < any.len() { Ok(()) } else { Err(errors.join("; ")) };
    }
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match &schema["type"] {
        Value::Array(types) => types.iter().any(|one| one == name),
        one => one == name,
    };
    if !fits {
        return Err(format!("{at}: expected {}, found {value}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Err(format!("{at}: {value} is not in {}", schema["enum"]));
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], item, &format!("{at}[{i}]"))?;
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(required.as_str().unwrap()) {
            return Err(format!("{at}: {required} is missing"));
        }
    }
    for (key, value) in object {
        match schema["properties"].get(key) {
            Some(schema) => check(root, schema, value, &format!("{at}.{key}"))?,
            None if schema["additionalProperties"] == json!(false) => {
                return Err(format!("{at}: {key} is not described"));
            }
            None => {}
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_described_call_is_served_and_no_other() {
    let farm = Farm::start().await;
    let description = description();
    assert_eq!(farm.found("/api/v1/openapi.json").await, description);
    for (path, operations) in description["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "x").replace("{name}", "team/x");
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            let is_described = operations.get(method.to_lowercase()).is_some();
            let request =
                farm.request(Method::from_bytes(method.as_bytes()).unwrap(), &format!("/api/v1{path}"));
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let is_served = status != 405
                && (status == 200 || read_code(answer).await.is_none_or(|code| code != "no_route"));
            assert_eq!(is_served, is_described, "{method} {path}: {status}");
        }
    }
}

async fn read_code(answer: reqwest::Response) -> Option<String> {
    let body: Value = answer.json().await.ok()?;
    Some(body["code"].as_str()?.to_owned())
}

#[tokio::test]
async fn answers_have_the_described_form() {
    let farm = Farm::with_repository().await;
    farm.submit("t1", "g").await;
    let run = farm.begin("t1").await;
    farm.report(&run, "detail").await;
    farm.reserve(&run, "README.md").await;
    farm.submit("t2", "g").await;
    let leases = farm.found("/api/v1/leases").await;
    farm.succeed(&run, "x\n").await;

    let root = description();
    let schema = |path: &str, method: &str, status: &str| {
        let content =
            &root["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"];
        assert!(content.is_object(), "{method} {path} {status} is not described");
        content.clone()
    };
    let mut answers = vec![("/leases", "get", "200", leases)];
    for (path, address) in [
        ("/changes", "/changes"),
        ("/changes/{id}", "/changes/c-t1"),
        ("/tasks", "/tasks"),
        ("/tasks/{id}", "/tasks/t1"),
        ("/tasks/{id}", "/tasks/t2"),
        ("/tasks/{id}/steps", "/tasks/t1/steps"),
        ("/repositories", "/repositories"),
        ("/ledger", "/ledger"),
        ("/ledger/verify", "/ledger/verify"),
        ("/status", "/status"),
    ] {
        answers.push((path, "get", "200", farm.found(&format!("/api/v1{address}")).await));
    }
    let request = json!({ "goal": "g", "repository": "greet", "tasks": [{ "id": "t3", "goal": "g" }] });
    let repository = farm.repository_body("greet", "main");
    for (path, address, status, body) in [
        ("/changes", "/changes", "201", request),
        ("/changes/{id}/cancel", "/changes/c-t2/cancel", "200", json!({})),
        ("/tasks/{id}/cancel", "/tasks/t3/cancel", "200", json!({})),
        ("/tasks/{id}/retry", "/tasks/t3/retry", "200", json!({})),
        ("/repositories", "/repositories", "201", repository),
    ] {
        let (found, answer) = farm.post(&format!("/api/v1{address}"), &body).await;
        assert_eq!(found.as_str(), status, "{address}: {answer}");
        answers.push((path, "post", status, answer));
    }
    for (path, method, status, answer) in answers {
        check(&root, &schema(path, method, status), &answer, path).unwrap();
    }
    let error = read(farm.request(Method::GET, "/api/v1/tasks/none")).await.1;
    check(&root, &root["components"]["schemas"]["Error"], &error, "error").unwrap();
    // What is told of is checked: an answer with one thing more or less would not have passed.
    let task = farm.found("/api/v1/tasks/t1").await;
    for edit in [("more", true), ("goal", false)] {
        let mut edited = task.clone();
        match edit {
            (key, true) => edited[key] = json!(1),
            (key, false) => drop(edited.as_object_mut().unwrap().remove(key)),
        }
        assert!(check(&root, &schema("/tasks/{id}", "get", "200"), &edited, "").is_err(), "{edit:?}");
    }
}
