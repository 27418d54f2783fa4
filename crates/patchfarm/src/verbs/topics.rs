//! `topics apply`.

use std::collections::BTreeMap;

use farm_kafka::{Change, TopicSpec, apply_topics};
use serde_json::json;

use crate::cli::Output;
use crate::failure::Outcome;
use crate::program::Program;
use crate::roles::{kafka, topics};
use crate::verbs::print_list;

/// Creates what is missing, raises partitions, and tells what else is not as it should be.
pub(crate) async fn apply(program: &Program, output: &Output) -> Outcome {
    let settings = &program.settings;
    let names = topics(settings);
    let replication: i32 = settings.get("kafka.replication")?;
    let partitions: i32 = settings.get("kafka.partitions")?;
    let specs: Vec<TopicSpec> = names
        .all()
        .into_iter()
        .map(|name| TopicSpec {
            name: name.to_owned(),
            partitions: if name == names.coding_tasks { partitions } else { 1 },
            replication,
            config: if name == names.commit_results {
                BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())])
            } else {
                BTreeMap::new()
            },
        })
        .collect();
    let applied = apply_topics(&kafka(settings)?, &specs).await?;
    let rows: Vec<_> = applied
        .into_iter()
        .map(|applied| {
            let change = match applied.change {
                Change::Created => "created".to_owned(),
                Change::Unchanged => "unchanged".to_owned(),
                Change::PartitionsRaised { from, to } => format!("partitions raised from {from} to {to}"),
            };
            let differs = applied
                .differs
                .iter()
                .map(|d| format!("{}: wanted {}, found {}", d.what, d.wanted, d.found))
                .collect::<Vec<_>>();
            json!({ "topic": applied.topic, "change": change, "differs": differs.join("; ") })
        })
        .collect();
    print_list(output.form, &rows, &[("topic", "topic"), ("change", "change"), ("differs", "differs")])
}
