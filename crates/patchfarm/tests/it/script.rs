//! What the tests ask for, and what the model answers.

use farm_demo::model_server::script::{Answer, Rule};
use farm_demo::samples::RELAY;
use farm_wire::v1;

/// A reply that replaces lines of a file, as a model writes it.
pub(crate) fn replacing(path: &str, old: &str, new: &str) -> String {
    format!("Here it is.\n\n{path}\n```\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```\n")
}

/// A good reply for [`RELAY`], whose line tells which.
pub(crate) fn reply(word: &str) -> String {
    let old = "Passes log lines on: ";
    let readme = RELAY.files.iter().find(|file| file.path == "README.md").unwrap().content;
    let line = readme.lines().find(|line| line.starts_with(old)).unwrap();
    replacing("README.md", line, &line.replacen("log", &format!("{word} log"), 1))
}

/// What the model answers to a goal, one after the other; its calls are counted under the goal.
pub(crate) fn rule(goal: &str, answers: Vec<Answer>) -> Rule {
    Rule::new(goal, goal, answers)
}

/// A reply that takes its time.
pub(crate) fn slow(delay_ms: u64, text: String) -> Answer {
    Answer { delay_ms: Some(delay_ms), ..Answer::text(text) }
}

/// A task for [`RELAY`] that a model does.
pub(crate) fn task(id: &str, goal: &str) -> v1::CodingTask {
    v1::CodingTask {
        id: id.to_owned(),
        goal: goal.to_owned(),
        path: "README.md".to_owned(),
        repository: RELAY.name.to_owned(),
        ..Default::default()
    }
}

/// A task for [`RELAY`] that a program does. It names no file, so that it waits for no other task's lease.
pub(crate) fn command(id: &str, argv: &[&str]) -> v1::CodingTask {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let strategy = Some(v1::Strategy { name: "command".to_owned(), argv });
    v1::CodingTask { strategy, path: String::new(), ..task(id, "let the program do it") }
}

/// A program that changes the README.
pub(crate) const EDIT: &[&str] = &["sed", "-i", "s/log lines on/log lines along/", "README.md"];
