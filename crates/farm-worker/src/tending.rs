//! Keeps one run's lease alive, and knows when it cannot be alive any more.
//!
//! The lease is counted on this machine's monotonic clock from the moment a request was *sent*: whatever the network did,
//! control's own count ends no earlier. Once it may have ended the run is stopped, so that it pushes nothing (I3).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farm_core::port::Tasks;
use farm_core::reason::Reason;
use farm_core::result::Usage;
use farm_core::service::{Beat, Denied, RunRef};
use farm_core::task::Budget;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One run's lease and purse.
pub struct Tending {
    run: RunRef,
    tasks: Arc<dyn Tasks>,
    state: Arc<Mutex<State>>,
    stopped: watch::Receiver<Option<Denied>>,
    beating: JoinHandle<()>,
}

struct State {
    until: Instant,
    grant: Budget,
    spent: Usage,
}

impl Tending {
    /// Starts renewing a lease that was asked for at `sent`.
    pub fn start(
        run: RunRef,
        tasks: Arc<dyn Tasks>,
        sent: Instant,
        lease_ms: u64,
        grant: Budget,
        heartbeat: Duration,
    ) -> Self {
        let until = sent + lease(lease_ms);
        let state = Arc::new(Mutex::new(State { until, grant, spent: Usage::default() }));
        let (stop, stopped) = watch::channel(None);
        let beat = beat(run.clone(), Arc::clone(&tasks), Arc::clone(&state), heartbeat, stop);
        let beating = tokio::spawn(beat);
        Self { run, tasks, state, stopped, beating }
    }

    /// Waits until the run must stop, and says why.
    pub async fn stopped(&self) -> Denied {
        let mut stopped = self.stopped.clone();
        match stopped.wait_for(Option::is_some).await.map(|denied| denied.clone()) {
            Ok(Some(denied)) => denied,
            // Nobody renews the lease any more.
            Ok(None) | Err(_) => lost("nobody renews it"),
        }
    }

    /// Whether the lease surely holds at this moment.
    pub fn holds(&self) -> bool {
        self.stopped.borrow().is_none() && Instant::now() < self.lock().until
    }

    /// Sees to it that the grant covers a call that may cost this much (I9: granted before, settled after). Grants are slices
    /// of the budget: if this one does not do, control is asked for more before the answer is no.
    pub async fn fund(&self, worst: Budget) -> Result<(), String> {
        if self.covers(worst).is_ok() {
            return Ok(());
        }
        let spent = self.spent();
        let wanted = Budget {
            tokens: spent.tokens().saturating_add(worst.tokens),
            cost_micro_usd: spent.cost_micro_usd.saturating_add(worst.cost_micro_usd),
        };
        match self.tasks.heartbeat(&self.run, wanted).await {
            Ok(Beat::Renewed { grant, .. }) => self.lock().grant = grant,
            Ok(Beat::Stop(denied)) => return Err(denied.detail),
            Err(error) => tracing::warn!(task = %self.run.task, %error, "no further grant yet"),
        }
        self.covers(worst)
    }

    fn covers(&self, worst: Budget) -> Result<(), String> {
        let state = self.lock();
        let tokens = state.spent.tokens().saturating_add(worst.tokens);
        let cost = state.spent.cost_micro_usd.saturating_add(worst.cost_micro_usd);
        if tokens > state.grant.tokens {
            return Err(format!("the next call may bring it to {tokens} tokens of {}", state.grant.tokens));
        }
        if cost > state.grant.cost_micro_usd {
            return Err(format!(
                "the next call may bring it to {cost} µUSD of {}",
                state.grant.cost_micro_usd
            ));
        }
        Ok(())
    }

    /// Notes what was spent.
    pub fn spend(&self, usage: &Usage) {
        self.lock().spent.add(usage);
    }

    /// What was spent so far.
    pub fn spent(&self) -> Usage {
        self.lock().spent
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tending {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// A tenth is kept back for clocks that do not run alike.
fn lease(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms - lease_ms / 10)
}

fn lost(detail: &str) -> Denied {
    Denied { reason: Reason::LeaseLost, detail: format!("the lease has ended: {detail}") }
}

async fn beat(
    run: RunRef,
    tasks: Arc<dyn Tasks>,
    state: Arc<Mutex<State>>,
    heartbeat: Duration,
    stop: watch::Sender<Option<Denied>>,
) {
    let read =
        |pick: fn(&State) -> (Instant, Usage)| pick(&state.lock().unwrap_or_else(PoisonError::into_inner));
    loop {
        let (until, _) = read(|state| (state.until, state.spent));
        tokio::time::sleep_until((Instant::now() + heartbeat).min(until)).await;
        let sent = Instant::now();
        let (until, spent) = read(|state| (state.until, state.spent));
        let spent = Budget { tokens: spent.tokens(), cost_micro_usd: spent.cost_micro_usd };
        let denied = match tokio::time::timeout_at(until, tasks.heartbeat(&run, spent)).await {
            Ok(Ok(Beat::Renewed { lease_ms, grant })) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.until = sent + lease(lease_ms);
                state.grant = grant;
                continue;
            }
            Ok(Ok(Beat::Stop(denied))) => denied,
            Ok(Err(error)) if Instant::now() < until => {
                tracing::warn!(task = %run.task, %error, "the lease was not renewed yet");
                continue;
            }
            Ok(Err(error)) => lost(&error.to_string()),
            Err(_) => lost("control does not answer"),
        };
        // Nobody listening means that the run is over.
        stop.send_replace(Some(denied));
        return;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use farm_core::id::{TaskId, Token};
    use farm_core::port::Unanswered;
    use farm_core::service::{Begun, GiveBack, Prepare, RawRecord, Step};

    use super::*;

    /// Answers heartbeats from a list; then never again.
    struct Scripted(Mutex<Vec<Result<Beat, Unanswered>>>);

    #[async_trait]
    impl Tasks for Scripted {
        async fn heartbeat(&self, _: &RunRef, _: Budget) -> Result<Beat, Unanswered> {
            let next = self.0.lock().unwrap().pop();
            match next {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
        async fn begin(&self, _: &str, _: &RawRecord) -> Result<Begun, Unanswered> {
            unreachable!()
        }
        async fn report(&self, _: &RunRef, _: Vec<Step>) -> Result<(), Unanswered> {
            unreachable!()
        }
        async fn prepare(&self, _: &Prepare) -> Result<Result<(), Denied>, Unanswered> {
            unreachable!()
        }
        async fn complete(&self, _: &RunRef, _: &[u8]) -> Result<Result<(), Denied>, Unanswered> {
            unreachable!()
        }
        async fn published(&self, _: &TaskId) -> Result<(), Unanswered> {
            unreachable!()
        }
        async fn give_back(&self, _: &GiveBack) -> Result<(), Unanswered> {
            unreachable!()
        }
    }

    fn start(mut answers: Vec<Result<Beat, Unanswered>>) -> Tending {
        answers.reverse();
        let run = RunRef { task: TaskId::new("t").unwrap(), token: Token(1) };
        let tasks = Arc::new(Scripted(Mutex::new(answers)));
        let grant = Budget { tokens: 100, cost_micro_usd: 100 };
        Tending::start(run, tasks, Instant::now(), 10_000, grant, Duration::from_secs(3))
    }

    fn renewed(tokens: u64) -> Result<Beat, Unanswered> {
        Ok(Beat::Renewed { lease_ms: 10_000, grant: Budget { tokens, cost_micro_usd: 100 } })
    }

    fn unanswered() -> Result<Beat, Unanswered> {
        Err(Unanswered { call: "Heartbeat", detail: "down".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_stops_before_a_lease_that_nobody_renews_can_have_ended() {
        let began = Instant::now();
        let tending = start(vec![]);
        let denied = tending.stopped().await;
        assert_eq!(denied.reason, Reason::LeaseLost);
        assert_eq!(began.elapsed(), Duration::from_secs(9));
        assert!(!tending.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_counts_from_the_moment_of_sending() {
        let began = Instant::now();
        let tending = start(vec![renewed(100), unanswered()]);
        assert_eq!(tending.stopped().await.reason, Reason::LeaseLost);
        assert_eq!(began.elapsed(), Duration::from_secs(3 + 9));
    }

    #[tokio::test(start_paused = true)]
    async fn control_can_stop_a_run() {
        let denied = Denied { reason: Reason::Cancelled, detail: "by a person".into() };
        let tending = start(vec![renewed(100), Ok(Beat::Stop(denied.clone()))]);
        assert!(tending.holds());
        assert_eq!(tending.stopped().await, denied);
        assert!(!tending.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_covered_by_what_is_left_of_the_grant() {
        let tending = start(vec![renewed(100), renewed(200)]);
        let worst = |tokens, cost_micro_usd| Budget { tokens, cost_micro_usd };
        assert!(tending.fund(worst(100, 100)).await.is_ok());
        let usage = Usage { prompt_tokens: 30, completion_tokens: 10, cost_micro_usd: 5, ..Usage::default() };
        tending.spend(&usage);
        // Control has no more to give, then it has.
        assert!(tending.fund(worst(61, 1)).await.is_err());
        assert!(tending.fund(worst(160, 95)).await.is_ok());
        assert!(tending.covers(worst(1, 96)).is_err());
    }
}
