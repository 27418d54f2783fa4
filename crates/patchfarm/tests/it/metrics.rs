//! Every metric is moved by a test. The table says by which; each scenario checks its own share.

use std::collections::BTreeSet;
use std::path::Path;

/// Which scenario moves a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// `farm`: work that goes well, and leases.
    Farm,
    /// `bad_input`: work that must not run.
    BadInput,
    /// `crash`: workers that die and remotes that refuse.
    Crash,
    /// farm-kafka's own suite: here it is over before anybody can look.
    Kafka,
}

pub(crate) const CONTROL: &[(&str, By)] = &[
    ("patchfarm_tasks", By::Farm),
    ("patchfarm_changes", By::Farm),
    ("patchfarm_results_total", By::Farm),
    ("patchfarm_call_duration_seconds", By::Farm),
    ("patchfarm_leases_expired_total", By::Crash),
    ("patchfarm_lease_requests_total", By::Farm),
    ("patchfarm_branches_deleted_total", By::Crash),
    ("patchfarm_gate_results_total", By::Farm),
    ("patchfarm_ledger_entries_total", By::Farm),
    ("patchfarm_ledger_verify_ok", By::Farm),
];

pub(crate) const WORKER: &[(&str, By)] = &[
    ("ca_patches_total", By::Farm),
    ("patchfarm_tasks_total", By::Farm),
    ("patchfarm_task_duration_seconds", By::Farm),
    ("patchfarm_phase_duration_seconds", By::Farm),
    // A gauge of what is under way: looked at while the model thinks.
    ("patchfarm_tasks_in_flight", By::Crash),
    ("patchfarm_worker_slots", By::Farm),
    ("patchfarm_attempts_total", By::Farm),
    ("patchfarm_patch_rejected_total", By::Farm),
    ("patchfarm_patch_size_lines", By::Farm),
    ("patchfarm_check_runs_total", By::Farm),
    ("patchfarm_check_duration_seconds", By::Farm),
    ("patchfarm_task_queue_seconds", By::Farm),
    ("patchfarm_lease_wait_seconds", By::Farm),
    ("patchfarm_kafka_rebalances_total", By::Farm),
    ("patchfarm_kafka_consumer_lag_messages", By::Kafka),
    ("patchfarm_rag_duration_seconds", By::Farm),
    ("patchfarm_git_push_total", By::Farm),
    ("patchfarm_policy_denials_total", By::BadInput),
    ("patchfarm_kafka_dead_letters_total", By::BadInput),
    ("patchfarm_begins_total", By::Farm),
    ("patchfarm_runs_given_back_total", By::Crash),
    ("patchfarm_results_unpublished_total", By::BadInput),
];

/// Those of whoever asks models: workers, and control when it plans.
pub(crate) const MODEL: &[(&str, By)] = &[
    ("gen_ai_client_operation_duration_seconds", By::Farm),
    ("gen_ai_client_token_usage", By::Farm),
    ("patchfarm_llm_cached_tokens_total", By::Farm),
    ("patchfarm_llm_cost_usd_total", By::Farm),
    ("patchfarm_llm_retries_total", By::Farm),
];

/// Checks that each metric of this scenario was moved in one of the texts, which roles served.
#[track_caller]
pub(crate) fn assert_moved(table: &[(&str, By)], by: By, texts: &[&str]) {
    let unmoved: Vec<&str> = table
        .iter()
        .filter(|(name, owner)| *owner == by && !texts.iter().any(|text| value(text, name) > 0.0))
        .map(|(name, _)| *name)
        .collect();
    assert!(unmoved.is_empty(), "not moved: {unmoved:?} in\n{}", texts.join("\n"));
}

/// The sum of a metric over its labels; of a histogram, how much was observed.
pub(crate) fn value(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest.strip_prefix("_count").unwrap_or(rest);
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    samples.sum()
}

/// Leaves what a role served where `scripts/check-artefacts` has it judged by promtool.
pub(crate) fn keep(role: &str, text: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("metrics");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{role}.txt")), text).unwrap();
}

#[test]
fn the_tables_name_every_metric() {
    let cases = [
        (CONTROL, include_str!("../../../farm-control/src/metrics.rs")),
        (WORKER, include_str!("../../../farm-worker/src/metrics.rs")),
        (MODEL, include_str!("../../../farm-model/src/metrics.rs")),
    ];
    for (table, source) in cases {
        // Names of metrics have a space of their own; those of labels stand in lists.
        let literals = source.split('"').skip(1).step_by(2);
        let labels =
            ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"];
        let found: BTreeSet<&str> = literals
            .filter(|text| ["patchfarm_", "ca_", "gen_ai_"].iter().any(|prefix| text.starts_with(prefix)))
            .filter(|text| !labels.contains(text))
            .collect();
        let named: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, found);
        assert_eq!(named.len(), table.len(), "a metric is named twice");
    }
}

#[test]
fn values_are_read() {
    let text = "# HELP a_b x\na_b{c=\"d e\"} 2\na_b{c=\"f\"} 0.5\na_b_c 9\nh_bucket{le=\"1\"} 7\nh_sum 3\nh_count 4\n";
    assert_eq!((value(text, "a_b"), value(text, "h"), value(text, "missing")), (2.5, 4.0, 0.0));
}
