//! What control counts. Names and labels are those of docs/metrics.md; no label names a task, path or repository.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Control's metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    /// Tasks by state: what autoscaling and the NoProgress and NoWorkers alerts look at.
    pub tasks: IntGaugeVec,
    /// Changes by state.
    pub changes: IntGaugeVec,
    /// Results that are stored, by status.
    pub results: IntCounterVec,
    /// Calls of workers, by method and outcome.
    pub call_seconds: HistogramVec,
    /// Runs whose lease ended.
    pub leases_expired: IntCounter,
    /// Requests for leases, by outcome.
    pub lease_requests: IntCounterVec,
    /// Branches that the sweep removed.
    pub branches_deleted: IntCounter,
    /// Build stages, by outcome.
    pub gates: IntCounterVec,
    /// Entries of the ledger.
    pub ledger_entries: IntCounter,
    /// 1 while the ledger's chain holds, 0 once it is found broken.
    pub ledger_verify_ok: IntGauge,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let call_seconds = HistogramVec::new(
            HistogramOpts::new("patchfarm_call_duration_seconds", "Calls of workers.")
                .buckets(prometheus::exponential_buckets(0.001, 3.0, 9)?),
            &["method", "outcome"],
        )?;
        registry.register(Box::new(call_seconds.clone()))?;
        let ledger_verify_ok =
            IntGauge::new("patchfarm_ledger_verify_ok", "Whether the ledger was whole when last looked at.")?;
        registry.register(Box::new(ledger_verify_ok.clone()))?;
        Ok(Self {
            tasks: gauges("patchfarm_tasks", "Tasks.", &["state"])?,
            changes: gauges("patchfarm_changes", "Changes.", &["state"])?,
            results: counters("patchfarm_results_total", "Stored results.", &["status"])?,
            call_seconds,
            leases_expired: counter("patchfarm_leases_expired_total", "Runs whose lease ended.")?,
            lease_requests: counters("patchfarm_lease_requests_total", "Requests for leases.", &["outcome"])?,
            branches_deleted: counter(
                "patchfarm_branches_deleted_total",
                "Branches that the sweep removed.",
            )?,
            gates: counters("patchfarm_gate_results_total", "Build stages.", &["pass", "outcome"])?,
            ledger_entries: counter("patchfarm_ledger_entries_total", "Entries of the ledger.")?,
            ledger_verify_ok,
        })
    }
}
