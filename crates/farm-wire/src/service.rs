//! The task service's types as messages, and back.

use farm_core::delta::{Entry, FileMode, PathChange, RepoPath, TreeDelta};
use farm_core::id::Token;
use farm_core::lease::Lease;
use farm_core::policy::Policy;
use farm_core::service::{
    Beat, Begun, DeadReason, Denied, GiveBack, Intent, Phase, Prepare, Rejected, Repository, Run, RunRef,
    Step,
};
use farm_core::task::{Budget, CodingTask};

use crate::task::{checks_from_wire, checks_to_wire, named, reason};
use crate::{BadField, optional, required, text, v1};

impl From<&RunRef> for v1::RunRef {
    fn from(run: &RunRef) -> Self {
        Self { task_id: run.task.to_string(), token: run.token.0 }
    }
}

/// The run that a call speaks for.
pub fn run_ref(wire: Option<v1::RunRef>) -> Result<RunRef, BadField> {
    let wire = wire.unwrap_or_default();
    Ok(RunRef { task: required("run.task_id", wire.task_id)?, token: Token(wire.token) })
}

impl From<&Denied> for v1::Denied {
    fn from(denied: &Denied) -> Self {
        Self { reason: denied.reason.code().to_owned(), detail: denied.detail.clone() }
    }
}

impl TryFrom<v1::Denied> for Denied {
    type Error = BadField;

    fn try_from(wire: v1::Denied) -> Result<Self, BadField> {
        Ok(Self { reason: reason(&wire.reason)?, detail: wire.detail })
    }
}

/// Leave, or why not.
pub fn verdict(wire: Option<v1::Denied>) -> Result<Result<(), Denied>, BadField> {
    wire.map_or(Ok(Ok(())), |denied| Denied::try_from(denied).map(Err))
}

impl From<&Rejected> for v1::Rejected {
    fn from(rejected: &Rejected) -> Self {
        Self {
            reason: rejected.reason.code().to_owned(),
            detail: rejected.detail.clone(),
            payload: rejected.payload.clone().into(),
        }
    }
}

impl TryFrom<v1::Rejected> for Rejected {
    type Error = BadField;

    fn try_from(wire: v1::Rejected) -> Result<Self, BadField> {
        Ok(Self {
            reason: named("reason", &DeadReason::ALL, DeadReason::code, &wire.reason)?,
            detail: wire.detail,
            payload: wire.payload.to_vec(),
        })
    }
}

/// The answer to Begin as a message; `store_id` names the store that gave it.
pub fn begin_response(begun: &Begun, store_id: &str) -> v1::BeginResponse {
    use v1::begin_response::Answer;
    let answer = match begun {
        Begun::Run(run) => Answer::Run(run_to_wire(run)),
        Begun::Done { task, result } => {
            Answer::Done(v1::Done { task_id: task.to_string(), result: result.clone().into() })
        }
        Begun::Held => Answer::Held(v1::Held {}),
        Begun::Deferred { refused } => {
            Answer::Deferred(v1::Deferred { refused: refused.iter().map(v1::Rejected::from).collect() })
        }
        Begun::Refused(rejected) => Answer::Refused(rejected.into()),
    };
    v1::BeginResponse { store_id: store_id.to_owned(), answer: Some(answer) }
}

impl TryFrom<v1::BeginResponse> for Begun {
    type Error = BadField;

    fn try_from(wire: v1::BeginResponse) -> Result<Self, BadField> {
        use v1::begin_response::Answer;
        match wire.answer.ok_or_else(|| BadField::new("answer", "one of five answers", ""))? {
            Answer::Run(run) => Ok(Self::Run(Box::new(run_from_wire(run)?))),
            Answer::Done(done) => {
                Ok(Self::Done { task: required("task_id", done.task_id)?, result: done.result.to_vec() })
            }
            Answer::Held(v1::Held {}) => Ok(Self::Held),
            Answer::Deferred(deferred) => {
                let refused = deferred.refused.into_iter().map(Rejected::try_from);
                Ok(Self::Deferred { refused: refused.collect::<Result<_, _>>()? })
            }
            Answer::Refused(rejected) => Ok(Self::Refused(rejected.try_into()?)),
        }
    }
}

fn run_to_wire(run: &Run) -> v1::Run {
    v1::Run {
        task: Some((&run.task).into()),
        token: run.token.0,
        run: run.run,
        base_commit: run.base.to_string(),
        repository: Some(v1::Repository {
            name: run.repository.name.to_string(),
            url: run.repository.url.clone(),
            target: run.repository.target.clone(),
            credential: run.repository.credential.clone().unwrap_or_default(),
            checks: run.repository.checks.as_deref().map(checks_to_wire),
            policy: serde_json::to_string(&run.repository.policy).unwrap_or_default(),
        }),
        lease_ms: run.lease_ms,
        grant: Some(run.grant.into()),
        first_begin_ms: run.first_begin_ms,
        intent: run.intent.as_ref().map(|intent| v1::Intent {
            token: intent.token.0,
            old_commit: text(intent.old.as_ref()),
            commit: intent.commit.to_string(),
            result: intent.result.clone().into(),
        }),
    }
}

fn run_from_wire(wire: v1::Run) -> Result<Run, BadField> {
    let repository = wire.repository.unwrap_or_default();
    let policy: Policy = serde_json::from_str(&repository.policy).map_err(|error| {
        BadField::new("policy", format!("a policy document: {error}"), &repository.policy)
    })?;
    Ok(Run {
        task: CodingTask::try_from(wire.task.unwrap_or_default())?,
        token: Token(wire.token),
        run: wire.run,
        base: required("base_commit", wire.base_commit)?,
        repository: Repository {
            name: required("repository.name", repository.name)?,
            url: repository.url,
            target: repository.target,
            credential: Some(repository.credential).filter(|credential| !credential.is_empty()),
            checks: repository.checks.map(checks_from_wire).transpose()?,
            policy,
        },
        lease_ms: wire.lease_ms,
        grant: wire.grant.unwrap_or_default().into(),
        first_begin_ms: wire.first_begin_ms,
        intent: wire
            .intent
            .map(|intent| {
                Ok(Intent {
                    token: Token(intent.token),
                    old: optional("intent.old_commit", intent.old_commit)?,
                    commit: required("intent.commit", intent.commit)?,
                    result: intent.result.to_vec(),
                })
            })
            .transpose()?,
    })
}

/// The answer to Heartbeat as a message.
pub fn heartbeat_response(beat: &Beat) -> v1::HeartbeatResponse {
    match beat {
        Beat::Renewed { lease_ms, grant } => {
            v1::HeartbeatResponse { lease_ms: *lease_ms, grant: Some((*grant).into()), denied: None }
        }
        Beat::Stop(denied) => v1::HeartbeatResponse { lease_ms: 0, grant: None, denied: Some(denied.into()) },
    }
}

impl TryFrom<v1::HeartbeatResponse> for Beat {
    type Error = BadField;

    fn try_from(wire: v1::HeartbeatResponse) -> Result<Self, BadField> {
        match wire.denied {
            Some(denied) => Ok(Self::Stop(denied.try_into()?)),
            None => {
                let grant: Budget = wire.grant.unwrap_or_default().into();
                Ok(Self::Renewed { lease_ms: wire.lease_ms, grant })
            }
        }
    }
}

/// A call to Prepare as a message.
pub fn prepare_request(prepare: &Prepare, request_id: String) -> v1::PrepareRequest {
    v1::PrepareRequest {
        request_id,
        run: Some((&prepare.run).into()),
        old_commit: text(prepare.old.as_ref()),
        commit: prepare.commit.to_string(),
        delta: prepare
            .delta
            .changes
            .iter()
            .map(|change| v1::PathChange {
                path: change.path.0.clone().into(),
                old: change.old.as_ref().map(entry_to_wire),
                new: change.new.as_ref().map(entry_to_wire),
            })
            .collect(),
        symbols: prepare.symbols.clone(),
        result: prepare.result.clone().into(),
    }
}

impl TryFrom<v1::PrepareRequest> for Prepare {
    type Error = BadField;

    fn try_from(wire: v1::PrepareRequest) -> Result<Self, BadField> {
        let changes = wire.delta.into_iter().map(|change| {
            Ok(PathChange {
                path: RepoPath(change.path.to_vec()),
                old: change.old.map(entry_from_wire).transpose()?,
                new: change.new.map(entry_from_wire).transpose()?,
            })
        });
        Ok(Self {
            run: run_ref(wire.run)?,
            old: optional("old_commit", wire.old_commit)?,
            commit: required("commit", wire.commit)?,
            delta: TreeDelta { changes: changes.collect::<Result<_, BadField>>()? },
            symbols: wire.symbols,
            result: wire.result.to_vec(),
        })
    }
}

fn entry_to_wire(entry: &Entry) -> v1::TreeEntry {
    v1::TreeEntry { oid: entry.oid.to_string(), mode: entry.mode.bits(), size: entry.size }
}

fn entry_from_wire(wire: v1::TreeEntry) -> Result<Entry, BadField> {
    Ok(Entry {
        oid: required("delta.oid", wire.oid)?,
        mode: FileMode::from_bits(wire.mode)
            .ok_or_else(|| BadField::new("delta.mode", "a file mode of git", format!("{:o}", wire.mode)))?,
        size: wire.size,
    })
}

impl From<&Step> for v1::Step {
    fn from(step: &Step) -> Self {
        Self {
            at_ms: step.at_ms,
            attempt: step.attempt,
            phase: step.phase.name().to_owned(),
            duration_ms: step.duration_ms,
            summary: step.summary.clone(),
            detail: step.detail.clone(),
        }
    }
}

impl TryFrom<v1::Step> for Step {
    type Error = BadField;

    fn try_from(wire: v1::Step) -> Result<Self, BadField> {
        Ok(Self {
            at_ms: wire.at_ms,
            attempt: wire.attempt,
            phase: named("phase", &Phase::ALL, Phase::name, &wire.phase)?,
            duration_ms: wire.duration_ms,
            summary: wire.summary,
            detail: wire.detail,
        })
    }
}

/// A call to GiveBack as a message.
pub fn give_back_request(give_back: &GiveBack, request_id: String) -> v1::GiveBackRequest {
    v1::GiveBackRequest {
        request_id,
        run: Some((&give_back.run).into()),
        reason: give_back.reason.code().to_owned(),
        detail: give_back.detail.clone(),
        delay_ms: give_back.delay_ms,
        spent: Some(give_back.spent.into()),
    }
}

impl TryFrom<v1::GiveBackRequest> for GiveBack {
    type Error = BadField;

    fn try_from(wire: v1::GiveBackRequest) -> Result<Self, BadField> {
        Ok(Self {
            run: run_ref(wire.run)?,
            reason: reason(&wire.reason)?,
            detail: wire.detail,
            delay_ms: wire.delay_ms,
            spent: wire.spent.unwrap_or_default().into(),
        })
    }
}

/// A lease as a message. Its id is the key's text: one file has at most one lease.
pub fn lease(id: String, lease: &Lease) -> v1::Lease {
    v1::Lease {
        lease_id: id,
        repository: lease.key.repository.to_string(),
        path: lease.key.path.clone(),
        task_id: lease.holder.to_string(),
        token: lease.token.0,
        until_ms: lease.until_ms,
    }
}

#[cfg(test)]
mod tests {
    use farm_core::id::{Oid, RepoName, TaskId};
    use farm_core::reason::Reason;

    use super::*;

    fn oid(digit: char) -> Oid {
        Oid::new(digit.to_string().repeat(40)).unwrap()
    }

    fn run() -> Run {
        Run {
            task: CodingTask::new(TaskId::new("t").unwrap(), "g"),
            token: Token(7),
            run: 2,
            base: oid('a'),
            repository: Repository {
                name: RepoName::new("r").unwrap(),
                url: "https://example.test/r.git".into(),
                target: "main".into(),
                credential: Some("env:TOKEN".into()),
                checks: Some(Vec::new()),
                policy: Policy { max_files: 3, ..Policy::default() },
            },
            lease_ms: 120_000,
            grant: Budget { tokens: 5, cost_micro_usd: 6 },
            first_begin_ms: 9,
            intent: Some(Intent { token: Token(6), old: None, commit: oid('b'), result: vec![1, 2] }),
        }
    }

    #[test]
    fn every_answer_to_begin_survives_the_wire() {
        let rejected =
            Rejected { reason: DeadReason::OtherContent, detail: "d".into(), payload: vec![0, 255] };
        for begun in [
            Begun::Run(Box::new(run())),
            Begun::Done { task: TaskId::new("t").unwrap(), result: vec![3] },
            Begun::Held,
            Begun::Deferred { refused: vec![rejected.clone()] },
            Begun::Refused(rejected),
        ] {
            assert_eq!(Begun::try_from(begin_response(&begun, "s")).unwrap(), begun);
        }
    }

    #[test]
    fn prepare_survives_the_wire() {
        let entry = |digit, mode| Some(Entry { oid: oid(digit), mode, size: 4 });
        let prepare = Prepare {
            run: RunRef { task: TaskId::new("t").unwrap(), token: Token(7) },
            old: Some(oid('c')),
            commit: oid('d'),
            delta: TreeDelta {
                changes: vec![
                    PathChange { path: "a".into(), old: None, new: entry('1', FileMode::Executable) },
                    PathChange { path: RepoPath(vec![255]), old: entry('2', FileMode::Link), new: None },
                ],
            },
            symbols: vec!["f".into()],
            result: vec![9],
        };
        assert_eq!(Prepare::try_from(prepare_request(&prepare, "q".into())).unwrap(), prepare);
    }

    #[test]
    fn beats_and_steps_survive_the_wire() {
        let denied = Denied { reason: Reason::Cancelled, detail: "d".into() };
        let renewed = Beat::Renewed { lease_ms: 1, grant: Budget { tokens: 2, cost_micro_usd: 3 } };
        for beat in [renewed, Beat::Stop(denied)] {
            assert_eq!(Beat::try_from(heartbeat_response(&beat)).unwrap(), beat);
        }
        for phase in Phase::ALL {
            let step =
                Step { at_ms: 1, attempt: 2, phase, duration_ms: 3, summary: "s".into(), detail: "d".into() };
            assert_eq!(Step::try_from(v1::Step::from(&step)).unwrap(), step);
        }
    }
}
