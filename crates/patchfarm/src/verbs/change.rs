//! `change list|show|watch|cancel`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::ChangeVerb;
use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{Form, plain, table, tell};
use crate::program::Program;
use crate::verbs::{encode, print_list, print_one, query};

/// How often a waiting verb looks.
const LOOK: Duration = Duration::from_millis(300);

/// Runs one of the verbs.
pub(crate) async fn run(program: &Program, verb: ChangeVerb) -> Outcome {
    let client = Client::new(program)?;
    match verb {
        ChangeVerb::List(list) => {
            let query = query(&[
                ("state", list.state),
                ("repository", list.repo),
                ("limit", Some(list.limit.to_string())),
            ]);
            let page = client.get(&format!("/changes{query}")).await?;
            let columns =
                [("change", "id"), ("state", "state"), ("repository", "repository"), ("goal", "goal")];
            print_list(list.output.form, items(&page, "changes"), &columns)
        }
        ChangeVerb::Show(one) => {
            let change = client.get(&format!("/changes/{}", encode(&one.id))).await?;
            print_one(one.output.form, &change)
        }
        ChangeVerb::Watch(one) => wait(&client, &one.id, None, one.output.form).await,
        ChangeVerb::Cancel(one) => {
            let done = client.post(&format!("/changes/{}/cancel", encode(&one.id)), &Value::Null).await?;
            print_one(one.output.form, &done)
        }
    }
}

/// A list, whether the answer is one or holds one.
pub(crate) fn items<'a>(page: &'a Value, name: &str) -> &'a [Value] {
    page.as_array().or_else(|| page[name].as_array()).map_or(&[], Vec::as_slice)
}

/// Follows a change until it waits for a person or has ended, and says by the exit status how.
pub(crate) async fn wait(client: &Client, id: &str, limit: Option<Duration>, form: Form) -> Outcome {
    let since = Instant::now();
    let mut view = View::new();
    loop {
        let change = client.get(&format!("/changes/{}", encode(id))).await?;
        view.show(&change);
        let state = change["state"].as_str().unwrap_or_default();
        if !matches!(state, "plan" | "code_phase" | "build1" | "merge" | "verify") {
            view.end();
            print_one(form, &change)?;
            return ended(&change);
        }
        if limit.is_some_and(|limit| since.elapsed() > limit) {
            return Err(Failure::new(exit::TIMEOUT, format!("change {id} is still in {state}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn ended(change: &Value) -> Outcome {
    let failed = |status: &str| {
        let tasks = items(&change["tasks"], "tasks").iter();
        tasks.filter(|task| task["status"] == status).count() > 0
    };
    match change["state"].as_str() {
        Some("failed") if failed("HARD_FAIL") => {
            Err(Failure::new(exit::HARD_FAIL, "a task ended with HARD_FAIL"))
        }
        Some("failed") => Err(Failure::new(exit::SOFT_FAIL, "a task ended with SOFT_FAIL")),
        Some("cancelled") => Err(Failure::new(exit::REFUSED, "the change was cancelled")),
        _ => Ok(()),
    }
}

/// Progress: on a terminal a table that is redrawn, elsewhere a line for each move.
struct View {
    live: bool,
    n_lines: usize,
    told: BTreeMap<String, String>,
}

impl View {
    fn new() -> Self {
        Self { live: std::io::stderr().is_terminal(), n_lines: 0, told: BTreeMap::new() }
    }

    fn show(&mut self, change: &Value) {
        let tasks = items(&change["tasks"], "tasks");
        if !self.live {
            self.tell_moves(change, tasks);
            return;
        }
        let rows: Vec<Vec<String>> = tasks
            .iter()
            .map(|task| {
                ["id", "state", "status", "reason", "worker", "step", "cost-micro-usd"]
                    .map(|name| plain(&super::cell(task, name)).chars().take(48).collect())
                    .to_vec()
            })
            .collect();
        let text = format!(
            "change {} {}\n{}",
            change["id"].as_str().unwrap_or_default(),
            change["state"].as_str().unwrap_or_default(),
            table(&["task", "state", "result", "reason", "worker", "doing", "µUSD"], &rows)
        );
        let up = if self.n_lines > 0 { format!("\x1b[{}A\x1b[J", self.n_lines) } else { String::new() };
        self.n_lines = text.lines().count();
        tell(&format!("{up}{text}"));
    }

    fn tell_moves(&mut self, change: &Value, tasks: &[Value]) {
        let mut tell_once = |id: String, now: String| {
            if self.told.get(&id) != Some(&now) {
                tell(&format!("{id}: {}", plain(&now)));
                self.told.insert(id, now);
            }
        };
        tell_once(
            format!("change {}", change["id"].as_str().unwrap_or_default()),
            change["state"].as_str().unwrap_or_default().to_owned(),
        );
        for task in tasks {
            let now = ["state", "status", "reason", "worker"].map(|name| super::cell(task, name)).join(" ");
            tell_once(format!("task {}", task["id"].as_str().unwrap_or_default()), now);
        }
    }

    fn end(&mut self) {
        self.n_lines = 0;
    }
}
