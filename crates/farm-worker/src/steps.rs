//! Tells control of a run's steps, for the timeline. Losing one never fails a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use farm_core::port::{Clock, Tasks};
use farm_core::redact::Redactor;
use farm_core::service::{Phase, RunRef, Step};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// The most that one step's detail keeps, in bytes: half from its head, half from its tail.
const MAX_DETAIL_BYTES: usize = 32 * 1024;
/// Steps that may wait to be sent; more are dropped, since a timeline is not worth memory.
const MAX_WAITING: usize = 256;

/// The timeline of one run.
#[derive(Clone)]
pub struct Steps {
    attempt: Arc<AtomicU32>,
    redactor: Arc<Redactor>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    sender: mpsc::Sender<Message>,
}

enum Message {
    Step(Step),
    Flush(oneshot::Sender<()>),
}

/// A step under way.
pub struct Started {
    phase: Phase,
    since: Instant,
}

impl Steps {
    /// Starts the sender of a run. It ends when the last clone is dropped.
    pub fn start(
        run: RunRef,
        tasks: Arc<dyn Tasks>,
        redactor: Arc<Redactor>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        tokio::spawn(send(run, tasks, receiver));
        Self { attempt: Arc::default(), redactor, clock, metrics, sender }
    }

    /// Steps from now on belong to this attempt.
    pub fn attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    /// Begins a step.
    pub fn begin(&self, phase: Phase) -> Started {
        Started { phase, since: Instant::now() }
    }

    /// Ends a step, with a line for people and what they may want to look into.
    pub fn end(&self, started: Started, summary: impl Into<String>, detail: impl AsRef<str>) {
        let elapsed = started.since.elapsed();
        self.metrics.phase_seconds.with_label_values(&[started.phase.name()]).observe(elapsed.as_secs_f64());
        let step = Step {
            at_ms: self.clock.now_ms(),
            attempt: self.attempt.load(Ordering::Relaxed),
            phase: started.phase,
            duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            summary: self.redactor.clean(&summary.into()),
            detail: shorten(&self.redactor.clean(detail.as_ref()), MAX_DETAIL_BYTES),
        };
        if self.sender.try_send(Message::Step(step)).is_err() {
            tracing::debug!("a step of the timeline was dropped");
        }
    }

    /// Waits until what was told is sent, or a short time is over.
    pub async fn flush(&self, limit: Duration) {
        let (done, sent) = oneshot::channel();
        let told = self.sender.send(Message::Flush(done)).await.is_ok();
        if told && tokio::time::timeout(limit, sent).await.is_err() {
            tracing::debug!("the end of the timeline may be lost");
        }
    }
}

async fn send(run: RunRef, tasks: Arc<dyn Tasks>, mut receiver: mpsc::Receiver<Message>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, 64).await > 0 {
        let mut steps = Vec::new();
        let mut flushes = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Step(step) => steps.push(step),
                Message::Flush(done) => flushes.push(done),
            }
        }
        if !steps.is_empty()
            && let Err(error) = tasks.report(&run, steps).await
        {
            tracing::debug!(task = %run.task, %error, "steps of the timeline are lost");
        }
        for done in flushes {
            if done.send(()).is_err() {
                tracing::debug!("nobody waits for the timeline any more");
            }
        }
    }
}

/// Keeps head and tail of a long text, on character boundaries, and says how much is gone.
pub fn shorten(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let half = max_bytes / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_ends() {
        assert_eq!(shorten("short", 10), "short");
        let text = format!("{}é{}", "a".repeat(10), "b".repeat(10));
        let short = shorten(&text, 21);
        assert!(short.starts_with("aaaaaaaaaa\n[…") && short.ends_with("bbbbbbbbbb"), "{short}");
    }
}
