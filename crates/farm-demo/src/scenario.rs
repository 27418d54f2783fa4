//! The demo's fourteen tasks, what the model answers to each, and how each must end.
//!
//! The replies are files under `scenario/<task>/`, as a model would have written them; beside them, under `after/`, stands
//! every file that the task's branch must change, as it must then read.

mod table;

use std::ops::RangeInclusive;

use farm_core::id::{ChangeId, InvalidId, RepoName, TaskId};
use farm_core::policy::Policy;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::task::{ChangeRequest, CodingTask, Kind, Risk, Strategy};

use crate::model_server::script::{Answer, Rule, Script};
use crate::samples::{RELAY, SAMPLES, Sample};
use table::{ROWS, Row, Work};

/// The heading under which the next attempt's prompt tells what failed.
pub const FAILURES_HEADING: &str = "# SELF-CHECK FAILURES";

/// All that a demo needs to know.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The repositories to register.
    pub repositories: Vec<Repository>,
    /// The changes to submit, in this order.
    pub changes: Vec<ChangeRequest>,
    /// What the model answers. A task's first attempt is counted under its id, later ones under `<id>/again` where the
    /// answers differ.
    pub script: Script,
    /// How each task must end, in the order of the changes.
    pub expected: Vec<Expected>,
    /// The change of three tasks.
    pub integrated: Integrated,
}

/// A repository to register.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name in the farm.
    pub name: RepoName,
    /// What is in it.
    pub sample: Sample,
    /// What its operator allows.
    pub policy: Policy,
}

/// How a task must end.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Which task.
    pub task: TaskId,
    /// What it shows, for people.
    pub title: &'static str,
    /// The result's status.
    pub status: Status,
    /// The result's reason.
    pub reason: Reason,
    /// The result's attempts.
    pub attempts: RangeInclusive<u32>,
    /// Every file that the branch changes, whole; empty where there must be no branch.
    pub files: &'static [TreeFile],
    /// Whether the worker that has it is to be killed, once the model was asked.
    pub kill_worker: bool,
}

/// A file as it must read on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeFile {
    /// Where.
    pub path: &'static str,
    /// All of it.
    pub content: &'static str,
}

/// A change whose tasks are integrated and which passes build1.
#[derive(Debug, Clone)]
pub struct Integrated {
    /// Which change.
    pub change: ChangeId,
    /// Every file that its branch changes, whole.
    pub files: Vec<TreeFile>,
}

impl Scenario {
    /// The scenario. Fails only if its own table names something badly, which a test excludes.
    pub fn new() -> Result<Self, InvalidId> {
        let mut changes: Vec<ChangeRequest> = Vec::new();
        let mut expected = Vec::new();
        let mut rules = Vec::new();
        for row in ROWS {
            let change = ChangeId::new(row.change)?;
            let task = row.task()?;
            expected.push(row.expected(task.id.clone()));
            rules.extend(row.rules());
            match changes.iter_mut().find(|known| known.id.as_ref() == Some(&change)) {
                Some(known) => known.tasks.push(task),
                None => changes.push(ChangeRequest {
                    id: Some(change),
                    repository: task.repository.clone(),
                    goal: row.change_goal.to_owned(),
                    tasks: vec![task],
                    source: "demo".to_owned(),
                    risk: Risk::default(),
                    priority: 0,
                }),
            }
        }
        let repositories = SAMPLES.into_iter().map(Repository::new).collect::<Result<_, _>>()?;
        let integrated =
            Integrated { change: ChangeId::new(table::INTEGRATED)?, files: table::integrated_files() };
        Ok(Self { repositories, changes, script: Script { rules }, expected, integrated })
    }
}

impl Repository {
    fn new(sample: Sample) -> Result<Self, InvalidId> {
        let mut policy = Policy::default();
        if sample == RELAY {
            policy.deny_write.push("deploy/**".to_owned());
        }
        Ok(Self { name: RepoName::new(sample.name)?, sample, policy })
    }
}

impl Row {
    fn task(&self) -> Result<CodingTask, InvalidId> {
        let mut task = CodingTask::new(TaskId::new(self.task)?, self.goal);
        task.kind = Kind::from(self.kind);
        task.path = self.path.map(str::to_owned);
        task.repository = Some(RepoName::new(self.repository)?);
        task.source = "demo".to_owned();
        if let Work::Command(argv) = self.work {
            task.strategy = Strategy::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() };
        }
        Ok(task)
    }

    fn expected(&self, task: TaskId) -> Expected {
        Expected {
            task,
            title: self.title,
            status: self.reason.status(),
            reason: self.reason,
            attempts: self.attempts.clone(),
            files: self.files,
            kill_worker: self.kill_worker,
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let answers = |texts: &[&str]| {
            let slow = self.delay_ms;
            texts.iter().map(|text| Answer { delay_ms: slow, ..Answer::text(*text) }).collect()
        };
        match self.work {
            Work::Command(_) => Vec::new(),
            Work::Replies(texts) => vec![Rule::new(self.task, self.goal, answers(texts))],
            Work::Mended { first, again } => vec![
                Rule {
                    lacks: vec![FAILURES_HEADING.to_owned()],
                    ..Rule::new(self.task, self.goal, answers(&[first]))
                },
                Rule::new(format!("{}/again", self.task), self.goal, answers(&[again])),
            ],
        }
    }
}
