//! What a worker counts. Names and labels are those of docs/metrics.md; no label names a task, path or repository.

use farm_core::result::Status;
use farm_core::service::DeadReason;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The worker's metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// The seed's counter: every proposed patch, `success` or `fail`.
    pub patches: IntCounterVec,
    /// Tasks that this worker completed, by result and kind.
    pub tasks: IntCounterVec,
    /// Begin to Complete, by result.
    pub task_seconds: HistogramVec,
    /// Each step of a run.
    pub phase_seconds: HistogramVec,
    /// Runs under way.
    pub in_flight: IntGauge,
    /// Slots that could take a task.
    pub slots: IntGauge,
    /// Attempts, by what became of them.
    pub attempts: IntCounterVec,
    /// Replies that the patch engine refused, by its code.
    pub rejected: IntCounterVec,
    /// Changed lines of accepted patches.
    pub patch_lines: Histogram,
    /// Checks, by kind and verdict.
    pub check_runs: IntCounterVec,
    /// From a record's arrival on the topic to the run that it becomes.
    pub queue_seconds: Histogram,
    /// Changes of this member's partitions.
    pub rebalances: IntCounter,
    /// Records of each of its partitions that are not committed.
    pub lag: IntGaugeVec,
    /// How long checked patches waited for other tasks' leases.
    pub lease_wait_seconds: HistogramVec,
    /// Time of checks, by kind and verdict.
    pub check_seconds: HistogramVec,
    /// Context searches, by where the answer came from.
    pub context_seconds: HistogramVec,
    /// Pushes, by outcome.
    pub pushes: IntCounterVec,
    /// Policy denials, by reason.
    pub denials: IntCounterVec,
    /// Records that went to the dead-letter topic, by reason.
    pub dead_letters: IntCounterVec,
    /// Answers to Begin.
    pub begins: IntCounterVec,
    /// Runs given back, by reason.
    pub given_back: IntCounterVec,
    /// Results that could not be published at once.
    pub unpublished: IntCounter,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histograms = |name: &str, help: &str, labels: &[&str], buckets: Vec<f64>| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let quick = || prometheus::exponential_buckets(0.001, 4.0, 10);
        let long = vec![1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
        let patch_lines = Histogram::with_opts(
            HistogramOpts::new("patchfarm_patch_size_lines", "Changed lines of patches that were applied.")
                .buckets(prometheus::exponential_buckets(1.0, 3.0, 9)?),
        )?;
        registry.register(Box::new(patch_lines.clone()))?;
        let queue_seconds = Histogram::with_opts(
            HistogramOpts::new("patchfarm_task_queue_seconds", "How long tasks lay on the topic.")
                .buckets(prometheus::exponential_buckets(0.01, 4.0, 9)?),
        )?;
        registry.register(Box::new(queue_seconds.clone()))?;
        let rebalances =
            IntCounter::new("patchfarm_kafka_rebalances_total", "Changes of this member's partitions.")?;
        registry.register(Box::new(rebalances.clone()))?;
        let lag = IntGaugeVec::new(
            Opts::new("patchfarm_kafka_consumer_lag_messages", "Records that are not committed."),
            &["topic", "partition"],
        )?;
        registry.register(Box::new(lag.clone()))?;
        let unpublished =
            IntCounter::new("patchfarm_results_unpublished_total", "Results that the sweep has to publish.")?;
        registry.register(Box::new(unpublished.clone()))?;
        let metrics = Self {
            patches: counters("ca_patches_total", "Proposed patches.", &["result"])?,
            tasks: counters("patchfarm_tasks_total", "Completed tasks.", &["result", "kind"])?,
            task_seconds: histograms(
                "patchfarm_task_duration_seconds",
                "Begin to Complete.",
                &["result"],
                long.clone(),
            )?,
            phase_seconds: histograms(
                "patchfarm_phase_duration_seconds",
                "Steps of a run.",
                &["phase"],
                quick()?,
            )?,
            in_flight: gauge("patchfarm_tasks_in_flight", "Runs under way.")?,
            slots: gauge("patchfarm_worker_slots", "Runs that may be under way at once.")?,
            attempts: counters("patchfarm_attempts_total", "Attempts.", &["reason"])?,
            rejected: counters("patchfarm_patch_rejected_total", "Replies not applied.", &["reason"])?,
            patch_lines,
            queue_seconds,
            rebalances,
            lag,
            lease_wait_seconds: histograms(
                "patchfarm_lease_wait_seconds",
                "How long checked patches waited for the leases of other tasks.",
                &["outcome"],
                vec![0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0],
            )?,
            check_runs: counters("patchfarm_check_runs_total", "Checks.", &["stage", "outcome"])?,
            check_seconds: histograms(
                "patchfarm_check_duration_seconds",
                "Time of checks.",
                &["stage", "outcome"],
                prometheus::exponential_buckets(0.01, 3.0, 10)?,
            )?,
            context_seconds: histograms(
                "patchfarm_rag_duration_seconds",
                "Time of context searches.",
                &["outcome"],
                quick()?,
            )?,
            pushes: counters("patchfarm_git_push_total", "Pushes.", &["outcome"])?,
            denials: counters("patchfarm_policy_denials_total", "Rules that patches broke.", &["rule"])?,
            dead_letters: counters("patchfarm_kafka_dead_letters_total", "Dead letters.", &["reason"])?,
            begins: counters("patchfarm_begins_total", "Answers to Begin.", &["answer"])?,
            given_back: counters(
                "patchfarm_runs_given_back_total",
                "Runs that ended without a result.",
                &["reason"],
            )?,
            unpublished,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// A counter that is born at 1 hides its first event from `increase()`: those that alerts and dashboards ask for begin at 0.
    fn start_at_zero(&self) {
        for result in ["success", "fail"] {
            self.patches.with_label_values(&[result]);
        }
        for status in [Status::Success, Status::SoftFail, Status::HardFail] {
            for kind in ["patch", "report", "checks"] {
                self.tasks.with_label_values(&[status.as_str(), kind]);
            }
        }
        for outcome in ["ok", "stale", "refused", "error"] {
            self.pushes.with_label_values(&[outcome]);
        }
        for reason in DeadReason::ALL {
            self.dead_letters.with_label_values(&[reason.code()]);
        }
        for answer in ["run", "done", "held", "defer", "refused"] {
            self.begins.with_label_values(&[answer]);
        }
    }
}
