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
