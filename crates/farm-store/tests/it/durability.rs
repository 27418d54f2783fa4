//! What is on the disk stays; what is not was never answered.

use std::sync::Arc;

use farm_core::ledger::{Broken, Event};
use farm_core::reason::Reason;
use farm_core::state::TaskState;
use farm_store::{Began, Store, StoreError};
use sqlx::{Connection, SqliteConnection};

use crate::support::*;

async fn raw(farm: &Farm) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", farm.path().display())).await.unwrap()
}

#[tokio::test]
async fn each_step_survives_the_end_of_the_process() {
    let mut farm = Farm::new().await;
    let store_id = farm.store.id().to_owned();
    let new = on_path("t1", "src/a.rs");
    farm.accept(std::slice::from_ref(&new), T0).await;
    farm.restart(T0).await;
    assert_eq!(farm.store.id(), store_id);
    assert_eq!(farm.offer(T0).await.len(), 1);
    farm.restart(T0).await;
    assert_eq!(farm.offer(T0).await.len(), 0);
    let run = farm.run(&new, "r1", T0).await;
    farm.restart(T0).await;
    assert_eq!(farm.view("t1").await.runs, 1, "the run is counted before it is answered");
    assert_eq!(farm.begin(&new, "r1", T0).await, Began::Run(Box::new(run.clone())));
    assert_eq!(farm.begin(&new, "r2", T0).await, Began::Held);
    let bytes = farm.prepare(&run, '1', T0).await.unwrap();
    farm.restart(T0).await;
    assert_eq!(farm.view("t1").await.intent.unwrap().result, bytes);
    assert_eq!(farm.store.leases(None, T0).await.unwrap().len(), 1);
    farm.complete(&run, &bytes, T0).await.unwrap();
    farm.restart(T0).await;
    farm.complete(&run, &bytes, T0).await.unwrap();
    assert_eq!(farm.begin(&new, "r3", T0).await, Began::Done { result: bytes.clone() });
    farm.restart(T0).await;
    assert_eq!(farm.store.sweep(T0 + 60_000).await.unwrap().unpublished, [(id("t1"), bytes)]);
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_thousand_operations_at_once_share_commits_and_spoil_none() {
    let farm = Arc::new(Farm::new().await);
    let mut handles = Vec::new();
    for i in 0..1_000 {
        let farm = farm.clone();
        handles.push(tokio::spawn(async move {
            if i % 10 == 3 {
                // It writes its row and then fails: nothing of it may stay, nothing of the others may go.
                let mut bad = begin(&task(&format!("bad{i}")), "r");
                bad.repository = None;
                let answer = farm.store.begin(bad, T0).await;
                assert!(matches!(answer, Err(StoreError::Conflict { .. })), "{answer:?}");
                return;
            }
            let new = task(&format!("t{i}"));
            let run = farm.run(&new, "r", T0).await;
            farm.fail(&run, Reason::ChecksFailed, T0).await;
        }));
    }
    for handle in handles {
        handle.await.unwrap();
    }
    let counts = farm.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.done), (0, 0, 900));
    let (entries, _) = farm.store.verify_ledger().await.unwrap().unwrap();
    // The store, the repository, and three for each task that went well.
    assert_eq!(entries, 2 + 3 * 900);
    let commits = *farm.store.commits().borrow();
    assert!(commits < 1_000, "{commits} commits for 1,900 operations");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let farm = Farm::new().await;
    for i in 0..50 {
        let new = task(&format!("t{i}"));
        let call = farm.store.begin(begin(&new, "r"), T0);
        // Polled a few times at most: some are cut off before they are handed over, some after.
        let polls = tokio::time::timeout(std::time::Duration::from_micros(i * 20), call).await;
        drop(polls);
    }
    // The writer takes what was handed over in order, so this comes after all of it.
    farm.accept(&[task("last")], T0).await;
    for i in 0..50 {
        if let Some(view) = farm.store.task(&id(&format!("t{i}"))).await.unwrap() {
            assert_eq!((view.state, view.runs), (TaskState::Running, 1));
        }
    }
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_and_the_writer_lives_on() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    // Somebody else has the file: BEGIN waits for five seconds and fails.
    let mut other = raw(&farm).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let bytes = failed(&run, Reason::ChecksFailed);
    let (run_of, result) = (run_ref(&run), decode(&bytes));
    let (a, b) = tokio::join!(
        farm.store.complete(&run_of, &result, &bytes, T0),
        farm.store.begin(begin(&task("t2"), "r2"), T0),
    );
    assert!(matches!(a, Err(StoreError::NotCommitted { .. })), "{a:?}");
    assert!(matches!(b, Err(StoreError::NotCommitted { .. })), "{b:?}");
    assert_eq!(farm.view("t1").await.state, TaskState::Running);
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    farm.complete(&run, &bytes, T0).await.unwrap();
    let next = farm.run(&task("t2"), "r2", T0).await;
    assert!(next.token > run.token);
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_transaction_that_the_database_gave_up_is_told_and_survived() {
    let farm = Arc::new(Farm::new().await);
    let run = farm.run(&task("t1"), "r1", T0).await;
    // What SQLite does on a full disk: one statement fails and takes the whole transaction with it.
    sqlx::query(
        "CREATE TRIGGER full BEFORE INSERT ON task_bodies WHEN NEW.task_id LIKE 'large-%'
         BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END",
    )
    .execute(&mut raw(&farm).await)
    .await
    .unwrap();
    let begin_all = (0..60).map(|i| {
        let farm = farm.clone();
        tokio::spawn(async move {
            let name = if i % 20 == 7 { format!("large-{i}") } else { format!("small-{i}") };
            let answer = farm.store.begin(begin(&task(&name), "r"), T0).await;
            (name, answer)
        })
    });
    for handle in begin_all.collect::<Vec<_>>() {
        let (name, answer) = handle.await.unwrap();
        let row = farm.store.task(&id(&name)).await.unwrap();
        match answer {
            Ok(Began::Run(run)) if name.starts_with("small") => {
                assert_eq!(row.unwrap().token, run.token, "{name}")
            }
            // It failed itself, or was in one transaction with one that did.
            Err(StoreError::Database { .. } | StoreError::NotCommitted { .. }) => {
                assert_eq!(row, None, "{name}");
            }
            answer => panic!("{name}: {answer:?}"),
        }
    }
    farm.fail(&run, Reason::ChecksFailed, T0).await;
    farm.run(&task("after"), "r4", T0).await;
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn whoever_opens_the_store_last_writes_it() {
    let farm = Farm::new().await;
    let old = farm.run(&task("t1"), "r1", T0).await;
    let taken_over = Store::open(&farm.path(), options(), T0).await.unwrap();
    let answer = farm.store.begin(begin(&task("t2"), "r2"), T0).await;
    assert_eq!(answer, Err(StoreError::Superseded));
    let bytes = failed(&old, Reason::ChecksFailed);
    taken_over.complete(&run_ref(&old), &decode(&bytes), &bytes, T0).await.unwrap().unwrap();
    assert!(taken_over.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_newer_store_is_refused_and_a_foreign_file_too() {
    let farm = Farm::new().await;
    farm.store.close().await;
    assert_eq!(farm.store.forget_offers().await, Err(StoreError::Closed));
    sqlx::query("INSERT INTO schema_versions (version) VALUES (99)")
        .execute(&mut raw(&farm).await)
        .await
        .unwrap();
    let Err(error) = Store::open(&farm.path(), options(), T0).await else { panic!("opened") };
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    let foreign = farm.folder.path().join("foreign");
    std::fs::write(&foreign, "this is no database, and long enough to look like one ".repeat(100)).unwrap();
    let Err(error) = Store::open(&foreign, options(), T0).await else { panic!("opened") };
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
}

#[tokio::test]
async fn an_edited_ledger_is_found_out() {
    for (edit, broken) in [
        ("UPDATE ledger SET body = '{}' WHERE seq = 4", Broken::Edited { seq: 4 }),
        ("UPDATE ledger SET at_ms = at_ms + 1 WHERE seq = 3", Broken::Edited { seq: 3 }),
        ("DELETE FROM ledger WHERE seq = 3", Broken::Gap { expected: 3, found: 4 }),
    ] {
        let farm = Farm::new().await;
        let run = farm.run(&task("t1"), "r1", T0).await;
        farm.succeed(&run, T0).await;
        let (entries, head) = farm.store.verify_ledger().await.unwrap().unwrap();
        let last = farm.store.ledger(entries - 1, 9).await.unwrap();
        assert_eq!((last[0].event, &last[0].hash), (Event::TaskDone, &head));
        sqlx::query(edit).execute(&mut raw(&farm).await).await.unwrap();
        assert_eq!(farm.store.verify_ledger().await.unwrap(), Err(broken), "{edit}");
    }
}
