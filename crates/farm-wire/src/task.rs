//! Tasks, requests and results as messages, and back.

use farm_core::reason::Reason;
use farm_core::result::{CheckReport, CommitResult, Status, TestCounts, Usage, Verdict};
use farm_core::task::{
    Budget, ChangeRequest, Check, CheckKind, CodingTask, Expectation, Kind, Risk, Strategy,
};

use crate::{BadField, optional, required, text, v1};

impl TryFrom<v1::CodingTask> for CodingTask {
    type Error = BadField;

    fn try_from(wire: v1::CodingTask) -> Result<Self, BadField> {
        Ok(Self {
            id: required("id", wire.id)?,
            kind: Kind::from(wire.kind),
            goal: wire.goal,
            path: Some(wire.path).filter(|path| !path.is_empty()),
            blob_ids: wire.blob_ids,
            reserved_lease_ids: wire.reserved_lease_ids,
            repository: optional("repository", wire.repository)?,
            base: optional("base_commit", wire.base_commit)?,
            checks: wire.checks.map(checks_from_wire).transpose()?,
            scope: wire.scope,
            risk: risk(&wire.risk)?,
            budget: wire.budget.map(Budget::from).unwrap_or_default(),
            deadline_s: Some(wire.deadline_seconds).filter(|seconds| *seconds > 0),
            strategy: wire.strategy.map(strategy).transpose()?.unwrap_or_default(),
            change: optional("change_id", wire.change_id)?,
            source: wire.source,
            priority: wire.priority,
            after: wire.after.into_iter().map(|id| required("after", id)).collect::<Result<_, _>>()?,
            max_retries: wire.max_retries,
            notes: wire.notes,
        })
    }
}

impl From<&CodingTask> for v1::CodingTask {
    fn from(task: &CodingTask) -> Self {
        Self {
            id: task.id.to_string(),
            kind: task.kind.as_str().to_owned(),
            goal: task.goal.clone(),
            path: task.path.clone().unwrap_or_default(),
            blob_ids: task.blob_ids.clone(),
            reserved_lease_ids: task.reserved_lease_ids.clone(),
            repository: text(task.repository.as_ref()),
            base_commit: text(task.base.as_ref()),
            checks: task.checks.as_deref().map(checks_to_wire),
            scope: task.scope.clone(),
            risk: task.risk.name().to_owned(),
            budget: Some(task.budget.into()),
            deadline_seconds: task.deadline_s.unwrap_or_default(),
            strategy: Some(v1::Strategy {
                name: task.strategy.name().to_owned(),
                argv: match &task.strategy {
                    Strategy::SingleShot => Vec::new(),
                    Strategy::Command { argv } => argv.clone(),
                },
            }),
            change_id: text(task.change.as_ref()),
            source: task.source.clone(),
            priority: task.priority,
            after: task.after.iter().map(ToString::to_string).collect(),
            max_retries: task.max_retries,
            notes: task.notes.clone(),
        }
    }
}

impl TryFrom<v1::ChangeRequest> for ChangeRequest {
    type Error = BadField;

    fn try_from(wire: v1::ChangeRequest) -> Result<Self, BadField> {
        Ok(Self {
            id: optional("id", wire.id)?,
            repository: optional("repository", wire.repository)?,
            goal: wire.goal,
            tasks: wire.tasks.into_iter().map(CodingTask::try_from).collect::<Result<_, _>>()?,
            source: wire.source,
            risk: risk(&wire.risk)?,
            priority: wire.priority,
        })
    }
}

impl From<&ChangeRequest> for v1::ChangeRequest {
    fn from(request: &ChangeRequest) -> Self {
        Self {
            id: text(request.id.as_ref()),
            repository: text(request.repository.as_ref()),
            goal: request.goal.clone(),
            tasks: request.tasks.iter().map(v1::CodingTask::from).collect(),
            source: request.source.clone(),
            risk: request.risk.name().to_owned(),
            priority: request.priority,
        }
    }
}

impl From<v1::Budget> for Budget {
    fn from(wire: v1::Budget) -> Self {
        Self { tokens: wire.tokens, cost_micro_usd: wire.cost_micro_usd }
    }
}

impl From<Budget> for v1::Budget {
    fn from(budget: Budget) -> Self {
        Self { tokens: budget.tokens, cost_micro_usd: budget.cost_micro_usd }
    }
}

impl From<&CommitResult> for v1::CommitResult {
    fn from(result: &CommitResult) -> Self {
        Self {
            task_id: result.task.to_string(),
            commit_sha: text(result.commit.as_ref()),
            status: result.status.as_str().to_owned(),
            branch_name: result.branch.clone().unwrap_or_default(),
            notes: result.notes.clone(),
            reason: result.reason.code().to_owned(),
            change_id: text(result.change.as_ref()),
            repository: text(result.repository.as_ref()),
            base_commit: text(result.base.as_ref()),
            tree: text(result.tree.as_ref()),
            delta_digest: result.delta_digest.clone().unwrap_or_default(),
            attempts: result.attempts,
            checks: result.checks.iter().map(v1::CheckReport::from).collect(),
            checks_from: result.checks_from.clone(),
            usage: Some(v1::Usage {
                calls: result.usage.calls,
                prompt_tokens: result.usage.prompt_tokens,
                cached_tokens: result.usage.cached_tokens,
                completion_tokens: result.usage.completion_tokens,
                cost_micro_usd: result.usage.cost_micro_usd,
            }),
            sandbox: result.sandbox.clone(),
            context: result.context.clone(),
            token: result.token.0,
            duration_ms: result.duration_ms,
            model: result.model.clone(),
            prompt_hash: result.prompt_hash.clone(),
            symbols: result.symbols.clone(),
            suggested_checks: result.suggested_checks.clone(),
        }
    }
}

impl TryFrom<v1::CommitResult> for CommitResult {
    type Error = BadField;

    fn try_from(wire: v1::CommitResult) -> Result<Self, BadField> {
        let usage = wire.usage.unwrap_or_default();
        Ok(Self {
            task: required("task_id", wire.task_id)?,
            commit: optional("commit_sha", wire.commit_sha)?,
            status: Status::parse(&wire.status)
                .ok_or_else(|| BadField::new("status", "SUCCESS, SOFT_FAIL or HARD_FAIL", &wire.status))?,
            branch: Some(wire.branch_name).filter(|name| !name.is_empty()),
            notes: wire.notes,
            reason: reason(&wire.reason)?,
            change: optional("change_id", wire.change_id)?,
            repository: optional("repository", wire.repository)?,
            base: optional("base_commit", wire.base_commit)?,
            tree: optional("tree", wire.tree)?,
            delta_digest: Some(wire.delta_digest).filter(|digest| !digest.is_empty()),
            attempts: wire.attempts,
            checks: wire.checks.into_iter().map(CheckReport::try_from).collect::<Result<_, _>>()?,
            checks_from: wire.checks_from,
            usage: Usage {
                calls: usage.calls,
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                completion_tokens: usage.completion_tokens,
                cost_micro_usd: usage.cost_micro_usd,
            },
            sandbox: wire.sandbox,
            context: wire.context,
            token: farm_core::id::Token(wire.token),
            duration_ms: wire.duration_ms,
            model: wire.model,
            prompt_hash: wire.prompt_hash,
            symbols: wire.symbols,
            suggested_checks: wire.suggested_checks,
        })
    }
}

impl From<&CheckReport> for v1::CheckReport {
    fn from(report: &CheckReport) -> Self {
        Self {
            name: report.name.clone(),
            kind: report.kind.name().to_owned(),
            expect: report.expect.name().to_owned(),
            verdict: report.verdict.name().to_owned(),
            exit_code: report.exit_code,
            duration_ms: report.duration_ms,
            tests: report.tests.map(|counts| v1::TestCounts {
                passed: counts.passed,
                failed: counts.failed,
                skipped: counts.skipped,
            }),
            new_failures: report.new_failures.clone(),
            output: report.output.clone(),
            found_in: report.found_in.clone(),
        }
    }
}

impl TryFrom<v1::CheckReport> for CheckReport {
    type Error = BadField;

    fn try_from(wire: v1::CheckReport) -> Result<Self, BadField> {
        const VERDICTS: [Verdict; 5] =
            [Verdict::Pass, Verdict::NoWorse, Verdict::Fail, Verdict::Flaky, Verdict::NotRun];
        Ok(Self {
            name: wire.name,
            kind: check_kind(&wire.kind)?,
            expect: expectation(&wire.expect)?,
            verdict: named("verdict", &VERDICTS, Verdict::name, &wire.verdict)?,
            exit_code: wire.exit_code,
            duration_ms: wire.duration_ms,
            tests: wire.tests.map(|counts| TestCounts {
                passed: counts.passed,
                failed: counts.failed,
                skipped: counts.skipped,
            }),
            new_failures: wire.new_failures,
            output: wire.output,
            found_in: wire.found_in,
        })
    }
}

pub(crate) fn checks_from_wire(wire: v1::Checks) -> Result<Vec<Check>, BadField> {
    wire.checks
        .into_iter()
        .map(|check| {
            if check.argv.is_empty() {
                return Err(BadField::new("checks.argv", "a program", &check.name));
            }
            Ok(Check {
                kind: check_kind(&check.kind)?,
                expect: expectation(&check.expect)?,
                name: if check.name.is_empty() { check.argv.join(" ") } else { check.name },
                argv: check.argv,
                timeout_s: Some(check.timeout_seconds).filter(|seconds| *seconds > 0),
                junit: Some(check.junit).filter(|path| !path.is_empty()),
                files: check.files,
            })
        })
        .collect()
}

pub(crate) fn checks_to_wire(checks: &[Check]) -> v1::Checks {
    let checks = checks.iter().map(|check| v1::Check {
        name: check.name.clone(),
        kind: check.kind.name().to_owned(),
        argv: check.argv.clone(),
        expect: check.expect.name().to_owned(),
        timeout_seconds: check.timeout_s.unwrap_or_default(),
        junit: check.junit.clone().unwrap_or_default(),
        files: check.files.clone(),
    });
    v1::Checks { checks: checks.collect() }
}

pub(crate) fn reason(code: &str) -> Result<Reason, BadField> {
    Reason::from_code(code).ok_or_else(|| BadField::new("reason", "a code of the reason table", code))
}

fn strategy(wire: v1::Strategy) -> Result<Strategy, BadField> {
    match wire.name.as_str() {
        "" | "single_shot" => Ok(Strategy::SingleShot),
        "command" if !wire.argv.is_empty() => Ok(Strategy::Command { argv: wire.argv }),
        "command" => Err(BadField::new("strategy.argv", "a program", "")),
        other => Err(BadField::new("strategy.name", "single_shot or command", other)),
    }
}

fn check_kind(name: &str) -> Result<CheckKind, BadField> {
    named("checks.kind", &[CheckKind::Format, CheckKind::Lint, CheckKind::Test], CheckKind::name, name)
}

fn expectation(name: &str) -> Result<Expectation, BadField> {
    const ALL: [Expectation; 3] = [Expectation::Pass, Expectation::NoWorse, Expectation::FailThenPass];
    if name.is_empty() {
        return Ok(Expectation::default());
    }
    named("checks.expect", &ALL, Expectation::name, name)
}

fn risk(name: &str) -> Result<Risk, BadField> {
    if name.is_empty() {
        return Ok(Risk::default());
    }
    named("risk", &[Risk::Low, Risk::Medium, Risk::High, Risk::Critical], Risk::name, name)
}

/// Finds the value whose name this is.
pub(crate) fn named<T: Copy>(
    field: &'static str,
    all: &[T],
    name_of: fn(T) -> &'static str,
    name: &str,
) -> Result<T, BadField> {
    all.iter().copied().find(|value| name_of(*value) == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|value| name_of(*value)).collect();
        BadField::new(field, names.join(", "), name)
    })
}

#[cfg(test)]
mod tests {
    use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
    use prost::Message;

    use super::*;

    fn oid(digit: char) -> Oid {
        Oid::new(digit.to_string().repeat(40)).unwrap()
    }

    fn full_task() -> CodingTask {
        CodingTask {
            kind: Kind::from("fix"),
            path: Some("src/a.rs".into()),
            blob_ids: vec!["b".into()],
            reserved_lease_ids: vec!["7".into()],
            repository: Some(RepoName::new("r").unwrap()),
            base: Some(oid('a')),
            checks: Some(vec![Check {
                name: "unit".into(),
                kind: CheckKind::Test,
                argv: vec!["pytest".into()],
                expect: Expectation::FailThenPass,
                timeout_s: Some(7),
                junit: Some("out.xml".into()),
                files: vec!["*.py".into()],
            }]),
            scope: vec!["src/**".into()],
            risk: Risk::High,
            budget: Budget { tokens: 1, cost_micro_usd: 2 },
            deadline_s: Some(9),
            strategy: Strategy::Command { argv: vec!["sed".into()] },
            change: Some(ChangeId::new("c").unwrap()),
            source: "api".into(),
            priority: -3,
            after: vec![TaskId::new("t0").unwrap()],
            max_retries: Some(0),
            notes: vec!["n".into()],
            ..CodingTask::new(TaskId::new("t1").unwrap(), "goal")
        }
    }

    #[test]
    fn tasks_survive_the_wire() {
        for task in [full_task(), CodingTask::new(TaskId::new("t").unwrap(), "g")] {
            let bytes = v1::CodingTask::from(&task).encode_to_vec();
            let read = CodingTask::try_from(v1::CodingTask::decode(bytes.as_slice()).unwrap()).unwrap();
            assert_eq!(read, task);
        }
    }

    #[test]
    fn waived_checks_differ_from_unnamed_ones() {
        let waived = CodingTask { checks: Some(Vec::new()), ..full_task() };
        let read = CodingTask::try_from(v1::CodingTask::from(&waived)).unwrap();
        assert_eq!(read.checks, Some(Vec::new()));
    }

    #[test]
    fn results_survive_the_wire() {
        let mut result =
            CommitResult::ended(TaskId::new("t").unwrap(), Reason::ChecksFailed, vec!["n".into()]);
        result.commit = Some(oid('c'));
        result.branch = Some("agt/t".into());
        result.token = Token(9);
        result.usage.cost_micro_usd = 4;
        result.checks.push(CheckReport {
            name: "unit".into(),
            kind: CheckKind::Test,
            expect: Expectation::NoWorse,
            verdict: Verdict::Flaky,
            exit_code: Some(-1),
            duration_ms: 5,
            tests: Some(TestCounts { passed: 1, failed: 2, skipped: 3 }),
            new_failures: vec!["x".into()],
            output: "o".into(),
            found_in: "task".into(),
        });
        let bytes = v1::CommitResult::from(&result).encode_to_vec();
        let read = CommitResult::try_from(v1::CommitResult::decode(bytes.as_slice()).unwrap()).unwrap();
        assert_eq!(read, result);
    }

    #[test]
    fn a_consumer_of_the_old_contract_reads_our_results() {
        /// The seed's message, as its own card has it.
        #[derive(Clone, PartialEq, prost::Message)]
        struct SeedResult {
            #[prost(string, tag = "1")]
            task_id: String,
            #[prost(string, tag = "2")]
            commit_sha: String,
            #[prost(string, tag = "3")]
            status: String,
            #[prost(string, tag = "4")]
            branch_name: String,
            #[prost(string, repeated, tag = "5")]
            notes: Vec<String>,
        }
        let result = CommitResult::ended(TaskId::new("t").unwrap(), Reason::Dead, vec!["n".into()]);
        let bytes = v1::CommitResult::from(&result).encode_to_vec();
        let seed = SeedResult::decode(bytes.as_slice()).unwrap();
        let expected = SeedResult {
            task_id: "t".into(),
            commit_sha: String::new(),
            status: "HARD_FAIL".into(),
            branch_name: String::new(),
            notes: vec!["n".into()],
        };
        assert_eq!(seed, expected);
    }

    #[test]
    fn bad_fields_are_named() {
        type Spoil = (fn(&mut v1::CodingTask), &'static str);
        let spoil: [Spoil; 6] = [
            (|t| t.id = "../x".into(), "id"),
            (|t| t.base_commit = "main".into(), "base_commit"),
            (|t| t.risk = "huge".into(), "risk"),
            (|t| t.strategy = Some(v1::Strategy { name: "loop".into(), argv: vec![] }), "strategy.name"),
            (|t| t.strategy = Some(v1::Strategy { name: "command".into(), argv: vec![] }), "strategy.argv"),
            (|t| t.repository = "../r".into(), "repository"),
        ];
        for (spoil, field) in spoil {
            let mut wire = v1::CodingTask::from(&full_task());
            spoil(&mut wire);
            assert_eq!(CodingTask::try_from(wire).unwrap_err().field, field);
        }
    }
}
