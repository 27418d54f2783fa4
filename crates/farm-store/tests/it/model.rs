//! Random runs beside a naive model: every answer is the one that the table says, every task has at most one result and in
//! the end exactly one, results never change, tokens strictly rise, and the ledger stays whole.

use std::collections::HashMap;

use farm_core::id::Token;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::service::{Beat, Run};
use farm_core::state::TaskState;
use farm_store::{Began, CancelledTask, GivenBack, NewTask, Options};
use proptest::prelude::*;

use crate::support::*;

const LEASE_MS: u64 = 1_000;
const MAX_RUNS: u32 = 3;
const N: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    Begin(usize, u8),
    Beat(usize, Which),
    Prepare(usize, Which),
    Complete(usize, Which, bool),
    GiveBack(usize, Which),
    Cancel(usize),
    Settle(usize, bool),
    Advance(u64),
    Sweep,
    Offer,
    Restart,
}

/// Speaks for the newest run of a task, or for the one before.
#[derive(Debug, Clone, Copy)]
enum Which {
    Newest,
    Older,
}

fn op() -> impl Strategy<Value = Op> {
    let i = 0..N;
    let which = prop_oneof![4 => Just(Which::Newest), 1 => Just(Which::Older)];
    prop_oneof![
        8 => (i.clone(), 0..3_u8).prop_map(|(i, r)| Op::Begin(i, r)),
        2 => (i.clone(), which.clone()).prop_map(|(i, w)| Op::Beat(i, w)),
        5 => (i.clone(), which.clone()).prop_map(|(i, w)| Op::Prepare(i, w)),
        5 => (i.clone(), which.clone(), any::<bool>()).prop_map(|(i, w, ok)| Op::Complete(i, w, ok)),
        2 => (i.clone(), which).prop_map(|(i, w)| Op::GiveBack(i, w)),
        1 => i.clone().prop_map(Op::Cancel),
        1 => (i, any::<bool>()).prop_map(|(i, landed)| Op::Settle(i, landed)),
        4 => prop_oneof![Just(1), Just(400), Just(LEASE_MS)].prop_map(Op::Advance),
        2 => Just(Op::Sweep),
        2 => Just(Op::Offer),
        1 => Just(Op::Restart),
    ]
}

/// Task 1 comes after task 0; tasks 2 and 3 are about one file.
fn tasks() -> Vec<NewTask> {
    vec![task("t0"), after("t1", &["t0"]), on_path("t2", "f"), on_path("t3", "f")]
}

/// What each task's patch touches; 0 and 3 meet at `g`.
fn touches(i: usize) -> &'static [&'static str] {
    [&["g"][..], &["h"], &["f"], &["f", "g"]][i]
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Unknown,
    Queued { due: u64 },
    Running { until: u64, request: u8 },
    Done,
}

struct Row {
    state: State,
    runs: Vec<Run>,
    prepared: Option<Vec<u8>>,
    result: Option<Vec<u8>>,
    status: Option<Status>,
}

struct Model {
    farm: Farm,
    tasks: Vec<NewTask>,
    rows: Vec<Row>,
    /// File → (task, until).
    leases: HashMap<&'static str, (usize, u64)>,
    last_token: Token,
    now: u64,
}

impl Model {
    async fn new() -> Self {
        let options = Options { lease_ms: LEASE_MS, max_runs: MAX_RUNS, ..options() };
        let row =
            || Row { state: State::Unknown, runs: Vec::new(), prepared: None, result: None, status: None };
        Self {
            farm: Farm::with(options).await,
            tasks: tasks(),
            rows: (0..N).map(|_| row()).collect(),
            leases: HashMap::new(),
            last_token: Token(0),
            now: T0,
        }
    }

    fn is_free(&self, file: &str, i: usize) -> bool {
        self.leases.get(file).is_none_or(|(holder, until)| *holder == i || *until <= self.now)
    }

    fn release(&mut self, i: usize) {
        self.leases.retain(|_, (holder, _)| *holder != i);
    }

    fn queue(&mut self, i: usize, due: u64) {
        self.release(i);
        self.rows[i].state = State::Queued { due };
    }

    fn is_expired(&self, i: usize) -> bool {
        matches!(self.rows[i].state, State::Running { until, .. } if until <= self.now)
    }

    /// The task has ended, in the store too: its result is read once and must never change.
    async fn end(&mut self, i: usize, status: Status) {
        self.release(i);
        let view = self.farm.view(self.tasks[i].task.id.as_str()).await;
        assert_eq!(view.status, Some(status), "task {i}");
        let row = &mut self.rows[i];
        assert_eq!(row.result, None, "task {i} ended twice");
        (row.state, row.result, row.status) = (State::Done, view.result, Some(status));
        assert!(row.result.is_some());
        if i == 0 && status != Status::Success && matches!(self.rows[1].state, State::Queued { .. }) {
            Box::pin(self.end(1, Status::HardFail)).await;
        }
    }

    async fn begin(&mut self, i: usize, request: u8) {
        let began = self.farm.begin(&self.tasks[i], &request.to_string(), self.now).await;
        if self.rows[i].state == State::Unknown {
            self.rows[i].state = State::Queued { due: self.now };
            if i == 1 && self.rows[0].status.is_some_and(|status| status != Status::Success) {
                self.end(1, Status::HardFail).await;
            }
        }
        if self.is_expired(i) && self.rows[i].runs.len() < MAX_RUNS as usize {
            self.queue(i, self.now);
        }
        match self.rows[i].state.clone() {
            State::Unknown => unreachable!("it was just accepted"),
            State::Done => {
                assert_eq!(began, Began::Done { result: self.rows[i].result.clone().unwrap() });
            }
            State::Running { until, request: first } if until > self.now && first == request => {
                let Began::Run(run) = began else { panic!("task {i}: {began:?}") };
                assert_eq!(Some(&run.token), self.rows[i].runs.last().map(|run| &run.token));
                self.extend(i);
            }
            State::Running { .. } => assert_eq!(began, Began::Held, "task {i}"),
            State::Queued { due } => {
                let waits = i == 1 && self.rows[0].status != Some(Status::Success);
                let blocked = i >= 2 && !self.is_free("f", i);
                if waits || blocked || due > self.now {
                    assert_eq!(began, Began::Deferred, "task {i}");
                    return;
                }
                let Began::Run(run) = began else { panic!("task {i}: {began:?}") };
                assert!(run.token > self.last_token);
                assert_eq!(run.run as usize, self.rows[i].runs.len() + 1);
                assert_eq!(run.intent.as_ref().map(|intent| &intent.result), self.rows[i].prepared.as_ref());
                self.last_token = run.token;
                let until = self.now + LEASE_MS;
                if i >= 2 {
                    self.leases.insert("f", (i, until));
                }
                self.rows[i].runs.push(*run);
                self.rows[i].state = State::Running { until, request };
            }
        }
    }

    /// The run that a call speaks for, and whether it still has the task.
    fn speaker(&self, i: usize, which: Which) -> Option<(Run, bool)> {
        let runs = &self.rows[i].runs;
        let (run, newest) = match which {
            Which::Newest => (runs.last()?, true),
            Which::Older => (runs.iter().rev().nth(1)?, false),
        };
        Some((run.clone(), newest && matches!(self.rows[i].state, State::Running { .. })))
    }

    async fn beat(&mut self, i: usize, which: Which) {
        let Some((run, has_it)) = self.speaker(i, which) else { return };
        let beat = self.farm.store.heartbeat(&run_ref(&run), nothing(), self.now).await.unwrap();
        let live = has_it && !self.is_expired(i);
        assert_eq!(matches!(beat, Beat::Renewed { .. }), live, "task {i}: {beat:?}");
        if live {
            self.extend(i);
        }
    }

    fn extend(&mut self, i: usize) {
        let end = self.now + LEASE_MS;
        if let State::Running { until, .. } = &mut self.rows[i].state {
            *until = end;
        }
        self.leases.values_mut().filter(|(holder, _)| *holder == i).for_each(|lease| lease.1 = end);
    }

    async fn prepare(&mut self, i: usize, which: Which) {
        let Some((run, has_it)) = self.speaker(i, which) else { return };
        let (prepare, result) = prepared(&run, '1', touches(i));
        let answer = self.farm.store.prepare(&prepare, &result, self.now).await.unwrap();
        let live = has_it && !self.is_expired(i);
        let free = touches(i).iter().all(|file| self.is_free(file, i));
        match answer {
            Ok(()) => assert!(live && free, "task {i} was let push"),
            Err(denied) if live => assert_eq!((denied.reason, free), (Reason::LeaseConflict, false)),
            Err(_) => assert!(!live),
        }
        if live
            && free
            && let State::Running { until, .. } = self.rows[i].state
        {
            touches(i).iter().for_each(|file| {
                self.leases.insert(file, (i, until));
            });
            self.rows[i].prepared = Some(prepare.result);
        }
    }

    async fn complete(&mut self, i: usize, which: Which, ok: bool) {
        let Some((run, has_it)) = self.speaker(i, which) else { return };
        let prepared = self.rows[i].prepared.clone();
        let bytes = match &prepared {
            Some(bytes) if ok => bytes.clone(),
            _ => failed(&run, Reason::ChecksFailed),
        };
        let answer = self.farm.complete(&run, &bytes, self.now).await;
        let newest = self.rows[i].runs.last().map(|last| last.token) == Some(run.token);
        let repeat = newest && self.rows[i].result.as_ref() == Some(&bytes);
        assert_eq!(answer.is_ok(), has_it || repeat, "task {i}: {answer:?}");
        if has_it {
            let success = ok && prepared.is_some();
            self.end(i, if success { Status::Success } else { Status::SoftFail }).await;
            assert_eq!(self.rows[i].result, Some(bytes));
        }
    }

    async fn give_back(&mut self, i: usize, which: Which) {
        let Some((run, has_it)) = self.speaker(i, which) else { return };
        let last = self.rows[i].runs.len() == MAX_RUNS as usize;
        match self.farm.give_back(&run, 500, self.now).await {
            GivenBack::Stale => assert!(!has_it),
            GivenBack::Queued { due_ms } => {
                assert!(has_it && !last);
                self.queue(i, due_ms);
            }
            GivenBack::Dead => {
                assert!(has_it && last && self.rows[i].prepared.is_none());
                self.end(i, Status::HardFail).await;
            }
            GivenBack::Dying => {
                assert!(has_it && last && self.rows[i].prepared.is_some());
                self.release(i);
                self.rows[i].state = State::Running { until: self.now, request: u8::MAX };
            }
        }
    }

    async fn cancel(&mut self, i: usize) {
        let Ok(was) = self.farm.store.cancel_task(&self.tasks[i].task.id, "ann", self.now).await else {
            return assert_eq!(self.rows[i].state, State::Unknown);
        };
        match self.rows[i].state {
            State::Done => return assert_eq!(was, CancelledTask::Done),
            State::Queued { .. } => assert_eq!(was, CancelledTask::Queued),
            State::Running { .. } => assert_eq!(was, CancelledTask::Running),
            State::Unknown => panic!("task {i} has no row"),
        }
        self.end(i, Status::HardFail).await;
    }

    async fn settle(&mut self, i: usize, landed: bool) {
        let dying = self.is_expired(i) && self.rows[i].runs.len() == MAX_RUNS as usize;
        let answer = self.farm.store.settle_dying(&self.tasks[i].task.id, landed, self.now).await;
        if self.rows[i].state == State::Done {
            assert_eq!(answer, Ok(farm_store::Ended::Before));
        } else if dying {
            assert_eq!(answer, Ok(farm_store::Ended::Now));
            let success = landed && self.rows[i].prepared.is_some();
            self.end(i, if success { Status::Success } else { Status::HardFail }).await;
        } else {
            assert!(answer.is_err(), "{answer:?}");
        }
    }

    async fn sweep(&mut self) {
        let swept = self.farm.store.sweep(self.now).await.unwrap();
        for i in 0..N {
            let id = &self.tasks[i].task.id;
            let last = self.rows[i].runs.len() == MAX_RUNS as usize;
            let may_have_pushed = self.rows[i].prepared.is_some();
            let expired = self.is_expired(i);
            assert_eq!(swept.expired.contains(id), expired && !last, "task {i}");
            assert_eq!(swept.ended.contains(id), expired && last && !may_have_pushed, "task {i}");
            let dying = swept.dying.iter().any(|dying| dying.task == *id);
            assert_eq!(dying, expired && last && may_have_pushed, "task {i}");
            if expired && !last {
                self.queue(i, self.now);
            }
            if expired && last && !may_have_pushed {
                self.end(i, Status::HardFail).await;
            }
        }
    }

    /// Whatever is offered may run.
    async fn offer(&mut self) {
        for offer in self.farm.offer(self.now).await {
            let i = self.tasks.iter().position(|new| new.task.id == offer.task).unwrap();
            assert!(matches!(self.rows[i].state, State::Queued { due } if due <= self.now), "task {i}");
            assert!(i != 1 || self.rows[0].status == Some(Status::Success));
            assert!(i < 2 || self.is_free("f", i));
            assert_eq!(offer.record, self.tasks[i].record);
        }
    }

    async fn check(&self) {
        for (row, new) in self.rows.iter().zip(&self.tasks) {
            let view = self.farm.store.task(&new.task.id).await.unwrap();
            let expected = match row.state {
                State::Unknown => None,
                State::Queued { .. } => Some(TaskState::Queued),
                State::Running { .. } => Some(TaskState::Running),
                State::Done => Some(TaskState::Done),
            };
            assert_eq!(view.as_ref().map(|view| view.state), expected, "{}", new.task.id);
            assert_eq!(view.and_then(|view| view.result), row.result, "{}", new.task.id);
        }
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Begin(i, request) => self.begin(i, request).await,
            Op::Beat(i, which) => self.beat(i, which).await,
            Op::Prepare(i, which) => self.prepare(i, which).await,
            Op::Complete(i, which, ok) => self.complete(i, which, ok).await,
            Op::GiveBack(i, which) => self.give_back(i, which).await,
            Op::Cancel(i) => self.cancel(i).await,
            Op::Settle(i, landed) => self.settle(i, landed).await,
            Op::Advance(ms) => self.now += ms,
            Op::Sweep => self.sweep().await,
            Op::Offer => self.offer().await,
            Op::Restart => self.farm.restart(self.now).await,
        }
    }

    /// Workers come, control sweeps: every accepted task comes to an end.
    async fn drain(&mut self) {
        if self.rows[0].state == State::Unknown {
            self.begin(0, 100).await;
        }
        for round in 0..4 * N as u64 * u64::from(MAX_RUNS) {
            self.now += LEASE_MS;
            self.sweep().await;
            for i in 0..N {
                match self.rows[i].state {
                    State::Unknown | State::Done => {}
                    State::Running { .. } => self.settle(i, false).await,
                    State::Queued { .. } => {
                        self.begin(i, (100 + round) as u8).await;
                        self.complete(i, Which::Newest, true).await;
                    }
                }
            }
        }
        for row in &self.rows {
            assert!(matches!(row.state, State::Unknown | State::Done), "never ended: {:?}", row.state);
        }
        self.check().await;
        assert_eq!(self.farm.store.leases(None, self.now).await.unwrap(), []);
        assert!(self.farm.store.verify_ledger().await.unwrap().is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new().await;
            for op in ops {
                model.apply(op).await;
                model.check().await;
            }
            model.drain().await;
        });
    }
}
