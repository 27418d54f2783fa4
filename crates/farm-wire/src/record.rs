//! Reads records of the task topic, whoever wrote them: ours with a `pf-type` header, the seed's producers without.

use farm_core::delta::sha256;
use farm_core::id::TaskId;
use farm_core::service::{DeadReason, RawRecord, Rejected};
use farm_core::task::CodingTask;
use prost::Message;

use crate::{BadField, v1};

/// The header that names a record's type.
pub const TYPE_HEADER: &str = "pf-type";
/// Its value for a single task.
pub const TYPE_TASK: &str = "task";
/// Its value for a bundle.
pub const TYPE_BUNDLE: &str = "bundle";

/// A task with a usable id, whatever else is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offered {
    /// Its id.
    pub id: TaskId,
    /// Its canonical bytes: what is stored, and offered again.
    pub record: Vec<u8>,
    /// SHA-256 of these: another digest under the same id is another task.
    pub digest: String,
    /// The task, or the field that keeps it from running.
    pub task: Result<Box<CodingTask>, BadField>,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// One task.
    Task(Box<Offered>),
    /// Several tasks, some of which may have no usable id.
    Bundle(Vec<Result<Offered, Rejected>>),
}

/// Reads a record. `max_bytes` bounds it as a whole.
pub fn decode(record: &RawRecord, max_bytes: usize) -> Result<Decoded, Rejected> {
    let reject = |reason, detail: String| Rejected { reason, detail, payload: record.payload.clone() };
    if record.payload.len() > max_bytes {
        let detail = format!("expected at most {max_bytes} bytes, found {}", record.payload.len());
        return Err(reject(DeadReason::TooLarge, detail));
    }
    let undecodable = |what: &str, error: prost::DecodeError| {
        reject(DeadReason::Undecodable, format!("expected {what}: {error}"))
    };
    match record.kind.as_deref() {
        Some(TYPE_TASK) => {
            let task = v1::CodingTask::decode(record.payload.as_slice())
                .map_err(|error| undecodable("a CodingTask", error))?;
            offered(task).map(|task| Decoded::Task(Box::new(task)))
        }
        Some(TYPE_BUNDLE) => {
            let bundle = v1::TaskBundle::decode(record.payload.as_slice())
                .map_err(|error| undecodable("a TaskBundle", error))?;
            if bundle.tasks.is_empty() {
                return Err(reject(DeadReason::NoId, "expected tasks in the bundle, found none".to_owned()));
            }
            Ok(Decoded::Bundle(bundle.tasks.into_iter().map(offered).collect()))
        }
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let detail = format!("expected {TYPE_HEADER} {TYPE_TASK} or {TYPE_BUNDLE}, found {other:?}");
            Err(reject(DeadReason::UnknownType, detail))
        }
        None => decode_untyped(record).map_err(|(reason, detail)| reject(reason, detail)),
    }
}

/// Without a header a bundle is tried, then a task. A bundle's bytes can read as a task with a garbage id and the other way
/// round, so a reading counts only if every id in it is one.
fn decode_untyped(record: &RawRecord) -> Result<Decoded, (DeadReason, String)> {
    if let Ok(bundle) = v1::TaskBundle::decode(record.payload.as_slice())
        && !bundle.tasks.is_empty()
        && bundle.tasks.iter().all(|task| TaskId::new(task.id.as_str()).is_ok())
    {
        return Ok(Decoded::Bundle(bundle.tasks.into_iter().map(offered).collect()));
    }
    match v1::CodingTask::decode(record.payload.as_slice()) {
        Ok(task) => offered(task)
            .map(|task| Decoded::Task(Box::new(task)))
            .map_err(|rejected| (rejected.reason, rejected.detail)),
        Err(error) => {
            Err((DeadReason::Undecodable, format!("expected a TaskBundle or a CodingTask: {error}")))
        }
    }
}

fn offered(wire: v1::CodingTask) -> Result<Offered, Rejected> {
    let record = wire.encode_to_vec();
    if wire.id.is_empty() {
        let detail = "expected an id, found none".to_owned();
        return Err(Rejected { reason: DeadReason::NoId, detail, payload: record });
    }
    let id = match TaskId::new(wire.id.as_str()) {
        Ok(id) => id,
        Err(error) => {
            return Err(Rejected { reason: DeadReason::BadId, detail: error.to_string(), payload: record });
        }
    };
    Ok(Offered { id, digest: sha256(&record), record, task: CodingTask::try_from(wire).map(Box::new) })
}

/// The canonical form of a task that the farm itself makes.
pub fn encode(task: &CodingTask) -> (Vec<u8>, String) {
    let record = v1::CodingTask::from(task).encode_to_vec();
    let digest = sha256(&record);
    (record, digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1024 * 1024;

    fn task(id: &str) -> v1::CodingTask {
        v1::CodingTask { id: id.into(), goal: "g".into(), ..Default::default() }
    }

    fn raw(kind: Option<&str>, payload: Vec<u8>) -> RawRecord {
        RawRecord { kind: kind.map(str::to_owned), payload }
    }

    fn bundle(ids: &[&str]) -> Vec<u8> {
        v1::TaskBundle { tasks: ids.iter().map(|id| task(id)).collect() }.encode_to_vec()
    }

    fn rejected(record: &RawRecord) -> DeadReason {
        decode(record, MAX).unwrap_err().reason
    }

    #[test]
    fn a_headerless_bundle_of_the_seed_is_read() {
        let Decoded::Bundle(tasks) = decode(&raw(None, bundle(&["a", "b"])), MAX).unwrap() else { panic!() };
        let ids: Vec<_> = tasks.iter().map(|task| task.as_ref().unwrap().id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
    }

    #[test]
    fn a_headerless_task_is_read() {
        let Decoded::Task(task) = decode(&raw(None, task("a-1").encode_to_vec()), MAX).unwrap() else {
            panic!()
        };
        assert_eq!(task.id.as_str(), "a-1");
    }

    #[test]
    fn only_the_bad_tasks_of_a_typed_bundle_are_refused() {
        let record = raw(Some(TYPE_BUNDLE), bundle(&["a", "../x", "", "b"]));
        let Decoded::Bundle(tasks) = decode(&record, MAX).unwrap() else { panic!() };
        let reasons: Vec<_> = tasks.iter().map(|task| task.as_ref().err().map(|r| r.reason)).collect();
        assert_eq!(reasons, [None, Some(DeadReason::BadId), Some(DeadReason::NoId), None]);
    }

    #[test]
    fn what_cannot_be_a_task_is_refused_with_its_reason() {
        let task_bytes = |id: &str| task(id).encode_to_vec();
        for (record, expected) in [
            (raw(None, b"\xff\xff\xff".to_vec()), DeadReason::Undecodable),
            (raw(None, Vec::new()), DeadReason::NoId),
            (raw(Some("picture"), task_bytes("a")), DeadReason::UnknownType),
            (raw(Some(TYPE_TASK), b"\xff".to_vec()), DeadReason::Undecodable),
            (raw(Some(TYPE_BUNDLE), Vec::new()), DeadReason::NoId),
            (raw(None, task_bytes("")), DeadReason::NoId),
            (raw(None, task_bytes("../x")), DeadReason::BadId),
            (raw(None, task_bytes(&"x".repeat(300))), DeadReason::BadId),
            (raw(Some(TYPE_TASK), task_bytes("a\nb")), DeadReason::BadId),
            (raw(None, vec![0; MAX + 1]), DeadReason::TooLarge),
        ] {
            assert_eq!(rejected(&record), expected, "{:?}", record.kind);
        }
    }

    #[test]
    fn a_bad_field_does_not_lose_the_id() {
        let wire = v1::CodingTask { risk: "huge".into(), ..task("a") };
        let Decoded::Task(offered) = decode(&raw(None, wire.encode_to_vec()), MAX).unwrap() else { panic!() };
        assert_eq!(offered.task.unwrap_err().field, "risk");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(kind in proptest::option::of("task|bundle|x"), payload: Vec<u8>) {
            drop(decode(&RawRecord { kind, payload }, 4096));
        }

        #[test]
        fn a_decoded_task_is_a_fixed_point(id in "[a-z0-9]{1,8}", goal: String, priority: i32) {
            let wire = v1::CodingTask { id, goal, priority, ..Default::default() };
            prop_assume!(!wire.id.starts_with("change-"));
            let Ok(Decoded::Task(first)) = decode(&raw(Some(TYPE_TASK), wire.encode_to_vec()), MAX) else {
                return Err(TestCaseError::fail("not read"));
            };
            let (record, _) = encode(&first.task.clone().unwrap());
            let Ok(Decoded::Task(second)) = decode(&raw(Some(TYPE_TASK), record), MAX) else {
                return Err(TestCaseError::fail("not read again"));
            };
            prop_assert_eq!(first.task, second.task);
        }
    }
}
