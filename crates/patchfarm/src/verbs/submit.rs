//! `submit`: a change from the command line or a file.

use std::io::Read;
use std::time::Duration;

use farm_core::id::{ChangeId, RepoName, TaskId};
use farm_core::task::{ChangeRequest, CodingTask, Risk, Strategy};

use crate::cli::Submit;
use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{Form, say};
use crate::program::Program;
use crate::verbs::change;

/// Submits, and waits if asked to.
pub(crate) async fn run(program: &Program, submit: Submit) -> Outcome {
    let request = request(&submit)?;
    let client = Client::new(program)?;
    let accepted = client.post("/changes", &serde_json::to_value(&request)?).await?;
    let id = accepted["id"].as_str().unwrap_or_default().to_owned();
    if !submit.wait {
        match submit.output.form {
            Form::Table => say(&id),
            Form::Json | Form::Jsonl => say(&accepted.to_string()),
        }
        return Ok(());
    }
    let limit = submit.timeout.map(Duration::from_secs);
    change::wait(&client, &id, limit, submit.output.form).await
}

fn request(submit: &Submit) -> Outcome<ChangeRequest> {
    if let Some(file) = &submit.file {
        let mut text = String::new();
        match file.as_str() {
            "-" => std::io::stdin().read_to_string(&mut text)?,
            path => std::fs::File::open(path)?.read_to_string(&mut text)?,
        };
        return serde_json::from_str(&text).map_err(|error| {
            Failure::new(exit::USAGE, format!("{file}: expected a ChangeRequest: {error}"))
        });
    }
    let usage = |error: farm_core::id::InvalidId| Failure::new(exit::USAGE, error.to_string());
    let goal = submit.goal.clone().unwrap_or_default();
    let id = submit.id.clone().map(ChangeId::new).transpose().map_err(usage)?;
    let mut tasks = Vec::new();
    if submit.path.is_some() || !submit.command.is_empty() || submit.no_checks {
        // One task has an id made of its change's, so that submitting the same again is the same task.
        let id = match &id {
            Some(id) => TaskId::new(format!("{id}-1")),
            None => TaskId::new(format!("t{}", &farm_wire::client::request_id()[..11])),
        };
        let mut task = CodingTask::new(id.map_err(usage)?, goal.clone());
        task.path.clone_from(&submit.path);
        task.checks = submit.no_checks.then(Vec::new);
        if !submit.command.is_empty() {
            task.strategy = Strategy::Command { argv: submit.command.clone() };
        }
        tasks.push(task);
    }
    Ok(ChangeRequest {
        id,
        repository: submit.repo.clone().map(RepoName::new).transpose().map_err(usage)?,
        goal,
        tasks,
        source: "person".to_owned(),
        risk: Risk::default(),
        priority: 0,
    })
}
