//! A planner's reply, read and judged.

use std::collections::{BTreeMap, BTreeSet};

use farm_core::port::ReplyForm;
use serde::Deserialize;
use serde_json::json;

use crate::reply::json_with;

/// The longest id of a planned task; a task's id is its change's id and this one, joined.
const MAX_ID_LEN: usize = 16;

/// The longest goal, in bytes: one that is longer is no goal of one patch.
const MAX_GOAL_LEN: usize = 8_000;

/// Tasks that do a goal together, in an order in which each comes after those that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// At least one.
    pub tasks: Vec<PlannedTask>,
    /// Why these, in the planner's words; for people.
    pub reasoning: String,
}

/// One task of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTask {
    /// Unique in its plan: `[a-z0-9][a-z0-9-]{0,15}`.
    pub id: String,
    /// What is wanted; never empty.
    pub goal: String,
    /// The file that it is mostly about.
    pub path: Option<String>,
    /// Ids of tasks of the plan that must have succeeded before.
    pub after: Vec<String>,
}

/// What is wrong with a plan, in words that the planner can mend it by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No JSON object with tasks.
    #[error("expected one JSON object with a list `tasks`, found none")]
    NoJson,
    /// A JSON object of another shape.
    #[error("expected a plan of the form that was asked for: {detail}")]
    WrongShape {
        /// Which field, and what is wrong with it.
        detail: String,
    },
    /// None or too many.
    #[error("expected 1 to {max} tasks, found {found}")]
    WrongCount {
        /// The most.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// An id outside its grammar.
    #[error(
        "expected ids of small letters, digits and `-`, at most 16 characters, beginning with a letter or digit, found {id:?}"
    )]
    BadId {
        /// The id, shortened.
        id: String,
    },
    /// An id twice.
    #[error("expected unique ids, found {id:?} twice")]
    SameId {
        /// The id.
        id: String,
    },
    /// A goal that says nothing, or that is a book.
    #[error("expected the goal of task {id:?} to have 1 to 8000 bytes, found {bytes}")]
    BadGoal {
        /// Whose.
        id: String,
        /// How long it is.
        bytes: usize,
    },
    /// A path that is not in any repository.
    #[error(
        "expected the path of task {id:?} to be relative to the repository's root, without `..`, found {path:?}"
    )]
    BadPath {
        /// Whose.
        id: String,
        /// The path, shortened.
        path: String,
    },
    /// A task after one that is not there.
    #[error("task {id:?} comes after {after:?}, which is not in the plan")]
    UnknownAfter {
        /// Which task.
        id: String,
        /// What it names, shortened.
        after: String,
    },
    /// Tasks that wait for each other.
    #[error("tasks wait for each other in a circle: {ids}")]
    Circle {
        /// Those of the circle, and those that wait for them.
        ids: String,
    },
    /// Tasks on one file, in no order.
    #[error(
        "tasks {first:?} and {second:?} both change {path:?}: make them one task, or let one come after the other"
    )]
    Overlap {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The file.
        path: String,
    },
}

#[derive(Deserialize)]
struct RawPlan {
    tasks: Vec<RawTask>,
    #[serde(default)]
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct RawTask {
    id: String,
    goal: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    after: Option<Vec<String>>,
}

/// Reads a planner's reply. What it means never widens what a task may write: paths are hints.
pub fn parse_plan(reply: &str, max_tasks: usize) -> Result<Plan, PlanError> {
    let value = json_with("tasks", reply).ok_or(PlanError::NoJson)?;
    let raw: RawPlan =
        serde_json::from_value(value).map_err(|error| PlanError::WrongShape { detail: error.to_string() })?;
    if raw.tasks.is_empty() || raw.tasks.len() > max_tasks {
        return Err(PlanError::WrongCount { max: max_tasks, found: raw.tasks.len() });
    }
    let mut tasks: Vec<PlannedTask> = Vec::new();
    for task in raw.tasks {
        let task = judged(task)?;
        if tasks.iter().any(|other| other.id == task.id) {
            return Err(PlanError::SameId { id: task.id });
        }
        tasks.push(task);
    }
    for task in &tasks {
        if let Some(after) = task.after.iter().find(|after| !tasks.iter().any(|other| other.id == **after)) {
            return Err(PlanError::UnknownAfter { id: task.id.clone(), after: short(after) });
        }
    }
    let (tasks, before) = ordered(tasks)?;
    no_overlap(&tasks, &before)?;
    Ok(Plan { tasks, reasoning: raw.reasoning.unwrap_or_default() })
}

/// The form of a planner's reply.
pub(crate) fn planner_form() -> ReplyForm {
    let schema = json!({
        "type": "object",
        "properties": {
            "tasks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "goal": {"type": "string"},
                        "path": {"type": ["string", "null"]},
                        "after": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["id", "goal", "path", "after"],
                    "additionalProperties": false,
                },
            },
            "reasoning": {"type": "string"},
        },
        "required": ["tasks", "reasoning"],
        "additionalProperties": false,
    });
    ReplyForm::Json { name: "plan", schema }
}

fn judged(raw: RawTask) -> Result<PlannedTask, PlanError> {
    let id = raw.id;
    let is_id = !id.starts_with('-')
        && (1..=MAX_ID_LEN).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_id {
        return Err(PlanError::BadId { id: short(&id) });
    }
    let goal = raw.goal.trim().to_owned();
    if !(1..=MAX_GOAL_LEN).contains(&goal.len()) {
        return Err(PlanError::BadGoal { id, bytes: goal.len() });
    }
    let path = raw.path.map(|path| path.trim().trim_start_matches("./").to_owned());
    let path = path.filter(|path| !path.is_empty() && path != "N/A" && path != "null");
    if let Some(path) = path.as_ref().filter(|path| !is_repository_path(path)) {
        return Err(PlanError::BadPath { path: short(path), id });
    }
    Ok(PlannedTask { id, goal, path, after: raw.after.unwrap_or_default() })
}

fn is_repository_path(path: &str) -> bool {
    !path.starts_with('/')
        && !path.contains('\\')
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// For every task, all tasks that come before it.
type Before = BTreeMap<String, BTreeSet<String>>;

/// The tasks, each after those that it needs and otherwise in the planner's order.
fn ordered(mut waiting: Vec<PlannedTask>) -> Result<(Vec<PlannedTask>, Before), PlanError> {
    let mut tasks: Vec<PlannedTask> = Vec::new();
    let mut before = Before::new();
    while !waiting.is_empty() {
        let ready = |task: &PlannedTask| task.after.iter().all(|after| before.contains_key(after));
        let Some(idx) = waiting.iter().position(ready) else {
            let ids: Vec<&str> = waiting.iter().map(|task| task.id.as_str()).collect();
            return Err(PlanError::Circle { ids: ids.join(", ") });
        };
        let task = waiting.remove(idx);
        let mut all: BTreeSet<String> = task.after.iter().cloned().collect();
        all.extend(task.after.iter().filter_map(|after| before.get(after)).flatten().cloned());
        before.insert(task.id.clone(), all);
        tasks.push(task);
    }
    Ok((tasks, before))
}

fn no_overlap(tasks: &[PlannedTask], before: &Before) -> Result<(), PlanError> {
    for (idx, second) in tasks.iter().enumerate() {
        for first in &tasks[..idx] {
            let in_order = before.get(&second.id).is_some_and(|all| all.contains(&first.id));
            if let Some(path) =
                second.path.as_ref().filter(|path| first.path.as_ref() == Some(path) && !in_order)
            {
                return Err(PlanError::Overlap {
                    first: first.id.clone(),
                    second: second.id.clone(),
                    path: path.clone(),
                });
            }
        }
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn task(id: &str, path: Option<&str>, after: &[&str]) -> Value {
        json!({"id": id, "goal": "g", "path": path, "after": after})
    }

    fn parse(tasks: Value) -> Result<Plan, PlanError> {
        parse_plan(&json!({"tasks": tasks, "reasoning": "r"}).to_string(), 4)
    }

    #[test]
    fn good_plans_are_read_in_any_dress_and_ordered() {
        let plan =
            parse(json!([task("c", Some("x"), &["b"]), task("b", None, &["a"]), task("a", Some("x"), &[])]))
                .unwrap();
        let ids: Vec<&str> = plan.tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!((ids, plan.reasoning.as_str()), (vec!["a", "b", "c"], "r"));

        let dressed = "Here is {my} plan:\n```json\n{\"tasks\": [{\"id\": \"1\", \"goal\": \" g \", \"extra\": 1}]}\n```\nGood?";
        let task = PlannedTask { id: "1".to_owned(), goal: "g".to_owned(), path: None, after: Vec::new() };
        assert_eq!(parse_plan(dressed, 1).unwrap().tasks, [task]);

        for (path, expect) in
            [("./a/b", Some("a/b")), ("N/A", None), ("", None), ("null", None), (" a b ", Some("a b"))]
        {
            assert_eq!(parse(json!([task_at(path)])).unwrap().tasks[0].path.as_deref(), expect, "{path}");
        }
    }

    fn task_at(path: &str) -> Value {
        task("a", Some(path), &[])
    }

    #[test]
    fn faults_are_named() {
        let long = "x".repeat(MAX_GOAL_LEN + 1);
        for (tasks, expect) in [
            (json!([]), "expected 1 to 4 tasks, found 0"),
            (json!(vec![task("a", None, &[]); 5]), "expected 1 to 4 tasks, found 5"),
            (json!("one"), "of the form that was asked for: invalid type: string"),
            (json!([{"id": "a"}]), "missing field `goal`"),
            (json!([{"id": 1, "goal": "g"}]), "invalid type: integer"),
            (json!([task("A", None, &[])]), "found \"A\""),
            (json!([task("", None, &[])]), "expected ids of small letters"),
            (json!([task("-a", None, &[])]), "found \"-a\""),
            (json!([task("a\n", None, &[])]), r#"found "a\n""#),
            (json!([task("a234567890123456x", None, &[])]), "expected ids"),
            (json!([task("a", None, &[]), task("a", None, &[])]), "expected unique ids, found \"a\" twice"),
            (json!([{"id": "a", "goal": " \n"}]), "1 to 8000 bytes, found 0"),
            (json!([{"id": "a", "goal": long}]), "1 to 8000 bytes, found 8001"),
            (json!([task_at("/etc/passwd")]), "found \"/etc/passwd\""),
            (json!([task_at("a/../b")]), "without `..`"),
            (json!([task_at("a\\b")]), "relative to the repository's root"),
            (json!([task_at("a\nb")]), r#"found "a\nb""#),
            (json!([task("a", None, &["b"])]), "task \"a\" comes after \"b\", which is not in the plan"),
            (json!([task("a", None, &["a"])]), "in a circle: a"),
            (
                json!([task("a", None, &["b"]), task("b", None, &["a"]), task("c", None, &[])]),
                "wait for each other in a circle: a, b",
            ),
            (
                json!([task("a", Some("x"), &[]), task("b", None, &["a"]), task("c", Some("./x"), &[])]),
                "tasks \"a\" and \"c\" both change \"x\"",
            ),
        ] {
            let error = parse(tasks.clone()).unwrap_err().to_string();
            assert!(error.contains(expect), "{tasks}: {error}");
        }
        for reply in ["", "no plan", "[1]", "{\"task\": []}", "{\"tasks\": [{\"id\":"] {
            assert_eq!(parse_plan(reply, 4), Err(PlanError::NoJson), "{reply}");
        }
    }

    proptest! {
        #[test]
        fn no_reply_panics_and_what_is_read_is_sound(
            prose in any::<String>(),
            tasks in prop::collection::vec(("[a-c]?", "[gx ]{0,3}", prop::option::of("[xy./]{0,3}"), prop::collection::vec("[a-c]", 0..3)), 0..5),
        ) {
            prop_assert_eq!(parse_plan(&prose, 4).is_ok(), false);
            let tasks: Vec<Value> = tasks
                .into_iter()
                .map(|(id, goal, path, after)| json!({"id": id, "goal": goal, "path": path, "after": after}))
                .collect();
            if let Ok(plan) = parse(json!(tasks)) {
                prop_assert_eq!(plan.tasks.len(), tasks.len());
                for (idx, task) in plan.tasks.iter().enumerate() {
                    let earlier = |after: &String| plan.tasks[..idx].iter().any(|other| other.id == *after);
                    prop_assert!(task.after.iter().all(earlier) && !task.goal.is_empty());
                }
            }
        }
    }
}
