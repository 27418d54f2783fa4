//! `dlq list|show|requeue`: reads the dead-letter topic itself; a record there is named by PARTITION/OFFSET.

use farm_kafka::{Outgoing, Producer, Record, read_to_end};
use serde_json::{Value, json};

use crate::cli::{DlqVerb, Output};
use crate::failure::{Failure, Outcome, exit};
use crate::output::say;
use crate::program::Program;
use crate::roles::{kafka, topics};
use crate::verbs::{print_list, print_one};

/// The newest records of each partition that are looked at.
const NEWEST: u32 = 10_000;
const PREFIX: &str = "pf-dlq-";

/// Runs one of the verbs.
pub(crate) async fn run(program: &Program, verb: DlqVerb) -> Outcome {
    match verb {
        DlqVerb::List(output) => list(program, &output).await,
        DlqVerb::Show { position } => show(program, &position).await,
        DlqVerb::Requeue { position } => requeue(program, &position).await,
    }
}

async fn records(program: &Program) -> Outcome<Vec<Record>> {
    let topic = topics(&program.settings).dead_letters;
    Ok(read_to_end(&kafka(&program.settings)?, &topic, NEWEST).await?)
}

async fn find(program: &Program, position: &str) -> Outcome<Record> {
    let usage = || Failure::new(exit::USAGE, format!("expected PARTITION/OFFSET, found {position:?}"));
    let (partition, offset) = position.split_once('/').ok_or_else(usage)?;
    let (partition, offset): (i32, i64) =
        (partition.parse().map_err(|_| usage())?, offset.parse().map_err(|_| usage())?);
    let mut records = records(program).await?.into_iter();
    records
        .find(|record| record.partition == partition && record.offset == offset)
        .ok_or_else(|| Failure::new(exit::FAILURE, format!("no dead letter stands at {position}")))
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|(key, _)| *key == format!("{PREFIX}{name}"));
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn summary(record: &Record) -> Value {
    json!({
        "position": format!("{}/{}", record.partition, record.offset),
        "reason": header(record, "reason"),
        "detail": header(record, "detail"),
        "from": header(record, "position"),
        "bytes": record.payload.as_ref().map_or(0, Vec::len),
        "at-ms": record.timestamp_ms,
    })
}

async fn list(program: &Program, output: &Output) -> Outcome {
    let rows: Vec<Value> = records(program).await?.iter().map(summary).collect();
    let columns = [
        ("position", "position"),
        ("reason", "reason"),
        ("bytes", "bytes"),
        ("from", "from"),
        ("detail", "detail"),
    ];
    print_list(output.form, &rows, &columns)
}

async fn show(program: &Program, position: &str) -> Outcome {
    let record = find(program, position).await?;
    print_one(crate::output::Form::Table, &summary(&record))?;
    say(&format!("payload: {}", farm_core::delta::hex(record.payload.as_deref().unwrap_or_default())));
    Ok(())
}

async fn requeue(program: &Program, position: &str) -> Outcome {
    let record = find(program, position).await?;
    if ["cut-from-bytes", "headers-left-out"].iter().any(|part| !header(&record, part).is_empty()) {
        return Err(Failure::new(exit::REFUSED, "only a part of it was kept: it cannot be put back"));
    }
    let producer = Producer::start(kafka(&program.settings)?)?;
    let headers = record.headers.into_iter().filter(|(name, _)| !name.starts_with(PREFIX)).collect();
    let delivered = producer
        .send(Outgoing {
            topic: topics(&program.settings).coding_tasks,
            key: record.key,
            headers,
            payload: record.payload,
            partition: None,
        })
        .await?;
    say(&format!("put back at {}/{}", delivered.partition, delivered.offset));
    Ok(())
}
