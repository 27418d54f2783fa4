//! `task list|show|watch|retry|cancel|diff`.

use std::time::Duration;

use serde_json::Value;

use crate::cli::TaskVerb;
use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{Form, plain, say, tell};
use crate::program::Program;
use crate::verbs::change::items;
use crate::verbs::{encode, print_list, print_one, query};

/// Runs one of the verbs.
pub(crate) async fn run(program: &Program, verb: TaskVerb) -> Outcome {
    let client = Client::new(program)?;
    let path = |id: &str, rest: &str| format!("/tasks/{}{rest}", encode(id));
    match verb {
        TaskVerb::List(list) => {
            let query = query(&[
                ("state", list.state),
                ("change", list.change),
                ("repository", list.repo),
                ("limit", Some(list.limit.to_string())),
            ]);
            let page = client.get(&format!("/tasks{query}")).await?;
            let columns = [
                ("task", "id"),
                ("state", "state"),
                ("result", "status"),
                ("reason", "reason"),
                ("repository", "repository"),
                ("goal", "goal"),
            ];
            print_list(list.output.form, items(&page, "tasks"), &columns)
        }
        TaskVerb::Show(one) => {
            let task = client.get(&path(&one.id, "")).await?;
            print_one(one.output.form, &task)?;
            if one.output.form == Form::Table {
                for step in items(&client.get(&path(&one.id, "/steps")).await?, "steps") {
                    say(&line(step));
                }
            }
            Ok(())
        }
        TaskVerb::Watch(one) => watch(&client, &one.id, one.output.form).await,
        TaskVerb::Retry(one) => {
            print_one(one.output.form, &client.post(&path(&one.id, "/retry"), &Value::Null).await?)
        }
        TaskVerb::Cancel(one) => {
            print_one(one.output.form, &client.post(&path(&one.id, "/cancel"), &Value::Null).await?)
        }
        TaskVerb::Diff(one) => {
            say(plain(&client.get_text(&path(&one.id, "/diff")).await?).trim_end());
            Ok(())
        }
    }
}

/// One step of the timeline.
fn line(step: &Value) -> String {
    let text = |name: &str| super::cell(step, name);
    plain(&format!(
        "  run {} attempt {}  {:<9} {:>6} ms  {}",
        text("run"),
        text("attempt"),
        text("phase"),
        text("duration-ms"),
        text("summary")
    ))
}

async fn watch(client: &Client, id: &str, form: Form) -> Outcome {
    let mut after = 0;
    loop {
        // The task before its steps: what is told of a finished task is then whole.
        let task = client.get(&format!("/tasks/{}", encode(id))).await?;
        let steps = client.get(&format!("/tasks/{}/steps?after={after}", encode(id))).await?;
        for step in items(&steps, "steps") {
            tell(&line(step));
            after = step["n"].as_u64().unwrap_or(after).max(after);
        }
        if task["state"] == "done" {
            print_one(form, &task)?;
            return match task["status"].as_str() {
                Some("SUCCESS") => Ok(()),
                Some("SOFT_FAIL") => Err(Failure::new(exit::SOFT_FAIL, "")),
                _ => Err(Failure::new(exit::HARD_FAIL, "")),
            };
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
