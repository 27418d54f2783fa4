//! Takes records while slots are free, asks control what to do with each, and runs what it is told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farm_core::port::{Delivery, SourceFailed, TaskSource};
use farm_core::reason::Reason;
use farm_core::service::{Begun, Rejected, Run, RunRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::finish;
use crate::kit::{Kit, Trouble};
use crate::pipeline::{self, Job};
use crate::steps::Steps;
use crate::tending::Tending;

/// A worker: any number of them, stateless.
pub struct Worker {
    kit: Arc<Kit>,
    source: Arc<dyn TaskSource>,
    slots: Slots,
    runs: TaskTracker,
    /// Stops taking.
    stop: CancellationToken,
    /// Stops the runs under way, once their grace is over.
    abandon: CancellationToken,
}

/// A task that control gave us to run.
struct Taken {
    run: Box<Run>,
    /// When it was asked for: its lease is no older.
    asked: Instant,
}

impl Worker {
    /// A worker with `slots` runs at once. `stop` begins its end.
    pub fn new(kit: Arc<Kit>, source: Arc<dyn TaskSource>, slots: u32, stop: CancellationToken) -> Arc<Self> {
        kit.metrics.slots.set(i64::from(slots));
        Arc::new(Self {
            kit,
            source,
            slots: Slots::new(slots),
            runs: TaskTracker::new(),
            stop,
            abandon: CancellationToken::new(),
        })
    }

    /// Takes and runs tasks until told to stop, then waits `grace` for the runs under way; what is unfinished then is given
    /// back (I10). Each record has its slot from the moment it is taken, so that none waits for another's Begin.
    pub async fn run(self: &Arc<Self>, grace: Duration) -> Result<(), SourceFailed> {
        let taken = loop {
            match self.next().await {
                Some(Ok((slot, delivery))) => {
                    let worker = Arc::clone(self);
                    self.runs.spawn(async move {
                        if let Some(taken) = worker.decide(&delivery).await {
                            worker.tend(taken, slot).await;
                        }
                    });
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        self.drain(grace).await;
        taken
    }

    /// Takes records until one of them is a task to run, runs it to its end, and returns whether there was one before `idle`
    /// had passed without a record.
    pub async fn run_once(self: &Arc<Self>, idle: Duration, grace: Duration) -> Result<bool, SourceFailed> {
        let (slot, taken) = loop {
            match tokio::time::timeout(idle, self.next()).await {
                Ok(Some(Ok((slot, delivery)))) => {
                    if let Some(taken) = self.decide(&delivery).await {
                        break (slot, taken);
                    }
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) | Err(_) => return Ok(false),
            }
        };
        let worker = Arc::clone(self);
        self.runs.spawn(async move { worker.tend(taken, slot).await });
        self.runs.close();
        tokio::select! {
            () = self.runs.wait() => {}
            () = self.stop.cancelled() => self.drain(grace).await,
        }
        Ok(true)
    }

    async fn drain(&self, grace: Duration) {
        self.runs.close();
        if tokio::time::timeout(grace, self.runs.wait()).await.is_err() {
            tracing::warn!(runs = self.runs.len(), "grace is over; giving back what is unfinished");
            self.abandon.cancel();
            self.runs.wait().await;
        }
    }

    /// A slot first, then a record; `None` when told to stop. Dropping this future loses neither.
    async fn next(&self) -> Option<Result<(Slot, Delivery), SourceFailed>> {
        let next = async {
            let slot = self.slots.free().await;
            self.source.next().await.map(|delivery| (slot, delivery))
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            next = next => Some(next),
        }
    }

    /// Control's word on a record, then its offset. Returns the run that it became, if it became one.
    async fn decide(&self, delivery: &Delivery) -> Option<Taken> {
        let (begun, asked) = self.begin(delivery).await?;
        let answer = match &begun {
            Begun::Run(_) => "run",
            Begun::Done { .. } => "done",
            Begun::Held => "held",
            Begun::Deferred { .. } => "defer",
            Begun::Refused(_) => "refused",
        };
        self.kit.metrics.begins.with_label_values(&[answer]).inc();
        let taken = match begun {
            Begun::Run(run) => {
                let waited_ms = run.first_begin_ms.saturating_sub(delivery.timestamp_ms);
                if run.run == 1 && delivery.timestamp_ms > 0 {
                    self.kit.metrics.queue_seconds.observe(waited_ms as f64 / 1000.0);
                }
                Some(Taken { run, asked })
            }
            Begun::Done { task, result } => {
                finish::publish(&self.kit, &task, &result).await;
                None
            }
            Begun::Held => None,
            Begun::Deferred { refused } => {
                self.dead_letters(delivery, refused).await;
                None
            }
            Begun::Refused(rejected) => {
                self.dead_letters(delivery, vec![rejected]).await;
                None
            }
        };
        self.source.accept(delivery);
        taken
    }

    /// Asks until control answers: a record that nobody decided on must not be passed over. Each delivery has a request id
    /// of its own, which its repetitions keep. `None`: told to stop before an answer came; the record will come again.
    async fn begin(&self, delivery: &Delivery) -> Option<(Begun, Instant)> {
        let request = farm_wire::client::request_id();
        loop {
            let sent = Instant::now();
            match self.kit.tasks.begin(&request, &delivery.record).await {
                Ok(begun) => return Some((begun, sent)),
                Err(error) => tracing::warn!(%error, "no new task while control does not answer"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// A dead letter that is not on its topic yet must not be passed over either.
    async fn dead_letters(&self, delivery: &Delivery, rejected: Vec<Rejected>) {
        for rejected in &rejected {
            self.kit.metrics.dead_letters.with_label_values(&[rejected.reason.code()]).inc();
            tracing::warn!(
                topic = delivery.topic,
                partition = delivery.partition,
                offset = delivery.offset,
                reason = rejected.reason.code(),
                detail = rejected.detail,
                "dead letter"
            );
            while let Err(error) = self.kit.sink.dead_letter(delivery, rejected).await {
                tracing::warn!(%error, "the dead letter is not published yet");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Runs a task under its lease and its deadline.
    async fn tend(&self, Taken { run, asked }: Taken, slot: Slot) {
        let kit = &self.kit;
        kit.metrics.in_flight.inc();
        let run_ref = RunRef { task: run.task.id.clone(), token: run.token };
        let tending = Tending::start(
            run_ref.clone(),
            Arc::clone(&kit.tasks),
            asked,
            run.lease_ms,
            run.grant,
            kit.settings.heartbeat,
        );
        let redactor = kit.redactor(&run);
        let steps = Steps::start(
            run_ref,
            Arc::clone(&kit.tasks),
            Arc::clone(&redactor),
            Arc::clone(&kit.clock),
            kit.metrics.clone(),
        );
        let job =
            Job { kit, run: &run, slot: slot.number, tending: &tending, steps: &steps, redactor: &redactor };
        let deadline = run.task.deadline_s.map_or(kit.settings.deadline, Duration::from_secs);
        tracing::info!(task = %run.task.id, run = run.run, token = %run.token, "run begins");
        let ended = tokio::select! {
            ended = pipeline::run(&job) => ended,
            denied = tending.stopped() => Err(Trouble::from(denied)),
            () = self.abandon.cancelled() => {
                Err(Trouble::new(Reason::WorkerStopping, "the worker's grace was over"))
            }
            () = tokio::time::sleep(deadline) => {
                Err(Trouble::new(Reason::DeadlinePassed, format!("a run may take {deadline:?}")))
            }
        };
        finish::settle(&job, ended).await;
        kit.metrics.in_flight.dec();
    }
}

/// Slots have numbers: each is a user of its own in the sandbox.
struct Slots {
    free: Arc<Semaphore>,
    numbers: Arc<Mutex<Vec<u32>>>,
}

/// A slot in use; dropping it frees it.
struct Slot {
    number: u32,
    numbers: Arc<Mutex<Vec<u32>>>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    fn new(n: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(n as usize)),
            numbers: Arc::new(Mutex::new((0..n).rev().collect())),
        }
    }

    async fn free(&self) -> Slot {
        // The semaphore is never closed, so that an error cannot come; a worker without one would just take no task.
        let permit = match Arc::clone(&self.free).acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => std::future::pending().await,
        };
        let number = self.numbers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Slot { number, numbers: Arc::clone(&self.numbers), _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}
